/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_tls: a loop turned by hand on one end of a socket, OpenSSL's own client on the other. Certificates are made anew
 * by the program and live in a directory that goes with it. Time is a number, so tickets age at once.
 */
/* Shows: tls.stream */
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <openssl/err.h>

#include "base/mem.h"
#include "net/tls.h"
#include "test.h"
#include "tls_fixture.h"

#define TURNS 100000

static int load(struct tls_server *server, const struct pair_of_files *f, size_t n, bool only_1_3,
		char why[static TLS_WHY_MAX])
{
	struct tls_files files[4];

	for (size_t i = 0; i < n; i++)
		files[i] = (struct tls_files){ f[i].certificate, f[i].key };
	return tls_server_load(server, &(struct tls_options){ files, n, only_1_3 }, why);
}

/* ---- both ends --------------------------------------------------------------------------------------------------------- */

struct end {
	struct stream s;
	struct world *w;
	uint8_t *got;
	size_t len, calls;
	unsigned ends, writables;
	int error, secured; /* the result of stream_secure() */
	bool pause_on_data, close_on_data, shut_on_data;
};

struct world {
	struct loop loop; /* first */
	struct tls_server *server;
	uint64_t now_ms;
};

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static void on_data(struct stream *s, uint8_t *data, size_t len)
{
	struct end *e = container_of(s, struct end, s);

	if (!stream_is_secure(s)) {
		e->secured = stream_secure(s, e->w->server, e->w->now_ms, bytes_of(data, len));
		if (e->secured < 0)
			stream_close(s);
		return;
	}
	e->got = realloc(e->got, e->len + len);
	memcpy(e->got + e->len, data, len);
	e->len += len;
	e->calls++;
	if (e->pause_on_data)
		stream_pause(s);
	if (e->shut_on_data)
		stream_shutdown(s);
	if (e->close_on_data)
		stream_close(s);
}

static void on_end(struct stream *s, int error)
{
	struct end *e = container_of(s, struct end, s);

	e->ends++;
	e->error = error;
}

static void on_writable(struct stream *s)
{
	container_of(s, struct end, s)->writables++;
}

static void on_accept(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len)
{
	(void)l, (void)from, (void)fd, (void)peer, (void)peer_len;
}

static void on_accept_error(struct loop *l, int error)
{
	(void)l, (void)error;
}

static bool no(struct loop *l)
{
	(void)l;
	return false;
}

static const struct loop_ops ops = { on_data, on_end, on_writable, on_accept, on_accept_error, no, no, NULL };

static void begin(struct world *w, uint32_t chop)
{
	struct pair_of_files f;
	char why[TLS_WHY_MAX] = "";

	make_files(&f, "usual", "localhost", "DNS:localhost");
	*w = (struct world){ .server = tls_server_new(10000), .now_ms = 100000 };
	CHECK_EQ(load(w->server, &f, 1, false, why), 0);
	CHECK_BYTES(bytes_str(why), "");
	CHECK_EQ(loop_init(&w->loop, &ops, false), 0);
	w->loop.chop = chop;
}

static void finish(struct world *w)
{
	loop_deinit(&w->loop);
	tls_server_free(w->server);
}

/* A connected pair: a stream on the loop, a client on the other end. @small: a socket that is soon full. */
static void join(struct world *w, struct end *e, struct client *c, int family, bool small)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof at;
	int fd[2], listener, tiny = 4096;

	*e = (struct end){ .w = w };
	if (family == AF_UNIX) {
		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) < 0)
			abort();
	} else {
		listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(listener, (struct sockaddr *)&at, len) < 0 || listen(listener, 1) < 0 ||
		    getsockname(listener, (struct sockaddr *)&at, &len) < 0)
			abort();
		fd[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(fd[1], (struct sockaddr *)&at, len) < 0)
			abort();
		fd[0] = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		close(listener);
	}
	if (small)
		setsockopt(fd[0], SOL_SOCKET, SO_SNDBUF, &tiny, sizeof tiny);
	CHECK_EQ(stream_open(&w->loop, &e->s, fd[0]), 0);
	*c = (struct client){ .fd = fd[1] };
}

/* The client's TLS; its socket must not block. */
static void dress(struct client *c, int low, int high)
{
	struct timeval a_little = { 0, 1000 };

	setsockopt(c->fd, SOL_SOCKET, SO_RCVTIMEO, &a_little, sizeof a_little);
	c->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(c->ctx, low);
	SSL_CTX_set_max_proto_version(c->ctx, high);
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_connect_state(c->ssl);
}

static void turn(struct world *w)
{
	CHECK_EQ(loop_wait(&w->loop, 0), 0);
	loop_read(&w->loop);
}

/* 1: the handshake is over on both sides. Else the result of SSL_get_error(). */
static int shake(struct world *w, struct client *c)
{
	for (int i = 0; i < TURNS; i++) {
		int r, why;

		ERR_clear_error();
		r = SSL_do_handshake(c->ssl);
		why = r == 1 ? 0 : SSL_get_error(c->ssl, r);
		turn(w);
		if (r == 1) {
			for (int k = 0; k < 4 || loop_unfinished(&w->loop); k++)
				turn(w);
			return 1;
		}
		if (why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
			return -why;
	}
	return 0;
}

/* Everything up to @want bytes, the server's loop turning meanwhile. */
static size_t client_read(struct world *w, struct client *c, uint8_t *to, size_t want)
{
	size_t got = 0, n;

	for (int i = 0; i < TURNS && got < want; i++) {
		ERR_clear_error();
		if (SSL_read_ex(c->ssl, to + got, want - got, &n))
			got += n;
		else if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_READ)
			break;
		turn(w);
	}
	return got;
}

