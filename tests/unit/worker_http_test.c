/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: bounds and ends of an HTTP connection: unread answers, peers that shut their side, requests that come late.
 */
#include "worker_fixture.h"

#define PAGE 60000u

static void big_page(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	(void)request;
	wsc_respond(response, 200, "text/plain", user, PAGE);
}

static struct conn *only_conn(struct rig *r)
{
	uint32_t pos = 0;

	return slab_next(&r->w[0]->shard.conns, &pos);
}

static void start(struct rig *r, char *page)
{
	wsc_handler_fn *handler = big_page;
	const void *target;

	memset(page, 'x', PAGE);
	memcpy(&target, &handler, sizeof target);
	rig_init(r, 1);
	r->sndbuf = 4096;
	routes_add(&r->set.routes, "GET", "/big", &http_routes[ROUTE_PROGRAM], target, page);
	rig_start(r);
}

/* Passes over whole answers of /big; how many there were. */
static unsigned count_pages(struct inbox *in)
{
	unsigned n = 0;
	size_t at;

	for (;; n++) {
		at = in->pos;
		if (head_status(in) != 200 || in->len - in->pos < PAGE)
			break;
		in->pos += PAGE;
	}
	in->pos = at;
	return n;
}

/* Shows: threat 114 */
TEST(answers_that_are_not_read_do_not_pile_up)
{
	static const char get[] = "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n";
	static char page[PAGE], all[50 * sizeof get];
	struct inbox in = { 0 };
	struct rig r;
	struct conn *c;
	int fd;

	start(&r, page);
	fd = rig_dial(&r, 0);
	for (int i = 0; i < 50; i++)
		strcat(all, get);
	put_str(fd, all);
	rig_turn(&r, 100);
	c = only_conn(&r);
	CHECK(http_of(c)->out.len < 4 * PAGE);
	for (int i = 0; i < 2000 && count_pages(&in) < 50; i++) {
		in.pos = 0;
		take(&in, fd);
		rig_turn(&r, 1);
	}
	in.pos = 0;
	CHECK_EQ(count_pages(&in), 50);
	CHECK_EQ(in.pos, in.len);
	put_str(fd, get); /* and it goes on */
	for (int i = 0; i < 200; i++) {
		take(&in, fd);
		rig_turn(&r, 1);
	}
	CHECK_EQ(count_pages(&in), 1);
	inbox_free(&in);
	close(fd);
	rig_end(&r);
}

static void half_closed(const char *request, unsigned answers)
{
	static char page[PAGE];
	struct inbox in = { 0 };
	struct rig r;
	int fd;

	start(&r, page);
	fd = rig_dial(&r, 0);
	put_str(fd, request);
	shutdown(fd, SHUT_WR);
	rig_turn(&r, 5); /* the answer waits for the socket when the end is read */
	for (int i = 0; i < 200 && !in.end; i++) {
		take(&in, fd);
		rig_turn(&r, 1);
	}
	CHECK_EQ(count_pages(&in), answers);
	CHECK(in.end);
	inbox_free(&in);
	close(fd);
	rig_turn(&r, 2);
	CHECK_EQ(atomic_load(&r.set.shared.connections), 0);
	rig_end(&r);
}

/* Shows: threat 129 */
TEST(a_client_that_has_shut_its_side_gets_the_whole_answer_and_the_end)
{
	half_closed("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n", 1);
	half_closed("GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 1);
	half_closed("GET /big HTTP/1.0\r\n\r\n", 1);
	half_closed("GET /big HTTP/1.1\r\nHost: localhost\r\n\r\nGET /big HTTP/1.1\r\nHost: localhost\r\n\r\n", 2);
}

TEST(an_answer_that_still_waits_for_its_socket_ends_the_connection_when_the_server_stops)
{
	static char page[PAGE];
	struct inbox in = { 0 };
	struct rig r;
	int fd;
	bool on = true;

	start(&r, page);
	fd = rig_dial(&r, 0);
	put_str(fd, "GET /big HTTP/1.1\r\nHost: localhost\r\n\r\n");
	rig_turn(&r, 2);
	worker_stop(r.w[0], 10000);
	for (int i = 0; i < 1000 && on; i++) {
		on = worker_turn(r.w[0], 1);
		take(&in, fd);
		if (in.end)
			close(fd);
	}
	CHECK(!on);
	CHECK_EQ(count_pages(&in), 1);
	inbox_free(&in);
	rig_end(&r);
}

TEST(an_idle_kept_alive_connection_holds_no_request)
{
	struct inbox in = { 0 };
	struct rig r;
	struct conn *c;
	int fd;

	rig_init(&r, 1);
	rig_start(&r);
	fd = rig_dial(&r, 0);
	put_str(fd, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
	rig_turn(&r, 2);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 200);
	c = only_conn(&r);
	CHECK(!http_of(c)->in.at && !http_of(c)->next.at && !http_of(c)->out.at && !http_of(c)->body.at);
	inbox_free(&in);
	close(fd);
	rig_end(&r);
}

static void sets_fields(void *user, const struct wsc_request *request, struct wsc_response *response)
{
	(void)user, (void)request;
	CHECK_EQ(wsc_response_header(response, "X-Good", "yes"), 0);
	CHECK(wsc_response_header(response, "bad name", "x") < 0);
	CHECK(wsc_response_header(response, "", "x") < 0);
	CHECK(wsc_response_header(response, "Content-Length", "3") < 0);
	CHECK(wsc_response_header(response, "transfer-encoding", "chunked") < 0);
	CHECK(wsc_response_header(response, "Connection", "close") < 0);
	CHECK(wsc_response_header(response, "X", "a\nb") < 0);
	wsc_respond(response, 200, "text/plain\r\nX-Split: yes", "x", 1);
}

/* Shows: threat 80 */
TEST(a_handler_cannot_break_the_answer_it_gives)
{
	wsc_handler_fn *handler = sets_fields;
	struct inbox in = { 0 };
	const void *target;
	struct rig r;
	int fd;

	memcpy(&target, &handler, sizeof target);
	rig_init(&r, 1);
	routes_add(&r.set.routes, "GET", "/mine", &http_routes[ROUTE_PROGRAM], target, NULL);
	rig_start(&r);
	fd = rig_dial(&r, 0);
	put_str(fd, "GET /mine HTTP/1.1\r\nHost: localhost\r\n\r\n");
	rig_turn(&r, 2);
	take(&in, fd);
	CHECK_EQ(head_status(&in), 500);
	inbox_free(&in);
	close(fd);
	rig_end(&r);
}
