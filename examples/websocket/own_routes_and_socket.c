/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program's own HTTP route on the gateway's port, and sockets that the program accepts itself: on a second port, it
 * could refuse a client before the gateway knows of it.
 *
 *   cc own_routes_and_socket.c -o own_routes_and_socket $(pkg-config --cflags --libs wsc)
 *   ./own_routes_and_socket [PORT]
 */
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "example.h"

/* GET /hello?name=... */
static void hello(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	char name[64], text[96];

	(void)user;
	if (!wsc_request_query(request, "name", name, sizeof name))
		strcpy(name, "stranger");
	snprintf(text, sizeof text, "Hello, %s!\n", name);
	wsc_respond(response, 200, "text/plain; charset=utf-8", text, strlen(text));
}

static int listen_anywhere(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 64) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0) {
		perror("own socket");
		exit(EXIT_FAILURE);
	}
	printf("own socket on port %u\n", ntohs(at.sin_port));
	return fd;
}

struct door {
	struct wsc_gateway *gateway;
	int fd;
};

static void *accept_all(void *arg)
{
	struct door *door = arg;
	int fd;

	while ((fd = accept(door->fd, NULL, NULL)) >= 0)
		wsc_adopt(door->gateway, fd); /* the gateway owns the socket from now on, even if this fails */
	return NULL;
}

int main(int argc, char **argv)
{
	struct wsc_config *config = example_config(argc, argv);
	struct door door = { .gateway = wsc_new(config, NULL), .fd = listen_anywhere() };
	pthread_t thread;
	int status;

	wsc_register_routes(door.gateway);
	wsc_register_api(door.gateway, "/api/v1");
	wsc_route(door.gateway, "GET", "/hello", hello, NULL);
	if (pthread_create(&thread, NULL, accept_all, &door) != 0)
		return EXIT_FAILURE;
	status = example_run(door.gateway);
	shutdown(door.fd, SHUT_RDWR); /* makes accept() return */
	pthread_join(thread, NULL);
	close(door.fd);
	wsc_free(door.gateway);
	wsc_config_free(config);
	return status;
}