static void client_write(struct world *w, struct client *c, const void *from, size_t len)
{
	size_t sent = 0, n;

	for (int i = 0; i < TURNS && sent < len; i++) {
		ERR_clear_error();
		if (SSL_write_ex(c->ssl, (const uint8_t *)from + sent, len - sent < 9000 ? len - sent : 9000, &n))
			sent += n;
		turn(w);
	}
	CHECK_EQ(sent, len);
}

static ptrdiff_t say(struct end *e, const void *at, size_t len)
{
	struct iovec iov = { (void *)(uintptr_t)at, len };

	return stream_send(&e->s, &iov, 1);
}

static void settle(struct world *w)
{
	for (int i = 0; i < 4 || (loop_unfinished(&w->loop) && i < TURNS); i++)
		turn(w);
}

static void drop(struct end *e, struct client *c)
{
	stream_close(&e->s);
	free(e->got);
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	if (c->fd >= 0)
		close(c->fd);
}

static void meet(struct world *w, struct end *e, struct client *c, int version, bool small)
{
	join(w, e, c, AF_UNIX, small);
	dress(c, version, version);
	CHECK_EQ(shake(w, c), 1);
	CHECK_EQ(e->secured, 0);
	CHECK_EQ(e->ends, 0);
}

/* A world with one pair in it that has met, and its end. */
static void begin_met(struct world *w, struct end *e, struct client *c, int version, bool small)
{
	begin(w, 0);
	meet(w, e, c, version, small);
}

static void finish_both(struct world *w, struct end *e, struct client *c)
{
	drop(e, c);
	finish(w);
}

static void fill(uint8_t *at, size_t n)
{
	for (size_t i = 0; i < n; i++)
		at[i] = (uint8_t)(i * 7 + i / 251);
}

static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };

/* ---- bytes ---------------------------------------------------------------------------------------------------------------- */

TEST(bytes_arrive_on_the_other_side_in_both_versions)
{
	for (int i = 0; i < 2; i++) {
		struct world w;
		struct end e;
		struct client c;
		uint8_t back[5];

		begin_met(&w, &e, &c, versions[i], false);
		client_write(&w, &c, "hello", 5);
		settle(&w);
		CHECK_BYTES(bytes_of(e.got, e.len), "hello");
		CHECK_EQ(say(&e, "there", 5), 5);
		CHECK(!stream_holds(&e.s));
		CHECK_EQ(client_read(&w, &c, back, 5), 5);
		CHECK_BYTES(bytes_of(back, 5), "there");
		finish_both(&w, &e, &c);
	}
}

TEST(every_record_may_be_read_and_written_byte_by_byte)
{
	static uint8_t out[20000], back[20000];

	fill(out, sizeof out);
	for (int i = 0; i < 2; i++) {
		struct world w;
		struct end e;
		struct client c;

		begin(&w, 1);
		meet(&w, &e, &c, versions[i], false);
		client_write(&w, &c, out, sizeof out);
		for (int k = 0; k < TURNS && e.len < sizeof out; k++)
			turn(&w);
		CHECK_EQ(e.len, sizeof out);
		CHECK(memcmp(e.got, out, e.len) == 0);
		for (size_t sent = 0, got = 0; sent < sizeof out;) {
			ptrdiff_t n = say(&e, out + sent, sizeof out - sent);

			if (!CHECK(n > 0))
				break;
			sent += (size_t)n;
			got += client_read(&w, &c, back + got, sent - got); /* so many small segments fill a socket */
			CHECK_EQ(got, sent);
		}
		CHECK(memcmp(back, out, sizeof out) == 0);
		finish_both(&w, &e, &c);
	}
}

TEST(all_that_one_recv_brings_is_one_call)
{
	static uint8_t out[100];
	struct world w;
	struct end e;
	struct client c;
	size_t calls;
	uint64_t recvs;

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	calls = e.calls;
	recvs = w.loop.n_recv;
	for (int i = 0; i < 50; i++)
		CHECK_EQ(SSL_write(c.ssl, out, sizeof out), sizeof out);
	turn(&w);
	CHECK_EQ(e.len, 50 * sizeof out);
	CHECK_EQ(e.calls - calls, 1);
	CHECK_EQ(w.loop.n_recv - recvs, 1);
	finish_both(&w, &e, &c);
}

TEST(several_segments_are_one_record_and_a_small_message_is_a_small_record)
{
	struct world w;
	struct end e;
	struct client c;
	uint8_t back[64];
	struct iovec three[] = { { "one", 3 }, { "", 0 }, { "two", 3 } };
	uint64_t sends;
	size_t n = 0;

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	sends = w.loop.n_send;
	CHECK_EQ(stream_send(&e.s, three, 3), 6);
	CHECK_EQ(w.loop.n_send - sends, 1);
	CHECK_EQ(recv(c.fd, back, sizeof back, MSG_PEEK) > 0, 1);
	while (!SSL_read_ex(c.ssl, back, sizeof back, &n))
		; /* the tickets come first */
	CHECK_BYTES(bytes_of(back, n), "onetwo");
	CHECK_EQ(say(&e, "x", 1), 1);
	CHECK(recv(c.fd, back, sizeof back, MSG_PEEK | MSG_DONTWAIT) <= 5 + 1 + 1 + 16);
	CHECK_EQ(stream_send(&e.s, three, 0), 0);
	finish_both(&w, &e, &c);
}

