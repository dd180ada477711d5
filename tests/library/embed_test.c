/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The library inside a program: threads only on demand, no signal handlers, no globals, its own loop or the host's, own
 * routes, adopted sockets.
 */
#include "scene.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

/* ---- threads and signals -------------------------------------------------------------------------------------------- */

static int count_threads(void)
{
	DIR *d = opendir("/proc/self/task");
	int n = 0;

	while (d && readdir(d))
		n++;
	closedir(d);
	return n;
}

static void *nothing(void *arg)
{
	return arg;
}

/* Only differences count: a sanitizer starts a thread of its own with our first one. */
static int threads(void)
{
	pthread_t first;

	if (pthread_create(&first, NULL, nothing, NULL) != 0 || pthread_join(first, NULL) != 0)
		abort();
	usleep(20000); /* joined, but the kernel may still list it for a moment */
	return count_threads();
}

/* Shows: 8.no-globals */
TEST(threads_are_started_by_wsc_start_alone_and_end_with_the_gateway)
{
	int before = threads();
	struct scene *s = scene_prepare(NULL, "workers", "3", NULL);

	wsc_register_routes(s->gateway);
	CHECK_EQ(count_threads(), before);
	CHECK_EQ(wsc_start(s->gateway), 0);
	CHECK_EQ(count_threads(), before + 3);
	CHECK_EQ(wsc_workers(s->gateway), 3);
	scene_free(s);
	for (int i = 0; i < 1000 && count_threads() != before;
	     i++) /* joined, but the kernel may still list one for a moment */
		usleep(1000);
	CHECK_EQ(count_threads(), before);
}

/* Shows: 8.no-globals */
TEST(wsc_open_starts_no_thread)
{
	int before = threads();
	struct scene *s = scene_prepare(NULL, NULL);

	wsc_register_routes(s->gateway);
	CHECK_EQ(wsc_open(s->gateway), 0);
	CHECK_EQ(wsc_workers(s->gateway), 1);
	for (int i = 0; i < 10; i++)
		CHECK_EQ(wsc_step(s->gateway, 0), 1);
	CHECK_EQ(count_threads(), before);
	scene_free(s);
}

#define SIGNALS 65

static void dispositions(struct sigaction out[SIGNALS])
{
	memset(out, 0, sizeof(struct sigaction) * SIGNALS);
	for (int i = 1; i < SIGNALS; i++)
		sigaction(i, NULL, &out[i]);
}

/* Shows: 8.no-globals, threat 131 */
TEST(no_signal_handler_is_installed_and_no_mask_changed)
{
	struct sigaction before[SIGNALS], after[SIGNALS];
	sigset_t mask_before, mask_after;
	struct scene *s;

	dispositions(before);
	pthread_sigmask(SIG_SETMASK, NULL, &mask_before);
	s = scene_new(NULL, NULL);
	client_close(scene_ws(s, "user_id=alice"));
	client_reset(scene_ws(s, "user_id=alice"));
	dispositions(after);
	pthread_sigmask(SIG_SETMASK, NULL, &mask_after);
	for (int i = 1; i < SIGNALS; i++)
		CHECK(before[i].sa_handler == after[i].sa_handler && before[i].sa_flags == after[i].sa_flags);
	for (int i = 1; i < SIGNALS; i++)
		CHECK_EQ(sigismember(&mask_before, i), sigismember(&mask_after, i));
	scene_free(s);
}

/* ---- several gateways ----------------------------------------------------------------------------------------------- */

