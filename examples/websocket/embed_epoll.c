/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A gateway inside the program's own event loop: one thread and one epoll, in which the gateway is one descriptor among
 * others. Here the others are a timer that broadcasts the uptime, and a descriptor for signals.
 *
 *   cc embed_epoll.c -o embed_epoll $(pkg-config --cflags --libs wsc)
 *   ./embed_epoll [PORT [MILLISECONDS]]     8080, a broadcast every 5000 ms
 */
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>
#include "example.h"

static void watch(int epfd, int fd)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) != 0)
		abort();
}

static int every(long ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);

	if (fd < 0 || timerfd_settime(fd, 0, &(struct itimerspec){ .it_interval = t, .it_value = t }, NULL) != 0)
		abort();
	return fd;
}

static void tick(struct wsc_gateway *gateway, int timer)
{
	struct wsc_stats stats;
	uint64_t times;
	char text[64];

	if (read(timer, &times, sizeof times) != sizeof times || wsc_stats(gateway, &stats) != 0)
		return;
	snprintf(text, sizeof text, "up for %llu s", (unsigned long long)stats.uptime_seconds);
	wsc_broadcast(gateway, &(struct wsc_message){ .type = WSC_TYPE_EVENT, .content = text }, NULL, NULL);
}

static void loop(struct wsc_gateway *gateway, int signals, int timer)
{
	int epfd = epoll_create1(EPOLL_CLOEXEC), going = 1;
	struct epoll_event ev[8];

	watch(epfd, wsc_fd(gateway)); /* readable whenever the gateway has work, deadlines included */
	watch(epfd, signals);
	watch(epfd, timer);
	while (going > 0) {
		int n = epoll_wait(epfd, ev, 8, -1);

		for (int i = 0; i < n; i++) {
			struct signalfd_siginfo si;

			if (ev[i].data.fd == timer)
				tick(gateway, timer);
			else if (ev[i].data.fd == signals && read(signals, &si, sizeof si) == sizeof si)
				wsc_stop(gateway, 2000);
			else if (ev[i].data.fd == wsc_fd(gateway))
				going = wsc_step(gateway, 0); /* one turn; 0 means that it has stopped */
		}
	}
	close(epfd);
}

int main(int argc, char **argv)
{
	struct wsc_config *config = example_config(argc, argv);
	struct wsc_gateway *gateway = wsc_new(config, NULL);
	int signals, timer = every(argc > 2 ? strtol(argv[2], NULL, 10) : 5000);
	sigset_t ends = example_signals();

	signals = signalfd(-1, &ends, SFD_NONBLOCK | SFD_CLOEXEC);
	wsc_register_routes(gateway);
	wsc_register_api(gateway, "/api/v1");
	if (wsc_open(gateway) != 0) { /* wsc_start() would start threads */
		fprintf(stderr, "%s\n", wsc_error_text(gateway));
		return EXIT_FAILURE;
	}
	printf("listening on port %u\n", wsc_port(gateway));
	fflush(stdout);
	loop(gateway, signals, timer);
	wsc_free(gateway);
	wsc_config_free(config);
	close(timer);
	close(signals);
	return EXIT_SUCCESS;
}