TEST(nothing_is_taken_while_ciphertext_waits_and_all_of_it_arrives)
{
	static uint8_t out[300000], back[300000];

	fill(out, sizeof out);
	for (int i = 0; i < 2; i++) {
		struct world w;
		struct end e;
		struct client c;
		size_t sent = 0, got = 0, n;
		unsigned held = 0;

		begin_met(&w, &e, &c, versions[i], true);
		for (int k = 0; k < TURNS && got < sizeof out; k++) {
			if (sent < sizeof out) {
				struct iovec two[] = { { out + sent, (sizeof out - sent) / 3 },
						       { out + sent + (sizeof out - sent) / 3,
							 sizeof out - sent - (sizeof out - sent) / 3 } };
				ptrdiff_t r = stream_send(&e.s, two, 2);

				CHECK(r >= 0);
				sent += (size_t)r;
				if (stream_holds(&e.s)) {
					CHECK(stream_blocked(&e.s));
					CHECK_EQ(say(&e, out, 10), 0); /* full is full */
					held++;
				}
			}
			ERR_clear_error();
			if (SSL_read_ex(c.ssl, back + got, 1 + (size_t)k % 7000, &n))
				got += n;
			turn(&w);
		}
		CHECK_EQ(got, sizeof out);
		CHECK(held > 0);
		CHECK(e.writables > 0);
		CHECK(memcmp(back, out, sizeof out) == 0);
		finish_both(&w, &e, &c);
	}
}

TEST(a_key_update_of_the_peer_is_followed_and_answered)
{
	struct world w;
	struct end e;
	struct client c;
	uint8_t back[5];

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	for (int i = 0; i < 3; i++) {
		CHECK_EQ(SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED), 1);
		client_write(&w, &c, "hello", 5);
		settle(&w);
		CHECK_EQ(say(&e, "there", 5), 5);
		CHECK_EQ(client_read(&w, &c, back, 5), 5);
	}
	CHECK_EQ(e.len, 15);
	CHECK_EQ(e.ends, 0);
	finish_both(&w, &e, &c);
}

/* 27 bytes each, and each costs as much as a dozen records. */
/* Shows: threat 136 */
TEST(a_peer_that_does_nothing_but_update_its_keys_is_given_up)
{
	struct world w;
	struct end e;
	struct client c;

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(SSL_key_update(c.ssl, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
		CHECK_EQ(SSL_do_handshake(c.ssl), 1);
	}
	settle(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, EPROTO);
	CHECK(stream_tls_fault(&e.s)[0] != 0);
	finish_both(&w, &e, &c);
}

TEST(a_peer_that_makes_us_answer_and_does_not_read_is_given_up)
{
	static uint8_t out[100000];
	struct world w;
	struct end e;
	struct client c;

	begin_met(&w, &e, &c, TLS1_3_VERSION, true);
	while (!stream_holds(&e.s))
		CHECK(say(&e, out, sizeof out) >= 0);
	for (int i = 0; i < TURNS && !e.ends; i++) {
		ERR_clear_error();
		(void)SSL_key_update(c.ssl, SSL_KEY_UPDATE_REQUESTED);
		(void)SSL_write(c.ssl, "x", 1);
		turn(&w);
	}
	CHECK_EQ(e.ends, 1);
	CHECK(e.error != 0);
	CHECK(stream_tls_fault(&e.s)[0] != 0);
	CHECK(say(&e, "x", 1) < 0);
	finish_both(&w, &e, &c);
}

/* ---- the end ------------------------------------------------------------------------------------------------------------ */

TEST(close_notify_is_sent_behind_waiting_output_and_the_end_behind_it)
{
	static uint8_t out[50000], back[60000];

	fill(out, sizeof out);
	for (int i = 0; i < 2; i++) {
		struct world w;
		struct end e;
		struct client c;
		ptrdiff_t taken;
		uint8_t rest;

		begin_met(&w, &e, &c, versions[i], true);
		taken = say(&e, out, sizeof out);
		CHECK(taken > 0);
		CHECK(stream_holds(&e.s));
		stream_shutdown(&e.s);
		CHECK(stream_holds(&e.s));
		CHECK(say(&e, "x", 1) < 0);
		CHECK_EQ(client_read(&w, &c, back, sizeof back), taken);
		CHECK(memcmp(back, out, (size_t)taken) == 0);
		CHECK_EQ(SSL_get_shutdown(c.ssl), SSL_RECEIVED_SHUTDOWN);
		CHECK(!stream_holds(&e.s));
		turn(&w);
		CHECK_EQ(recv(c.fd, &rest, 1, 0), 0);
		/* Our side is shut, the other still speaks. */
		client_write(&w, &c, "more", 4);
		settle(&w);
		CHECK_BYTES(bytes_of(e.got, e.len), "more");
		finish_both(&w, &e, &c);
	}
}

TEST(a_handshake_that_our_end_has_cut_short_does_not_continue)
{
	for (int i = 0; i < 2; i++) {
		struct world w;
		struct end e;
		struct client c;

		begin(&w, 0);
		join(&w, &e, &c, AF_UNIX, false);
		dress(&c, versions[i], versions[i]);
		CHECK(SSL_do_handshake(c.ssl) < 0);
		settle(&w);
		CHECK(stream_is_secure(&e.s));
		stream_shutdown(&e.s);
		/* The client's next bytes would be answered with a ticket. */
		(void)SSL_do_handshake(c.ssl);
		settle(&w);
		CHECK_EQ(e.ends, 1);
		CHECK_EQ(e.error, 0);
		drop(&e, &c);
		finish(&w);
	}
}

TEST(a_closed_stream_sends_close_notify)
{
	struct world w;
	struct end e;
	struct client c;
	uint8_t back[8];

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	stream_close(&e.s);
	CHECK_EQ(client_read(&w, &c, back, sizeof back), 0);
	CHECK_EQ(SSL_get_shutdown(c.ssl), SSL_RECEIVED_SHUTDOWN);
	finish_both(&w, &e, &c);
}

TEST(the_peers_close_notify_is_the_end_and_so_is_a_socket_that_ends_without_one)
{
	struct world w;
	struct end e;
	struct client c;
	uint8_t back[5];

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	client_write(&w, &c, "hello", 5);
	SSL_shutdown(c.ssl);
	settle(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, 0);
	CHECK_EQ(e.len, 5);
	CHECK_EQ(say(&e, "there", 5), 5); /* it may still be answered */
	CHECK_EQ(client_read(&w, &c, back, 5), 5);
	drop(&e, &c);
	meet(&w, &e, &c, TLS1_3_VERSION, false);
	shutdown(c.fd, SHUT_WR);
	settle(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, 0);
	finish_both(&w, &e, &c);
}

TEST(a_paused_stream_reports_the_end_when_it_is_resumed)
{
	struct world w;
	struct end e;
	struct client c;

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	e.pause_on_data = true;
	CHECK_EQ(SSL_write(c.ssl, "hello", 5), 5);
	SSL_shutdown(c.ssl);
	settle(&w);
	CHECK_EQ(e.len, 5);
	CHECK_EQ(e.ends, 0);
	stream_resume(&e.s);
	settle(&w);
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, 0);
	finish_both(&w, &e, &c);
}