/* Shows: 8.no-globals, hardening.coding-rules */
TEST(several_gateways_in_one_process_know_nothing_of_each_other)
{
	struct scene *s[4];
	struct client *c[4];
	struct wsc_stats st;
	char query[32];

	for (int i = 0; i < 4; i++) {
		s[i] = scene_new(NULL, NULL);
		snprintf(query, sizeof query, "user_id=only%d", i);
		c[i] = scene_ws(s[i], query);
		CHECK_EQ(client_status(c[i]), 101);
	}
	for (int i = 0; i < 4; i++) {
		CHECK(i == 0 || s[i]->port != s[i - 1]->port);
		CHECK(i == 0 || strcmp(wsc_node_id(s[i]->gateway), wsc_node_id(s[i - 1]->gateway)) != 0);
		CHECK_EQ(wsc_broadcast(s[i]->gateway, &(struct wsc_message){ .content = "here" }, note_outcome, s[i]),
			 0);
		CHECK(noted(s[i], "outcome 0 1"));
		CHECK_EQ(wsc_send(s[i]->gateway, &(struct wsc_message){ .to = i ? "only0" : "only1", .content = "x" },
				  note_outcome, s[i]),
			 0);
		CHECK(noted(s[i], "outcome -10 0"));
		CHECK_EQ(wsc_stats(s[i]->gateway, &st), 0);
		CHECK_EQ(st.online_users, 1);
	}
	scene_free(s[0]); /* and the others go on */
	CHECK_EQ(wsc_broadcast(s[3]->gateway, &(struct wsc_message){ .content = "still" }, NULL, NULL), 0);
	CHECK(client_gets(c[3], "here"));
	CHECK(client_gets(c[3], "still"));
	for (int i = 0; i < 4; i++)
		client_free(c[i]);
	for (int i = 1; i < 4; i++)
		scene_free(s[i]);
}

/* ---- the host's loop ------------------------------------------------------------------------------------------------ */

/* Runs the gateway until @fd is readable, as a program's own loop would; false: it never was. */
static bool host_loop(struct scene *s, int fd)
{
	for (int turns = 0; turns < 10000; turns++) {
		struct pollfd p[2] = { { .fd = wsc_fd(s->gateway), .events = POLLIN }, { .fd = fd, .events = POLLIN } };

		if (poll(p, 2, patience_ms()) <= 0)
			return false;
		if (p[0].revents && wsc_step(s->gateway, 0) != 1)
			return false;
		if (p[1].revents)
			return true;
	}
	return false;
}

/* Runs the gateway until @text has come whole, in any number of parts; @in ends with NUL. */
static bool host_reads(struct scene *s, int fd, char *in, size_t size, const char *text)
{
	size_t len = 0;

	do {
		ssize_t n = host_loop(s, fd) ? read(fd, in + len, size - 1 - len) : 0;

		if (n <= 0)
			return false;
		len += (size_t)n;
		in[len] = 0;
	} while (!memmem(in, len, text, strlen(text)));
	return true;
}

static const char upgrade[] =
	"GET /ws?user_id=alice HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

TEST(the_host_drives_it_from_its_own_loop_in_one_thread)
{
	struct scene *s = scene_prepare(NULL, NULL);
	char in[1024] = "";
	ssize_t n;
	int fd;

	wsc_register_routes(s->gateway);
	CHECK_EQ(wsc_open(s->gateway), 0);
	fd = dial(wsc_port(s->gateway));
	CHECK_EQ(write(fd, upgrade, sizeof upgrade - 1), sizeof upgrade - 1);
	CHECK(host_reads(s, fd, in, sizeof in, "\r\n\r\n"));
	CHECK(strncmp(in, "HTTP/1.1 101", 12) == 0);
	CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "alice", .content = "from the loop" }, note_outcome,
			  s),
		 0);
	/* The descriptor reports work from the host's own call too; a message ends in its brace. */
	CHECK(host_reads(s, fd, in, sizeof in, "}"));
	CHECK(memmem(in, sizeof in, "from the loop", 13) != NULL);
	CHECK(noted(s, "outcome 0 1"));
	wsc_stop(s->gateway, 1000);
	while (wsc_step(s->gateway, -1) == 1)
		;
	CHECK_EQ(wsc_step(s->gateway, 0), 0);
	n = recv(fd, in, 4, MSG_WAITALL);
	CHECK(n == 4 && (uint8_t)in[0] == 0x88 && in[2] == 0x03 && (uint8_t)in[3] == 0xe9); /* 1001 */
	close(fd);
	scene_free(s);
}

static int never(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)request, (void)id;
	return keep(user, call);
}

