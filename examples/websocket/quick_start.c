/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three steps of the quick reference: configuration, gateway, API.
 *
 *   cc quick_start.c -o quick_start $(pkg-config --cflags --libs wsc)
 *   ./quick_start [PORT [CONFIG]]     default: port 8080, no file; port 0 takes a free one
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <wsc/wsc.h>

static int authenticate_user(void *user, struct wsc_call *call, const struct wsc_request *request,
			     struct wsc_identity *id)
{
	(void)user, (void)call;
	wsc_request_query(request, "user_id", id->user_id, sizeof id->user_id); /* or from a header or token */
	return 0;                                                               /* an empty id is refused */
}

int main(int argc, char **argv)
{
	struct wsc_config *config = wsc_config_new();
	struct wsc_gateway *gateway;
	sigset_t ends;
	int sig;

	/* 1. The configuration. Without a file the gateway listens on 127.0.0.1:8080. */
	wsc_config_load(config, argc > 2 ? argv[2] : NULL);
	if (argc > 1)
		wsc_config_set(config, "node_port", argv[1]);

	/* 2. The gateway, with the hooks of the program. */
	gateway = wsc_new(config, &(struct wsc_hooks){ .authenticate_user = authenticate_user });
	wsc_register_routes(gateway); /* /ws, /sse, /wsc/stats, /wsc/online */

	/* 3. The API: /api/v1/websocket/send, broadcast, online, stats. */
	wsc_register_api(gateway, "/api/v1");

	/* The library does not handle signals: block them before it starts its threads, and wait for one. */
	sigemptyset(&ends);
	sigaddset(&ends, SIGINT);
	sigaddset(&ends, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &ends, NULL);
	if (wsc_start(gateway) != 0) {
		fprintf(stderr, "%s\n", wsc_error_text(gateway));
		return 1;
	}
	printf("listening on port %u\n", wsc_port(gateway));
	fflush(stdout);
	sigwait(&ends, &sig);

	wsc_stop(gateway, 2000); /* closes every connection with 1001 */
	wsc_wait(gateway);
	wsc_free(gateway);
	wsc_config_free(config);
	return 0;
}