TEST(a_stream_may_be_closed_or_shut_from_inside_a_callback)
{
	for (int close_it = 0; close_it < 2; close_it++) {
		struct world w;
		struct end e;
		struct client c;
		uint8_t back[8];

		begin_met(&w, &e, &c, TLS1_3_VERSION, false);
		e.close_on_data = close_it;
		e.shut_on_data = !close_it;
		CHECK_EQ(SSL_write(c.ssl, "one", 3), 3);
		CHECK_EQ(SSL_write(c.ssl, "two", 3), 3);
		SSL_shutdown(c.ssl);
		settle(&w);
		CHECK_BYTES(bytes_of(e.got, e.len), "onetwo");
		CHECK_EQ(e.ends, close_it ? 0 : 1);
		CHECK_EQ(client_read(&w, &c, back, sizeof back), 0);
		CHECK(SSL_get_shutdown(c.ssl) & SSL_RECEIVED_SHUTDOWN);
		finish_both(&w, &e, &c);
	}
}

/*
 * 0: before the first byte, 1: within the handshake, 2: idle, 3: within a record, 4: while we write, 5: while we send
 * close_notify.
 */
static void reset_at(int state, int version)
{
	static uint8_t out[200000];
	struct linger now = { 1, 0 };
	struct world w;
	struct end e;
	struct client c;

	begin(&w, 0);
	join(&w, &e, &c, AF_INET, true);
	dress(&c, version, version);
	if (state >= 2)
		CHECK_EQ(shake(&w, &c), 1);
	else if (state == 1)
		(void)SSL_do_handshake(c.ssl);
	if (state == 1)
		settle(&w);
	if (state == 3)
		CHECK_EQ(send(c.fd, "\x17\x03\x03\x00\x40half", 9, 0), 9);
	if (state >= 4)
		while (!stream_holds(&e.s))
			CHECK(say(&e, out, sizeof out) > 0);
	if (state == 5)
		stream_shutdown(&e.s);
	setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
	close(c.fd);
	c.fd = -1;
	for (int i = 0; i < TURNS && !e.ends && stream_is_open(&e.s); i++) {
		(void)loop_wait(&w.loop, 10);
		loop_read(&w.loop);
		if (state == 2)
			(void)say(&e, "x", 1);
	}
	CHECK_EQ(e.ends, 1);
	finish_both(&w, &e, &c);
}

/* Shows: threat 131 */
TEST(a_reset_in_any_state_is_an_end_and_no_signal)
{
	for (int i = 0; i < 2; i++)
		for (int state = 0; state <= 5; state++)
			reset_at(state, versions[i]);
}

/* ---- a crowd ---------------------------------------------------------------------------------------------------------------- */

TEST(a_crowd_of_handshakes_takes_several_turns)
{
	enum { CROWD = 100 };
	static struct end e[CROWD];
	static struct client c[CROWD];
	struct world w;
	unsigned begun = 0;

	begin(&w, 0);
	for (int i = 0; i < CROWD; i++) {
		join(&w, &e[i], &c[i], AF_UNIX, false);
		dress(&c[i], TLS1_3_VERSION, TLS1_3_VERSION);
		e[i].secured = 1;
		CHECK(SSL_do_handshake(c[i].ssl) < 0);
	}
	turn(&w);
	for (int i = 0; i < CROWD; i++)
		begun += e[i].secured == 0;
	CHECK(begun >= 16 && begun <= 48); /* a megabyte's worth */
	CHECK(loop_unfinished(&w.loop));
	for (int i = 0; i < CROWD / 16; i++)
		turn(&w);
	for (int i = 0; i < CROWD; i++) {
		CHECK_EQ(e[i].secured, 0);
		CHECK_EQ(shake(&w, &c[i]), 1);
		drop(&e[i], &c[i]);
	}
	CHECK_EQ(w.loop.tls_ok, CROWD);
	CHECK_EQ(w.loop.tls_failed, 0);
	finish(&w);
}