TEST(deadlines_show_on_the_descriptor_of_the_host_driven_gateway)
{
	struct scene *s =
		scene_prepare(&(struct wsc_hooks){ .authenticate_user = never }, "hook_timeout", "50ms", NULL);
	char in[1024] = "";
	int fd;

	wsc_register_routes(s->gateway);
	CHECK_EQ(wsc_open(s->gateway), 0);
	fd = dial(wsc_port(s->gateway));
	CHECK_EQ(write(fd, upgrade, sizeof upgrade - 1), sizeof upgrade - 1);
	CHECK(host_loop(s, fd)); /* nothing but the passing of time makes it answer */
	CHECK(read(fd, in, sizeof in) > 12 && strncmp(in, "HTTP/1.1 503", 12) == 0);
	close(fd);
	wsc_finish_identity(kept(s, 0), -1, NULL, 0, NULL);
	scene_free(s);
}

static void *finish_soon(void *arg)
{
	usleep(20000);
	wsc_finish_identity(arg, 0, &(struct wsc_identity){ .user_id = "alice" }, 0, NULL);
	return NULL;
}

TEST(another_thread_wakes_the_host_loop)
{
	struct scene *s = scene_prepare(&(struct wsc_hooks){ .authenticate_user = never }, NULL);
	pthread_t t;
	char in[1024] = "";
	int fd;

	wsc_register_routes(s->gateway);
	CHECK_EQ(wsc_open(s->gateway), 0);
	fd = dial(wsc_port(s->gateway));
	CHECK_EQ(write(fd, upgrade, sizeof upgrade - 1), sizeof upgrade - 1);
	for (int i = 0; i < 1000 && s->nkept == 0; i++)
		wsc_step(s->gateway, 10);
	pthread_create(&t, NULL, finish_soon, kept(s, 0));
	CHECK(host_loop(s, fd));
	CHECK(read(fd, in, sizeof in) > 12 && strncmp(in, "HTTP/1.1 101", 12) == 0);
	pthread_join(t, NULL);
	close(fd);
	scene_free(s);
}

/* ---- own routes ------------------------------------------------------------------------------------------------------- */

static void hello(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	char name[32], text[64];
	int n;

	note(user, "hello from %s", wsc_request_address(request));
	wsc_request_query(request, "name", name, sizeof name);
	n = snprintf(text, sizeof text, "Hello, %s!", name);
	CHECK_EQ(wsc_response_header(response, "X-Mine", "yes"), 0);
	CHECK_EQ(wsc_response_header(response, "X-Evil", "a\r\nSet-Cookie: b"), -WSC_EINVAL);
	CHECK_EQ(wsc_response_header(response, "X-Evil: b\r\nX", "a"), -WSC_EINVAL);
	wsc_respond(response, 201, "text/plain", text, (size_t)n);
}

static void echo(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	size_t len;
	const char *body = wsc_request_body(request, &len);

	note(user, "%s %s %s", wsc_request_method(request), wsc_request_path(request), body);
	wsc_respond(response, 200, NULL, body, len);
}

static void silent(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	(void)user, (void)request, (void)response;
}

