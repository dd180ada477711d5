/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The common part of the examples: a configuration with the port of the command line, and running until SIGINT or
 * SIGTERM. quick_start.c has the same lines in full.
 */
#ifndef EXAMPLE_H
#define EXAMPLE_H

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <wsc/wsc.h>

static inline sigset_t example_signals(void)
{
	sigset_t ends;

	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	return ends;
}

/*
 * The first call of main. The gateway will listen on 127.0.0.1, on the port of the first argument (default 8080; 0 takes
 * a free one). The library installs no signal handlers, so the program decides itself how it ends: here it blocks the
 * signals before it starts other threads, and main waits for one of them.
 */
static inline struct wsc_config *example_config(int argc, char **argv)
{
	struct wsc_config *config = wsc_config_new();
	sigset_t ends = example_signals();

	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	if (!config)
		abort();
	wsc_config_load(config, NULL);
	if (argc > 1)
		wsc_config_set(config, "node_port", argv[1]);
	return config;
}

/* Starts, waits for a signal, stops. Does not free the gateway: the caller may have to finish pending calls first. */
static inline int example_run(struct wsc_gateway *gateway)
{
	sigset_t ends = example_signals();
	int sig;

	if (wsc_start(gateway) != 0) {
		fprintf(stderr, "%s\n", wsc_error_text(gateway));
		return EXIT_FAILURE;
	}
	printf("listening on port %u\n", wsc_port(gateway));
	fflush(stdout);
	sigwait(&ends, &sig);
	wsc_stop(gateway, 2000);
	wsc_wait(gateway);
	return EXIT_SUCCESS;
}

#endif