/* The signature has been made when the record behind the greeting turns out to be none. */
/* Shows: threat 136 */
TEST(a_crowd_of_handshakes_that_fail_takes_as_many_turns)
{
	enum { CROWD = 100 };
	static const uint8_t forged[5 + 32] = { 0x17, 3, 3, 0, 32, 1, 2, 3 };
	static struct end e[CROWD];
	static struct client c[CROWD];
	struct world w;
	unsigned failed = 0;

	begin(&w, 0);
	for (int i = 0; i < CROWD; i++) {
		join(&w, &e[i], &c[i], AF_UNIX, false);
		dress(&c[i], TLS1_3_VERSION, TLS1_3_VERSION);
		CHECK(SSL_do_handshake(c[i].ssl) < 0);
		CHECK_EQ(write(c[i].fd, forged, sizeof forged), sizeof forged);
	}
	turn(&w);
	for (int i = 0; i < CROWD; i++)
		failed += e[i].secured < 0;
	CHECK(failed >= 16 && failed <= 48);
	CHECK(loop_unfinished(&w.loop));
	for (int i = 0; i < CROWD / 16; i++)
		turn(&w);
	for (int i = 0; i < CROWD; i++) {
		CHECK(e[i].secured < 0);
		drop(&e[i], &c[i]);
	}
	CHECK_EQ(w.loop.tls_ok, 0);
	CHECK_EQ(w.loop.tls_failed, CROWD);
	finish(&w);
}

/* ---- refusals ----------------------------------------------------------------------------------------------------------- */

/* Shows: threat 139 */
TEST(input_that_is_no_tls_ends_at_once_and_malformed_tls_gets_an_alert)
{
	static const char *const wrong[] = { "\x16garbage of no sort at all", "\x16\x03\x01\x00\x05hello",
					     "\x16\x03\x01\xff\xffhello", "\x16\x02\x00\x00\x05hello" };

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		size_t len = i == 0 ? 26 : 10;
		struct world w;
		struct end e;
		struct client c;
		uint8_t back[7] = { 0 };

		begin(&w, 0);
		join(&w, &e, &c, AF_UNIX, false);
		CHECK_EQ(write(c.fd, wrong[i], len), len);
		settle(&w);
		CHECK_EQ(e.secured, -EPROTO);
		CHECK(!stream_is_open(&e.s));
		CHECK_EQ(read(c.fd, back, sizeof back), i % 3 ? 7 : 0);
		CHECK_EQ(back[0], i % 3 ? 21 : 0); /* RFC 8446 §6: an alert, and a fatal one */
		CHECK_EQ(back[5], i % 3 ? 2 : 0);
		finish_both(&w, &e, &c);
	}
}

TEST(the_first_record_is_waited_for_as_long_as_its_bytes_may_be_tls)
{
	static const struct {
		const char *at;
		size_t len;
		bool whole;
	} cases[] = { { "\x16", 1, false },
		      { "\x16\x03", 2, false },
		      { "\x16G", 2, true },
		      { "\x16\x03\x01\x00", 4, false },
		      { "\x16\x03\x01\x00\x02", 5, false },
		      { "\x16\x03\x01\x00\x02x", 6, false },
		      { "\x16\x03\x01\x00\x02xy", 7, true },
		      { "\x16\x03\x01\x00\x02xyz", 8, true },
		      { "\x16\x03\x01\x00\x00", 5, true },
		      { "\x16\x03\x01\x40\x00x", 6, false },
		      { "\x16\x03\x01\x40\x01x", 6, true } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		CHECK_EQ(tls_first_whole(bytes_of(cases[i].at, cases[i].len)), cases[i].whole);
}

/* Shows: threat 139 */
TEST(a_record_that_was_tampered_with_ends_the_stream)
{
	struct world w;
	struct end e;
	struct client c;
	static const uint8_t forged[5 + 32] = { 0x17, 3, 3, 0, 32, 1, 2, 3 };

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	CHECK_EQ(SSL_write(c.ssl, "good", 4), 4);
	CHECK_EQ(write(c.fd, forged, sizeof forged), sizeof forged);
	settle(&w);
	CHECK_BYTES(bytes_of(e.got, e.len), "good"); /* the bytes before the fault still count */
	CHECK_EQ(e.ends, 1);
	CHECK_EQ(e.error, EPROTO);
	CHECK(stream_tls_fault(&e.s)[0] != 0);
	finish_both(&w, &e, &c);
}

/* The thread may be the host program's, and its own TLS looks there (SSL_get_error(3)). */
/* Shows: threat 139 */
TEST(the_fault_of_a_peer_is_not_left_in_the_error_queue)
{
	static const uint8_t forged[5 + 32] = { 0x17, 3, 3, 0, 32, 1, 2, 3 };
	struct world w;
	struct end e;
	struct client c;

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	CHECK_EQ(write(c.fd, forged, sizeof forged), sizeof forged);
	ERR_clear_error();
	settle(&w);
	CHECK_EQ(e.error, EPROTO);
	CHECK_EQ(ERR_peek_error(), 0);
	drop(&e, &c);
	join(&w, &e, &c, AF_UNIX, false);
	CHECK_EQ(write(c.fd, "\x16\x03\x01\x00\x05hello", 10), 10);
	settle(&w);
	CHECK_EQ(e.secured, -EPROTO);
	CHECK_EQ(ERR_peek_error(), 0);
	finish_both(&w, &e, &c);
}

/* Shows: threat 136, hardening.tls-features */
TEST(a_client_cannot_negotiate_anew)
{
	struct world w;
	struct end e;
	struct client c;

	begin_met(&w, &e, &c, TLS1_2_VERSION, false);
	CHECK_EQ(SSL_renegotiate(c.ssl), 1);
	CHECK(shake(&w, &c) != 1);
	CHECK_EQ(e.len, 0);
	finish_both(&w, &e, &c);
}

/* Shows: hardening.tls-versions */
TEST(only_allowed_versions_are_spoken)
{
	for (int only_1_3 = 0; only_1_3 < 2; only_1_3++)
		for (int version = TLS1_VERSION; version <= TLS1_3_VERSION; version++) {
			struct pair_of_files f;
			char why[TLS_WHY_MAX];
			struct world w;
			struct end e;
			struct client c;
			bool good = version >= (only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION);

			begin(&w, 0);
			make_files(&f, "usual", "localhost", NULL);
			CHECK_EQ(load(w.server, &f, 1, only_1_3, why), 0);
			join(&w, &e, &c, AF_UNIX, false);
			dress(&c, version, version);
			SSL_set_security_level(c.ssl, 0);
			SSL_set_cipher_list(c.ssl, "ALL:@SECLEVEL=0");
			CHECK_EQ(shake(&w, &c) == 1, good);
			CHECK_EQ(e.secured == 0, good);
			finish_both(&w, &e, &c);
		}
}

/* Shows: hardening.tls-ciphers */
TEST(weak_ciphers_find_no_partner)
{
	static const char *const weak[] = { "AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES256-SHA",
					    "DHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-NULL-SHA" };

	for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++) {
		struct world w;
		struct end e;
		struct client c;

		begin(&w, 0);
		join(&w, &e, &c, AF_UNIX, false);
		dress(&c, TLS1_2_VERSION, TLS1_2_VERSION);
		SSL_set_security_level(c.ssl, 0);
		CHECK_EQ(SSL_set_cipher_list(c.ssl, weak[i]), 1);
		CHECK(shake(&w, &c) != 1);
		finish_both(&w, &e, &c);
	}
}