/* Shows: 8.own-routes */
TEST(own_routes_answer_on_the_gateways_port_beside_its_own)
{
	struct scene *s = scene_prepare(NULL, NULL);
	struct answer a;

	CHECK_EQ(wsc_route(s->gateway, "GET", "/hello", hello, s), 0);
	CHECK_EQ(wsc_route(s->gateway, "POST", "/echo", echo, s), 0);
	CHECK_EQ(wsc_route(s->gateway, "GET", "/silent", silent, s), 0);
	CHECK(wsc_route(s->gateway, "GET", "/hello", echo, s) < 0);
	CHECK_EQ(wsc_route(s->gateway, "GET", "no-slash", echo, s), -WSC_EINVAL);
	scene_start(s);
	CHECK(http_call(s->port, "GET", "/hello?name=W%C3%B6rld", NULL, NULL, &a));
	CHECK_EQ(a.status, 201);
	CHECK(strcmp(a.body, "Hello, W\xc3\xb6rld!") == 0);
	CHECK(strstr(a.head, "X-Mine: yes") != NULL);
	CHECK(strstr(a.head, "text/plain") != NULL);
	CHECK(strstr(a.head, "Evil") == NULL && strstr(a.head, "Cookie") == NULL);
	CHECK(http_call(s->port, "POST", "/echo", "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n",
			NULL, &a));
	CHECK(strcmp(a.body, "abcde") == 0);
	CHECK(noted(s, "POST /echo abcde"));
	CHECK(strstr(a.head, "application/json") != NULL);
	CHECK(http_call(s->port, "GET", "/echo", NULL, NULL, &a));
	CHECK_EQ(a.status, 405);
	CHECK(strstr(a.head, "Allow: ") && strstr(a.head, "POST"));
	CHECK(http_call(s->port, "GET", "/silent", NULL, NULL, &a));
	CHECK_EQ(a.status, 500);
	CHECK(http_call(s->port, "GET", "/hello/more", NULL, NULL, &a));
	CHECK_EQ(a.status, 404);
	CHECK(http_call(s->port, "GET", "/wsc/stats", NULL, NULL, &a));
	CHECK_EQ(a.status, 200);
	CHECK_EQ(wsc_route(s->gateway, "GET", "/late", hello, s), -WSC_ESTATE);
	scene_free(s);
}

/* Shows: tls.reload */
TEST(certificates_are_looked_at_before_the_start_and_read_anew_while_it_runs)
{
	char dir[] = "/tmp/wsc-library-XXXXXX", pem[64], key[64], away[64], command[512];
	struct scene *s;

	if (!CHECK(mkdtemp(dir) != NULL))
		return;
	snprintf(pem, sizeof pem, "%s/cert.pem", dir);
	snprintf(key, sizeof key, "%s/key.pem", dir);
	snprintf(away, sizeof away, "%s/away", dir);
	s = scene_prepare(NULL, "tls.certificate", pem, "tls.key", key, NULL);
	CHECK_EQ(wsc_check(s->gateway), -WSC_ESYSTEM);
	CHECK(strstr(wsc_error_text(s->gateway), "cert.pem cannot be read: No such file") != NULL);
	CHECK_EQ(wsc_reload(s->gateway), -WSC_ESTATE);
	snprintf(command, sizeof command,
		 "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost "
		 "-keyout %s -out %s 2>%s/log",
		 key, pem, dir);
	CHECK_EQ(system(command), 0);
	CHECK_EQ(wsc_check(s->gateway), 0);
	scene_start(s);
	CHECK_EQ(wsc_check(s->gateway), -WSC_ESTATE);
	CHECK_EQ(wsc_reload(s->gateway), 0);
	CHECK_EQ(rename(key, away), 0);
	CHECK_EQ(wsc_reload(s->gateway), -WSC_ESYSTEM);
	CHECK(strstr(wsc_error_text(s->gateway), "key.pem cannot be read: No such file") != NULL);
	CHECK_EQ(rename(away, key), 0);
	CHECK_EQ(wsc_reload(s->gateway), 0);
	wsc_stop(s->gateway, 0);
	CHECK(wsc_wait(s->gateway) >= 0);
	CHECK_EQ(wsc_reload(s->gateway), -WSC_ESTATE);
	scene_free(s);
	snprintf(command, sizeof command, "rm -rf %s", dir);
	CHECK_EQ(system(command), 0);
}

TEST(without_tls_there_is_nothing_to_look_at_and_nothing_to_reload)
{
	struct scene *s = scene_prepare(NULL, NULL);

	CHECK_EQ(wsc_check(s->gateway), 0);
	scene_start(s);
	CHECK_EQ(wsc_reload(s->gateway), 0);
	scene_free(s);
}

