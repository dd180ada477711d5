/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending and broadcasting from code: each line of standard input goes out. "bob: hello" goes to bob, any other line to
 * everybody; what became of it is printed.
 *
 *   cc send_and_broadcast.c -o send_and_broadcast $(pkg-config --cflags --libs wsc)
 *   ./send_and_broadcast [PORT]
 */
#include <string.h>
#include "example.h"

/* On a worker's thread, once per message. */
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

/* Any thread may send; nothing here waits for anybody. */
static void *read_lines(void *arg)
{
	char line[1024];

	while (fgets(line, sizeof line, stdin)) {
		pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL); /* main may end us while we wait for a line, not here */
		line[strcspn(line, "\n")] = 0;
		if (line[0])
			say(arg, line);
		pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, NULL);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	struct wsc_config *config = example_config(argc, argv);
	struct wsc_gateway *gateway = wsc_new(config, NULL);
	pthread_t thread;
	int status;

	wsc_register_routes(gateway);
	wsc_register_api(gateway, "/api/v1");
	if (pthread_create(&thread, NULL, read_lines, gateway) != 0)
		return EXIT_FAILURE;
	status = example_run(gateway);
	pthread_cancel(thread); /* it may still wait for a line */
	pthread_join(thread, NULL);
	wsc_free(gateway);
	wsc_config_free(config);
	return status;
}