/* Shows: hardening.tls-alpn */
TEST(http_1_1_is_agreed_to_and_a_client_that_offers_only_other_protocols_gets_an_alert)
{
	static const struct {
		const char *offer;
		bool good;
	} cases[] = {
		{ "\x08http/1.1", true }, { "\x02h2\x08http/1.1", true }, { "\x02h2", false }, { "\x08http/1.0", false }
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct world w;
		struct end e;
		struct client c;
		const uint8_t *chosen;
		unsigned len;

		begin(&w, 0);
		join(&w, &e, &c, AF_UNIX, false);
		dress(&c, TLS1_2_VERSION, TLS1_3_VERSION);
		SSL_set_alpn_protos(c.ssl, (const uint8_t *)cases[i].offer, (unsigned)strlen(cases[i].offer));
		if (cases[i].good) {
			CHECK_EQ(shake(&w, &c), 1);
			SSL_get0_alpn_selected(c.ssl, &chosen, &len);
			CHECK_BYTES(bytes_of(chosen, len), "http/1.1");
		} else {
			CHECK(shake(&w, &c) < 0);
			CHECK_EQ(ERR_GET_REASON(ERR_peek_last_error()), SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL);
		}
		finish_both(&w, &e, &c);
	}
}

/* ---- certificates and tickets ------------------------------------------------------------------------------------------- */

/* The common name of the certificate for a client that asks for @name (NULL: for none); "" without a handshake. */
static void name_for(struct world *w, const char *name, char out[64])
{
	struct end e;
	struct client c;
	X509 *x;

	out[0] = 0;
	join(w, &e, &c, AF_UNIX, false);
	dress(&c, TLS1_2_VERSION, TLS1_3_VERSION);
	if (name)
		SSL_set_tlsext_host_name(c.ssl, name);
	if (shake(w, &c) == 1 && (x = SSL_get1_peer_certificate(c.ssl))) {
		X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, out, 64);
		X509_free(x);
	}
	drop(&e, &c);
}

TEST(the_requested_name_chooses_the_certificate_and_the_first_is_for_all_others)
{
	static const char *const want[][2] = {
		{ NULL, "first" },
		{ "elsewhere.example", "first" },
		{ "a.example", "second" },
		{ "A.Example", "second" },
		{ "b.example", "second" },
		{ "x.wild.example", "third" },
		{ "x.y.wild.example", "first" },
		{ "wild.example", "first" },
		{ "plain.example", "plain.example" },
	};
	struct pair_of_files f[4];
	char why[TLS_WHY_MAX], got[64];
	struct world w;

	begin(&w, 0);
	make_files(&f[0], "first", "first", "DNS:first");
	make_files(&f[1], "second", "second", "DNS:a.example,DNS:b.example");
	make_files(&f[2], "third", "third", "DNS:*.wild.example");
	make_files(&f[3], "plain", "plain.example", NULL);
	CHECK_EQ(load(w.server, f, 4, false, why), 0);
	for (size_t i = 0; i < sizeof want / sizeof want[0]; i++) {
		name_for(&w, want[i][0], got);
		test_check_bytes(bytes_str(got), bytes_str(want[i][1]), __FILE__, __LINE__,
				 want[i][0] ? want[i][0] : "no name");
	}
	finish(&w);
}

static void told(void *user, const struct tls_certificate *c)
{
	char *out = user;
	size_t n = strlen(out);

	CHECK(c->not_after - c->not_before == 86460);
	CHECK(strncmp(c->file, scratch(), strlen(scratch())) == 0);
	snprintf(out + n, 256 - n, "[%s]", c->names);
}

