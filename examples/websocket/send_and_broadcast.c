/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending and broadcasting from code: the program sends each line of its standard input. "bob: hello" goes to bob, any
 * other line goes to everybody; the program prints the outcome.
 *
 *   cc send_and_broadcast.c -o send_and_broadcast $(pkg-config --cflags --libs wsc)
 *   ./send_and_broadcast [PORT]
 */
#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include "example.h"

/* Called on a worker's thread, once per message. */
static void done(void *user, const struct wsc_outcome *outcome)
{
	(void)user;
	printf("%s: %s (%u)\n", outcome->id, outcome->reason, outcome->delivered_count);
	fflush(stdout);
}

static void say(struct wsc_gateway *gateway, char *line)
{
	char *content = strstr(line, ": ");
	struct wsc_message message = { .from = "user1", .content = content ? content + 2 : line };
	int r;

	if (content) {
		*content = 0;
		message.to = line;
		message.type = WSC_TYPE_TEXT;
		r = wsc_send(gateway, &message, done, NULL);
	} else {
		message.from = WSC_SYSTEM;
		message.type = WSC_TYPE_NOTICE;
		r = wsc_broadcast(gateway, &message, done, NULL);
	}
	if (r != 0)
		printf("refused: %s\n", wsc_strerror(r));
}

/* Reads lines until a signal comes. Here main sends; any thread and any hook may send, and sending never blocks. */
static void read_lines(struct wsc_gateway *gateway)
{
	sigset_t ends = example_signals();
	struct pollfd fd[2] = { { .fd = STDIN_FILENO, .events = POLLIN }, { .events = POLLIN } };
	char line[1024];

	fd[1].fd = signalfd(-1, &ends, SFD_CLOEXEC);
	setvbuf(stdin, NULL, _IONBF, 0); /* poll() does not see lines that stdio has buffered */
	while (poll(fd, 2, -1) >= 0 && !fd[1].revents) {
		if (!fd[0].revents)
			continue;
		if (!fgets(line, sizeof line, stdin)) {
			fd[0].fd = -1; /* no more lines; goes on serving */
			continue;
		}
		line[strcspn(line, "\n")] = 0;
		if (line[0])
			say(gateway, line);
	}
	close(fd[1].fd);
}

int main(int argc, char **argv)
{
	struct wsc_config *config = example_config(argc, argv);
	struct wsc_gateway *gateway = wsc_new(config, NULL);

	wsc_register_routes(gateway);
	wsc_register_api(gateway, "/api/v1");
	if (wsc_start(gateway) != 0) {
		fprintf(stderr, "%s\n", wsc_error_text(gateway));
		return EXIT_FAILURE;
	}
	printf("listening on port %u\n", wsc_port(gateway));
	fflush(stdout);
	read_lines(gateway);
	wsc_stop(gateway, 2000);
	wsc_wait(gateway);
	wsc_free(gateway);
	wsc_config_free(config);
	return EXIT_SUCCESS;
}