TEST(own_routes_obey_the_gateways_rules_for_origins)
{
	struct scene *s = scene_prepare(NULL, "websocket_origins", "https://app.example", NULL);
	struct answer a;

	CHECK_EQ(wsc_route(s->gateway, "GET", "/hello", hello, s), 0);
	scene_start(s);
	CHECK(http_call(s->port, "GET", "/hello?name=x", "Origin: https://evil.example\r\n", NULL, &a));
	CHECK_EQ(a.status, 403);
	CHECK_EQ(notes(s, "hello"), 0);
	CHECK(http_call(s->port, "GET", "/hello?name=x", "Origin: https://app.example\r\n", NULL, &a));
	CHECK_EQ(a.status, 201);
	CHECK(strstr(a.head, "Access-Control-Allow-Origin: https://app.example") != NULL);
	scene_free(s);
}

TEST(the_api_is_mounted_under_any_prefix_and_routes_only_when_registered)
{
	struct scene *s = scene_prepare(NULL, "paths.api", "/from/config", NULL);
	struct answer a;

	CHECK_EQ(wsc_register_api(s->gateway, "/mine/v2"), 0);
	CHECK_EQ(wsc_register_api(s->gateway, NULL), 0);
	CHECK(wsc_register_api(s->gateway, "no-slash") < 0);
	CHECK_EQ(wsc_start(s->gateway), 0);
	s->port = wsc_port(s->gateway);
	CHECK(http_call(s->port, "GET", "/mine/v2/websocket/stats", NULL, NULL, &a));
	CHECK_EQ(a.status, 200);
	CHECK(http_call(s->port, "GET", "/from/config/online", NULL, NULL, &a));
	CHECK_EQ(a.status, 200);
	CHECK(http_call(s->port, "GET", "/wsc/stats", NULL, NULL, &a));
	CHECK_EQ(a.status, 404);
	scene_free(s);
}

/* ---- adopted sockets -------------------------------------------------------------------------------------------------- */

/* A listening socket of the program's own; its port goes to @port. */
static int own_listener(uint16_t *port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *)&at, sizeof at) != 0 || listen(fd, 8) != 0 ||
	    getsockname(fd, (struct sockaddr *)&at, &len) != 0)
		abort();
	*port = ntohs(at.sin_port);
	return fd;
}

/* Shows: 8.adopt */
TEST(wsc_adopt_takes_over_sockets_that_the_program_has_accepted)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *c[5];
	uint16_t port;
	int fd = own_listener(&port), pair[2];
	char query[32];

	for (int i = 0; i < 4; i++) {
		snprintf(query, sizeof query, "/ws?user_id=adopted%d", i);
		c[i] = ws_begin(port, query, NULL);
		CHECK_EQ(wsc_adopt(s->gateway, accept(fd, NULL, NULL)), 0);
		CHECK_EQ(client_status(c[i]), 101);
	}
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
		abort();
	CHECK_EQ(wsc_adopt(s->gateway, pair[0]), 0);
	c[4] = ws_over(pair[1], "/ws?user_id=adopted4", NULL);
	CHECK_EQ(client_status(c[4]), 101);
	for (int i = 0; i < 5; i++) {
		client_say(c[i], "{\"to\":\"adopted%d\",\"content\":\"hi\"}", (i + 1) % 5);
		CHECK(client_gets(c[(i + 1) % 5], "\"content\":\"hi\""));
	}
	CHECK_EQ(wsc_adopt(s->gateway, -1), -WSC_EINVAL);
	for (int i = 0; i < 5; i++)
		client_close(c[i]);
	close(fd);
	scene_free(s);
}

/* ---- not enabled, not valid, not possible ------------------------------------------------------------------------------ */