TEST(every_certificate_is_listed_and_unsafe_names_are_left_out)
{
	struct pair_of_files f[3];
	char why[TLS_WHY_MAX], got[256] = "";
	struct world w;

	begin(&w, 0);
	make_files(&f[0], "first", "unused", "DNS:a.example,DNS:*.b.example,IP:127.0.0.1");
	make_files(&f[1], "second", "only.common", NULL);
	make_files(&f[2], "third", "two words", NULL);
	CHECK_EQ(load(w.server, f, 3, false, why), 0);
	tls_server_tell(w.server, told, got);
	CHECK_BYTES(bytes_str(got), "[a.example, *.b.example][only.common][]");
	finish(&w);
}

/* Connects with @session (NULL: none), and leaves the newest ticket there. 1: it was resumed, 0: it was not. */
static int visit(struct world *w, int version, SSL_SESSION **session)
{
	struct end e;
	struct client c;
	uint8_t back;
	int resumed;

	join(w, &e, &c, AF_UNIX, false);
	dress(&c, version, version);
	SSL_set_tlsext_host_name(c.ssl, "localhost");
	if (*session)
		CHECK_EQ(SSL_set_session(c.ssl, *session), 1);
	SSL_SESSION_free(*session);
	CHECK_EQ(shake(w, &c), 1);
	CHECK_EQ(say(&e, "x", 1), 1);
	CHECK_EQ(client_read(w, &c, &back, 1), 1); /* and with it the ticket in 1.3 */
	resumed = SSL_session_reused(c.ssl);
	*session = SSL_get1_session(c.ssl);
	SSL_shutdown(c.ssl);
	drop(&e, &c);
	return resumed;
}

TEST(a_ticket_resumes_a_session_on_another_connection)
{
	for (int i = 0; i < 2; i++) {
		SSL_SESSION *session = NULL;
		struct world w;

		begin(&w, 0);
		CHECK_EQ(visit(&w, versions[i], &session), 0);
		CHECK(SSL_SESSION_has_ticket(session));
		for (int k = 0; k < 3; k++)
			CHECK_EQ(visit(&w, versions[i], &session), 1);
		SSL_SESSION_free(session);
		finish(&w);
	}
}

/* The key's name, the first 16 bytes of a ticket. */
static struct bytes key_name(SSL_SESSION *session)
{
	const uint8_t *at;
	size_t len;

	SSL_SESSION_get0_ticket(session, &at, &len);
	return bytes_of(at, len < 16 ? len : 16);
}

/* Shows: threat 138, hardening.rotation, hardening.tls-tickets */
TEST(a_ticket_outlives_one_rotation_of_the_keys_but_not_two_and_is_renewed_meanwhile)
{
	for (int i = 0; i < 2; i++) {
		SSL_SESSION *session = NULL, *old;
		struct world w;
		uint8_t first[16];

		begin(&w, 0);
		CHECK_EQ(visit(&w, versions[i], &session), 0);
		memcpy(first, key_name(session).at, 16);
		old = SSL_SESSION_dup(session);
		w.now_ms += 10000;
		CHECK_EQ(visit(&w, versions[i], &session), 1);
		CHECK(memcmp(first, key_name(session).at, 16) != 0);
		w.now_ms += 10000;
		CHECK_EQ(visit(&w, versions[i], &session), 1); /* the renewed one goes on */
		CHECK_EQ(visit(&w, versions[i], &old), 0);
		SSL_SESSION_free(old);
		SSL_SESSION_free(session);
		finish(&w);
	}
}

TEST(after_two_rotations_without_a_client_no_old_ticket_is_good)
{
	SSL_SESSION *session = NULL;
	struct world w;

	begin(&w, 0);
	CHECK_EQ(visit(&w, TLS1_3_VERSION, &session), 0);
	w.now_ms += 25000;
	CHECK_EQ(visit(&w, TLS1_3_VERSION, &session), 0);
	CHECK_EQ(visit(&w, TLS1_3_VERSION, &session), 1);
	SSL_SESSION_free(session);
	finish(&w);
}

TEST(after_a_reload_new_connections_get_the_new_certificate_old_ones_continue_and_tickets_stay_good)
{
	struct pair_of_files f;
	SSL_SESSION *session = NULL;
	char why[TLS_WHY_MAX], got[64];
	struct world w;
	struct end e;
	struct client c;
	uint8_t back[5];

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	CHECK_EQ(visit(&w, TLS1_3_VERSION, &session), 0);
	for (int i = 0; i < 5; i++) {
		make_files(&f, "usual", "renewed", "DNS:localhost");
		CHECK_EQ(load(w.server, &f, 1, false, why), 0);
	}
	name_for(&w, "localhost", got);
	CHECK_BYTES(bytes_str(got), "renewed");
	CHECK_EQ(visit(&w, TLS1_3_VERSION, &session), 1);
	client_write(&w, &c, "hello", 5);
	settle(&w);
	CHECK_EQ(e.len, 5);
	CHECK_EQ(say(&e, "there", 5), 5);
	CHECK_EQ(client_read(&w, &c, back, 5), 5);
	SSL_SESSION_free(session);
	finish_both(&w, &e, &c);
}

static void write_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	fputs(text, f);
	fclose(f);
}

static void lock_key(const char *path)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	FILE *f = fopen(path, "w");

	PEM_write_PrivateKey(f, key, EVP_aes_256_cbc(), (const unsigned char *)"secret", 6, NULL, NULL);
	fclose(f);
	EVP_PKEY_free(key);
}

/* @pattern with the scratch directory in place of each @. */
static void expand(char out[static TLS_WHY_MAX], const char *pattern)
{
	size_t n = 0;

	out[0] = 0;
	for (; *pattern && n + 64 < TLS_WHY_MAX; pattern++) {
		if (*pattern == '@')
			n += (size_t)snprintf(out + n, TLS_WHY_MAX - n, "%s", scratch());
		else
			n += (size_t)snprintf(out + n, TLS_WHY_MAX - n, "%c", *pattern);
	}
}

/* Shows: threat 97 */
TEST(files_that_do_not_fit_are_named_and_the_former_certificates_stay)
{
	static const char *const want[] = {
		"tls.certificate: @/none.pem cannot be read: No such file or directory",
		"tls.key: @/none.key cannot be read: No such file or directory",
		"tls.certificate: @/text is not a usable certificate (PEM): the file contains none, or none of a known type",
		"tls.key: @/text is not a usable private key (PEM): the file contains none, or none of a known type",
		"tls.key: @/locked is encrypted with a passphrase; make a copy without one: openssl pkey -in ",
		"tls.key: @/second.key is not the key of the certificate @/first.pem; give both in the same order",
		"tls.certificate: @/first.key is not a usable certificate (PEM): the file contains none, or none of a known type",
		"tls.certificate: @/directory is not a usable certificate (PEM): ",
	};
	struct pair_of_files good[2], bad[8];
	char why[TLS_WHY_MAX], text[TLS_WHY_MAX], got[64];
	struct world w;

	begin(&w, 0);
	make_files(&good[0], "first", "first", NULL);
	make_files(&good[1], "second", "second", NULL);
	for (int i = 0; i < 8; i++)
		bad[i] = good[0];
	snprintf(bad[0].certificate, sizeof bad[0].certificate, "%s/none.pem", scratch());
	snprintf(bad[1].key, sizeof bad[1].key, "%s/none.key", scratch());
	snprintf(bad[2].certificate, sizeof bad[2].certificate, "%s/text", scratch());
	snprintf(bad[3].key, sizeof bad[3].key, "%s/text", scratch());
	write_text(bad[3].key, "this is no PEM\n");
	snprintf(bad[4].key, sizeof bad[4].key, "%s/locked", scratch());
	lock_key(bad[4].key);
	memcpy(bad[5].key, good[1].key, sizeof bad[5].key);
	memcpy(bad[6].certificate, good[0].key, sizeof bad[6].certificate);
	snprintf(bad[7].certificate, sizeof bad[7].certificate, "%s/directory", scratch());
	(void)mkdir(bad[7].certificate, 0700);
	CHECK_EQ(load(w.server, good, 2, false, why), 0);
	for (int i = 0; i < 8; i++) {
		struct pair_of_files both[2] = { good[1], bad[i] };

		why[0] = 0;
		CHECK_EQ(load(w.server, both, 2, false, why), -EINVAL);
		expand(text, want[i]);
		if (!CHECK(strncmp(why, text, strlen(text)) == 0))
			printf("%s\n", why);
		name_for(&w, NULL, got);
		CHECK_BYTES(bytes_str(got), "first");
	}
	finish(&w);
}

/* ---- moving -------------------------------------------------------------------------------------------------------------- */

TEST(a_stream_moves_to_another_loop_with_its_waiting_output)
{
	static uint8_t out[60000], back[60000];
	struct world a, b;
	struct end e, f = { 0 };
	struct client c;
	struct tls *tls;
	ptrdiff_t taken;

	fill(out, sizeof out);
	begin(&a, 0);
	begin(&b, 0);
	meet(&a, &e, &c, TLS1_3_VERSION, true);
	taken = say(&e, out, sizeof out);
	CHECK(stream_holds(&e.s));
	f.w = &b;
	tls = stream_take_tls(&e.s);
	CHECK_EQ(stream_open(&b.loop, &f.s, stream_detach(&e.s)), 0);
	CHECK_EQ(stream_give_tls(&f.s, tls), 0);
	CHECK(stream_blocked(&f.s));
	CHECK_EQ(client_read(&b, &c, back, (size_t)taken), taken);
	CHECK(memcmp(back, out, (size_t)taken) == 0);
	CHECK(f.writables > 0);
	client_write(&b, &c, "hello", 5);
	settle(&b);
	CHECK_BYTES(bytes_of(f.got, f.len), "hello");
	CHECK_EQ(say(&f, "there", 5), 5);
	CHECK_EQ(client_read(&b, &c, back, 5), 5);
	free(e.got);
	drop(&f, &c);
	finish(&b);
	finish(&a);
}

#ifdef WSC_FAULTS
TEST(a_stream_that_finds_no_memory_on_its_new_loop_can_be_closed)
{
	struct world a, b;
	struct end e, f = { 0 };
	struct client c;
	struct tls *tls;

	begin(&a, 0);
	begin(&b, 0);
	meet(&a, &e, &c, TLS1_3_VERSION, false);
	f.w = &b;
	tls = stream_take_tls(&e.s);
	CHECK_EQ(stream_open(&b.loop, &f.s, stream_detach(&e.s)), 0);
	mem_fail_at(1, 0);
	CHECK_EQ(stream_give_tls(&f.s, tls), -ENOMEM);
	mem_fail_at(0, 0);
	free(e.got);
	drop(&f, &c);
	finish(&b);
	finish(&a);
}
#endif

TEST(a_tls_state_taken_from_its_stream_can_be_freed)
{
	struct world w;
	struct end e;
	struct client c;

	begin_met(&w, &e, &c, TLS1_3_VERSION, false);
	tls_free(stream_take_tls(&e.s));
	tls_free(NULL);
	finish_both(&w, &e, &c);
}