/* Shows: 1.disabled */
TEST(with_enabled_false_every_call_says_so_and_every_route_answers_503)
{
	struct scene *s = scene_prepare(NULL, "enabled", "false", NULL);
	static const char *const target[] = { "/ws?user_id=alice", "/sse?user_id=alice", "/wsc/stats",
					      "/api/v1/websocket/online" };
	struct wsc_message m = { .to = "alice", .content = "x" };
	struct wsc_stats st;
	char in[1024] = "";
	int pair[2];

	CHECK_EQ(wsc_register_routes(s->gateway), -WSC_EDISABLED);
	CHECK_EQ(wsc_register_api(s->gateway, "/api/v1"), -WSC_EDISABLED);
	CHECK_EQ(wsc_register_pages(s->gateway), -WSC_EDISABLED);
	CHECK_EQ(wsc_route(s->gateway, "GET", "/mine", hello, s), -WSC_EDISABLED);
	CHECK_EQ(wsc_start(s->gateway), -WSC_EDISABLED);
	CHECK(strstr(wsc_error_text(s->gateway), "not enabled") != NULL);
	CHECK_EQ(wsc_open(s->gateway), -WSC_EDISABLED);
	CHECK_EQ(wsc_step(s->gateway, 0), -WSC_EDISABLED);
	CHECK_EQ(wsc_send(s->gateway, &m, note_outcome, s), -WSC_EDISABLED);
	CHECK_EQ(wsc_broadcast(s->gateway, &m, note_outcome, s), -WSC_EDISABLED);
	CHECK_EQ(wsc_kick(s->gateway, "alice", NULL, note_outcome, s), -WSC_EDISABLED);
	CHECK_EQ(wsc_stats(s->gateway, &st), -WSC_EDISABLED);
	CHECK_EQ(wsc_is_online(s->gateway, "alice", NULL, NULL), -WSC_EDISABLED);
	CHECK_EQ(wsc_wait(s->gateway), -WSC_EDISABLED);
	for (size_t i = 0; i < sizeof target / sizeof target[0]; i++) {
		ssize_t n;

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0)
			abort();
		dprintf(pair[1], "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", target[i]);
		CHECK_EQ(wsc_adopt(s->gateway, pair[0]), -WSC_EDISABLED);
		n = recv(pair[1], in, sizeof in - 1, MSG_WAITALL);
		in[n > 0 ? n : 0] = 0;
		CHECK(strncmp(in, "HTTP/1.1 503 ", 13) == 0);
		CHECK(strstr(in, "\"success\":false") && strstr(in, "\"code\":\"not_enabled\""));
		close(pair[1]);
	}
	CHECK_EQ(s->nnotes, 0);
	scene_free(s);
}

/* Shows: 1.disabled */
TEST(a_file_without_the_section_is_not_enabled_either)
{
	struct wsc_config *config = wsc_config_new();
	struct wsc_gateway *gateway;
	static const char yaml[] = "other:\n  key: 1\n";

	CHECK_EQ(wsc_config_parse(config, "test.yaml", yaml, sizeof yaml - 1), 0);
	gateway = wsc_new(config, NULL);
	CHECK_EQ(wsc_start(gateway), -WSC_EDISABLED);
	wsc_free(gateway);
	wsc_config_free(config);
}

static int allow(void *user, struct wsc_call *call, const struct wsc_client *client, const struct wsc_message *m)
{
	(void)user, (void)call, (void)client, (void)m;
	return WSC_ALLOW;
}

/* Shows: 1.security.sender_mismatch */
TEST(sender_mismatch_hook_without_the_hook_fails_the_start)
{
	struct scene *s = scene_prepare(NULL, "security.sender_mismatch", "hook", NULL);
	struct scene *t = scene_prepare(&(struct wsc_hooks){ .on_message_received = allow }, "security.sender_mismatch",
					"hook", NULL);

	CHECK_EQ(wsc_start(s->gateway), -WSC_ECONFIG);
	CHECK(strstr(wsc_error_text(s->gateway), "sender_mismatch") != NULL);
	CHECK_EQ(wsc_start(t->gateway), 0);
	scene_free(s);
	scene_free(t);
}

TEST(a_configuration_with_a_fault_fails_the_start_and_says_which)
{
	struct scene *s = scene_prepare(NULL, "node_port", "99999", NULL);

	CHECK_EQ(wsc_start(s->gateway), -WSC_ECONFIG);
	CHECK(strstr(wsc_error_text(s->gateway), "node_port") != NULL);
	CHECK(wsc_send(s->gateway, &(struct wsc_message){ .to = "a", .content = "x" }, NULL, NULL) < 0);
	scene_free(s);
}

TEST(a_port_in_use_is_reported_and_the_gateway_may_be_freed)
{
	struct scene *s = scene_new(NULL, NULL), *t;
	char port[16];

	snprintf(port, sizeof port, "%u", s->port);
	t = scene_prepare(NULL, "node_port", port, NULL);
	CHECK_EQ(wsc_start(t->gateway), -WSC_EADDRINUSE);
	CHECK(strstr(wsc_error_text(t->gateway), port) != NULL);
	scene_free(t);
	scene_free(s);
}

TEST(every_error_has_a_sentence_of_its_own_under_either_sign)
{
	CHECK(strcmp(wsc_strerror(0), "done") == 0);
	CHECK(strcmp(wsc_strerror(WSC_ERROR_END), "unknown error") == 0);
	CHECK(strcmp(wsc_strerror(INT_MIN), "unknown error") == 0);
	for (int e = 1; e < WSC_ERROR_END; e++) {
		CHECK(wsc_strerror(e) == wsc_strerror(-e));
		CHECK(strcmp(wsc_strerror(e), "unknown error") != 0);
		for (int other = 0; other < e; other++)
			CHECK(strcmp(wsc_strerror(e), wsc_strerror(other)) != 0);
	}
}

TEST(calls_in_the_wrong_state_are_refused)
{
	struct scene *s = scene_prepare(NULL, NULL);
	struct wsc_message m = { .to = "alice", .content = "x" };

	CHECK_EQ(wsc_send(s->gateway, &m, note_outcome, s), -WSC_ESTATE);
	CHECK_EQ(wsc_kick(s->gateway, "alice", NULL, NULL, NULL), -WSC_ESTATE);
	CHECK_EQ(wsc_wait(s->gateway), -WSC_ESTATE);
	CHECK_EQ(wsc_step(s->gateway, 0), -WSC_ESTATE);
	CHECK_EQ(wsc_fd(s->gateway), -WSC_ESTATE);
	CHECK_EQ(wsc_port(s->gateway), 0);
	wsc_stop(s->gateway, 0);
	scene_start(s);
	CHECK_EQ(wsc_start(s->gateway), -WSC_ESTATE);
	CHECK_EQ(wsc_register_routes(s->gateway), -WSC_ESTATE);
	CHECK_EQ(wsc_step(s->gateway, 0), -WSC_ESTATE);
	wsc_stop(s->gateway, 100);
	wsc_stop(s->gateway, 100);
	CHECK_EQ(wsc_wait(s->gateway), 0);
	CHECK_EQ(wsc_wait(s->gateway), 0);
	CHECK(wsc_send(s->gateway, &m, note_outcome, s) < 0);
	CHECK_EQ(s->nnotes, 0);
	scene_free(s);
	wsc_free(NULL);
	CHECK(wsc_new(NULL, NULL) == NULL);
}

/* The client has the close frame in its socket and does not answer it. */
TEST(wsc_stop_waits_no_longer_than_its_timeout)
{
	struct scene *s = scene_new(NULL, NULL);
	struct client *c = scene_ws(s, "user_id=alice");
	time_t began = time(NULL);

	CHECK_EQ(client_status(c), 101);
	wsc_stop(s->gateway, 100);
	CHECK_EQ(wsc_wait(s->gateway), 0);
	CHECK(time(NULL) - began <= slowly(2000) / 1000);
	CHECK_EQ(client_end(c), 1001);
	client_free(c);
	scene_free(s);
}

TEST(a_client_that_takes_no_bytes_is_cut_and_wsc_wait_returns_1)
{
	struct scene *s = scene_new(NULL, "message_buffer_size", "1000", "performance.max_queue_bytes", "64MiB", NULL);
	struct client *c = scene_ws(s, "user_id=alice"); /* reads nothing */
	char *much = malloc(512 * 1024);

	if (!much)
		abort();
	memset(much, 'x', 512 * 1024 - 1);
	much[512 * 1024 - 1] = 0;
	CHECK_EQ(client_status(c), 101);
	for (int i = 0; i < 20; i++)
		CHECK_EQ(wsc_send(s->gateway, &(struct wsc_message){ .to = "alice", .content = much }, note_outcome, s),
			 0);
	CHECK(wait_notes(s, "outcome 0 1", 20));
	wsc_stop(s->gateway, 100);
	CHECK_EQ(wsc_wait(s->gateway), 1);
	free(much);
	client_free(c);
	scene_free(s);
}

static void sink(void *user, const char *line, size_t len)
{
	note(user, "log %.*s", (int)len, line);
}

TEST(the_log_goes_to_the_programs_function)
{
	struct scene *s = scene_prepare(NULL, NULL);

	wsc_log_to(s->gateway, -1, sink, s);
	scene_start(s);
	CHECK(wait_notes(s, "log ", 1));
	scene_free(s);
}

/* Shows: 1.performance.max_connections_per_node */
TEST(a_node_holds_no_more_connections_than_it_may)
{
	struct scene *s = scene_new(NULL, "performance.max_connections_per_node", "2", NULL);
	struct client *a = scene_ws(s, "user_id=a"), *b = scene_ws(s, "user_id=b"), *c = scene_ws(s, "user_id=c");

	CHECK_EQ(wsc_max_connections(s->gateway), 2);
	CHECK_EQ(client_status(a), 101);
	CHECK_EQ(client_status(b), 101);
	CHECK_EQ(client_status(c), 503);
	client_close(a);
	client_close(b);
	client_free(c);
	scene_free(s);
}

static int later(void *user, struct wsc_call *call, struct wsc_message *m)
{
	(void)m;
	note(user, "asked");
	return keep(user, call);
}

TEST(a_message_that_waits_when_the_gateway_is_freed_gets_an_outcome_and_asks_no_hook)
{
	struct scene *s = scene_prepare(&(struct wsc_hooks){ .on_message_send = later, .on_broadcast = later }, NULL);
	struct wsc_message m = { .to = "alice", .content = "x" };
	char outcome[32];

	CHECK_EQ(wsc_open(s->gateway), 0);
	CHECK_EQ(wsc_send(s->gateway, &m, note_outcome, s), 0);
	CHECK_EQ(wsc_broadcast(s->gateway, &m, note_outcome, s), 0);
	wsc_free(s->gateway);
	s->gateway = NULL;
	snprintf(outcome, sizeof outcome, "outcome %d 0", -WSC_ESTATE);
	CHECK_EQ(notes(s, "asked"), 0);
	CHECK_EQ(notes(s, outcome), 2);
	scene_free(s);
}

static int keep_received(void *user, struct wsc_call *call, const struct wsc_client *client,
			 const struct wsc_message *m)
{
	(void)client;
	(void)m;
	return keep(user, call);
}

TEST(a_hook_that_is_finished_just_before_the_end_leads_to_no_other)
{
	static const char frame[] = "\x81\x9b\0\0\0\0{\"to\":\"alice\",\"content\":\"\"}";
	struct wsc_hooks hooks = { .on_message_received = keep_received, .on_message_send = later };
	struct scene *s = scene_prepare(&hooks, NULL);
	int fd;

	wsc_register_routes(s->gateway);
	CHECK_EQ(wsc_open(s->gateway), 0);
	fd = dial(wsc_port(s->gateway));
	CHECK_EQ(write(fd, upgrade, sizeof upgrade - 1), sizeof upgrade - 1);
	CHECK(host_loop(s, fd));
	CHECK_EQ(write(fd, frame, sizeof frame - 1), sizeof frame - 1);
	for (int i = 0; i < 1000 && !s->nkept; i++)
		CHECK_EQ(wsc_step(s->gateway, 10), 1);
	if (CHECK_EQ(s->nkept, 1))
		wsc_finish(s->kept[0], WSC_ALLOW, NULL);
	wsc_free(s->gateway);
	s->gateway = NULL;
	CHECK_EQ(notes(s, "asked"), 0);
	close(fd);
	scene_free(s);
}
