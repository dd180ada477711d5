/* SPDX-License-Identifier: Apache-2.0 */
/*
 * worker_tls: connections whose stream holds ciphertext. The server's sockets are so small that the last
 * bytes of nearly every answer have to wait; OpenSSL's own client reads them when all is said.
 */
/* Shows: tls.stream */
#include <netinet/in.h>
#include <openssl/err.h>
#include <time.h>

#include "tls_fixture.h"
#include "worker_fixture.h"

struct client {
	SSL_CTX *ctx;
	SSL *ssl;
	int fd;
};

static void begin(struct rig *r)
{
	struct pair_of_files f;
	char why[TLS_WHY_MAX] = "";

	rig_init(r, 1);
	r->sndbuf = 2304;
	make_files(&f, "usual", "localhost", "DNS:localhost");
	r->set.tls.server = tls_server_new(10000);
	r->set.tls.own_from = UINT32_MAX;
	r->set.tls.same_port = true;
	CHECK_EQ(tls_server_load(r->set.tls.server,
				 &(struct tls_options){ &(struct tls_files){ f.certificate, f.key }, 1, false }, why),
		 0);
	CHECK_BYTES(bytes_str(why), "");
	/* The client's alerts may meet a closed socket; that the server raises none, net_tls shows. */
	signal(SIGPIPE, SIG_IGN);
	rig_start(r);
}

static void end(struct rig *r)
{
	rig_end(r);
	tls_server_free(r->set.tls.server);
}

static void meet(struct rig *r, struct client *c, int version)
{
	int done = 0;

	c->fd = rig_dial(r, 0);
	c->ctx = SSL_CTX_new(TLS_client_method());
	SSL_CTX_set_min_proto_version(c->ctx, version);
	SSL_CTX_set_max_proto_version(c->ctx, version);
	c->ssl = SSL_new(c->ctx);
	SSL_set_fd(c->ssl, c->fd);
	SSL_set_connect_state(c->ssl);
	for (int i = 0; i < 1000 && done != 1; i++) {
		ERR_clear_error();
		done = SSL_do_handshake(c->ssl);
		rig_turn(r, 2);
	}
	CHECK_EQ(done, 1);
}

static void leave(struct client *c)
{
	SSL_free(c->ssl);
	SSL_CTX_free(c->ctx);
	close(c->fd);
}

static void tell(struct rig *r, struct client *c, const void *at, size_t len)
{
	size_t sent = 0, n;

	for (int i = 0; i < 1000 && sent < len; i++) {
		if (SSL_write_ex(c->ssl, (const uint8_t *)at + sent, len - sent, &n))
			sent += n;
		rig_turn(r, 1);
	}
	CHECK_EQ(sent, len);
}

/* All that comes until the end of the stream. */
static void read_all(struct rig *r, struct client *c, struct inbox *in)
{
	size_t n;

	for (int i = 0; i < 20000; i++) {
		if (in->room < in->len + 65536) {
			in->room = 2 * (in->len + 65536);
			in->at = realloc(in->at, in->room);
		}
		ERR_clear_error();
		if (SSL_read_ex(c->ssl, in->at + in->len, 65536, &n))
			in->len += n;
		else if (SSL_get_error(c->ssl, 0) != SSL_ERROR_WANT_READ)
			return;
		rig_turn(r, 2);
	}
	CHECK_EQ(in->len, SIZE_MAX); /* a stream has an end */
}

static unsigned count(const struct inbox *in, struct bytes what)
{
	const uint8_t *at = in->at, *end = in->at + in->len;
	unsigned n = 0;

	while (at && (at = memmem(at, (size_t)(end - at), what.at, what.len))) {
		at += what.len;
		n++;
	}
	return n;
}

/* A frame with the mask zero, as its bytes. */
static size_t frame_of(uint8_t *to, uint8_t first, const char *payload, size_t len)
{
	to[0] = first;
	to[1] = 0x80 | (len < 126 ? (uint8_t)len : 126);
	to[2] = (uint8_t)(len >> 8);
	to[3] = (uint8_t)len;
	memset(to + (len < 126 ? 2 : 4), 0, 4);
	memcpy(to + (len < 126 ? 6 : 8), payload, len);
	return len + (len < 126 ? 6 : 8);
}

static void upgrade(struct rig *r, struct client *c)
{
	static const char head[] =
		"GET /ws?user_id=ann HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
	char back[4096];
	size_t n = 0;

	tell(r, c, head, sizeof head - 1);
	for (int i = 0; i < 1000 && !SSL_read_ex(c->ssl, back, sizeof back, &n); i++)
		rig_turn(r, 1);
	CHECK(n > 12 && memcmp(back, "HTTP/1.1 101", 12) == 0);
}

/* Ann sends herself messages that she does not read, and closes. How often did her socket hold the answer to that? */
static bool close_behind(struct rig *r, size_t size, int version)
{
	static char text[70000];
	static uint8_t frame[70016];
	struct inbox in = { 0 };
	struct client c;
	bool held = false;
	size_t n;

	n = (size_t)snprintf(text, sizeof text, "{\"to\":\"ann\",\"content\":\"%0*d\"}", (int)size, 0);
	meet(r, &c, version);
	upgrade(r, &c);
	tell(r, &c, frame, frame_of(frame, 0x81, text, n));
	rig_turn(r, 4);
	tell(r, &c, frame, frame_of(frame, 0x88, "\x03\xe8", 2));
	rig_turn(r, 4);
	/*
	 * Read on in small steps, and see whether the close frame was made while older ciphertext was gone and its own
	 * was not.
	 */
	for (int i = 0; i < 20000; i++) {
		struct conn *conn = rig_conn(r, "ann");

		if (conn && conn->close_queued && (!conn->at.extra || !conn->at.extra->ctl.len) &&
		    stream_holds(&conn->stream))
			held = true;
		if (in.room < in.len + 65536) {
			in.room = 2 * (in.len + 65536);
			in.at = realloc(in.at, in.room);
		}
		ERR_clear_error();
		if (SSL_read_ex(c.ssl, in.at + in.len, 100, &n))
			in.len += n;
		else if (SSL_get_error(c.ssl, 0) != SSL_ERROR_WANT_READ)
			break;
		rig_turn(r, 1);
	}
	CHECK_EQ(close_code(&in), 1000);
	CHECK_EQ(in.pos, in.len);
	inbox_free(&in);
	leave(&c);
	rig_turn(r, 4);
	return held;
}

TEST(the_answer_to_a_close_frame_is_not_cut_off_while_it_waits_as_ciphertext)
{
	unsigned held = 0;
	struct rig r;

	begin(&r);
	for (size_t size = 100; size < 20000; size += 331)
		held += close_behind(&r, size, size % 2 ? TLS1_3_VERSION : TLS1_2_VERSION);
	CHECK(held > 0);
	CHECK_EQ(atomic_load(&r.set.shared.connections), 0);
	end(&r);
}

TEST(answers_that_wait_as_ciphertext_reach_a_client_that_has_ended_its_side)
{
	static const char ask[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct rig r;

	begin(&r);
	for (unsigned asked = 1; asked < 60; asked += 3) {
		struct inbox in = { 0 };
		struct client c;

		meet(&r, &c, TLS1_3_VERSION);
		for (unsigned i = 0; i < asked; i++)
			CHECK_EQ(SSL_write(c.ssl, ask, sizeof ask - 1), sizeof ask - 1);
		SSL_shutdown(c.ssl);
		rig_turn(&r, 4);
		read_all(&r, &c, &in);
		CHECK_EQ(count(&in, BYTES("HTTP/1.1 200")), asked);
		inbox_free(&in);
		rig_turn(&r, 2);
		CHECK_EQ(atomic_load(&r.set.shared.connections),
			 0); /* both have said all: no need for TCP to end first */
		leave(&c);
		rig_turn(&r, 4);
	}
	end(&r);
}

/* Refuses a client that came to the listener @tag and has sent @first; returns the first byte of the answer. */
static int turned_away(struct rig *r, uint16_t tag, const char *first)
{
	struct shard *sh = &r->w[0]->shard;
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct listener from = { .loop = &sh->loop, .tag = tag };
	char back[1024] = "";
	uint16_t port;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	from.src.fd = addr_listen("127.0.0.1", 0, &(struct listen_options){ .backlog = 1 }, &port);
	at.sin_port = htons(port);
	CHECK_EQ(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
	if (*first)
		put_str(fd, first);
	CHECK(accept_keep_spare(sh));
	CHECK_EQ(accept_turn_away(&sh->loop, &from, 1), 1);
	CHECK(recv(fd, back, sizeof back, 0) > 0);
	CHECK_EQ(recv(fd, back + 1, sizeof back - 1, 0), 0);
	close(fd);
	close(from.src.fd);
	close(atomic_exchange(&r->set.shared.spare_fd, -1));
	return back[0];
}

TEST(a_client_refused_for_want_of_descriptors_gets_503_or_a_tls_alert)
{
	struct rig r;

	begin(&r);
	CHECK_EQ(turned_away(&r, 0, "GET / HTTP/1.1\r\n\r\n"), 'H');
	CHECK_EQ(turned_away(&r, 0, ""), 'H');
	CHECK_EQ(turned_away(&r, 0, "\x16\x03\x01"), 0x15);
	r.set.tls.same_port = false;
	r.set.tls.own_from = 1;
	CHECK_EQ(turned_away(&r, 0, "\x16\x03\x01"), 'H');
	CHECK_EQ(turned_away(&r, 1, ""), 0x15);
	end(&r);
}

TEST(a_message_over_tls_costs_one_recv_and_one_send)
{
	static uint8_t frame[256];
	struct calls before, after;
	struct client c;
	struct rig r;
	char back[4096];
	size_t n;

	begin(&r);
	meet(&r, &c, TLS1_3_VERSION);
	upgrade(&r, &c);
	n = frame_of(frame, 0x81, "{\"to\":\"ann\",\"content\":\"x\"}", 26);
	for (int i = 0; i < 5; i++) {
		before = calls_of(&r, 0);
		CHECK_EQ(SSL_write(c.ssl, frame, (int)n), (int)n);
		rig_turn(&r, 1);
		after = calls_of(&r, 0);
		CHECK_EQ(after.recv - before.recv, 1);
		CHECK_EQ(after.send - before.send, 1);
		CHECK(SSL_read(c.ssl, back, sizeof back) > 0);
		rig_turn(&r, 1);
	}
	leave(&c);
	rig_turn(&r, 4);
	end(&r);
}

/* The last of a long answer left the socket as ciphertext: that is not a socket that stands still since then. */
TEST(an_idle_connection_whose_answer_had_to_wait_is_not_ended_by_the_write_timeout)
{
	static const char ask[] = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct inbox in = { 0 };
	bool held = false;
	struct client c;
	struct rig r;
	size_t n;

	begin(&r);
	meet(&r, &c, TLS1_3_VERSION);
	for (int i = 0; i < 1000 && !held; i++) {
		CHECK_EQ(SSL_write(c.ssl, ask, sizeof ask - 1), sizeof ask - 1);
		rig_turn(&r, 1);
		for (uint32_t pos = 0; !pos;)
			held = stream_holds(&((struct conn *)slab_next(&r.w[0]->shard.conns, &pos))->stream);
	}
	CHECK(held);
	in.at = malloc(in.room = 1 << 20);
	for (int i = 0; i < 100; i++) {
		if (SSL_read_ex(c.ssl, in.at + in.len, in.room - in.len, &n))
			in.len += n;
		rig_turn(&r, 1);
	}
	for (uint32_t pos = 0; !pos;) {
		struct conn *conn = slab_next(&r.w[0]->shard.conns, &pos);

		CHECK(!stream_holds(&conn->stream));
		CHECK_EQ(conn->stalled_ms, 0);
	}
	inbox_free(&in);
	leave(&c);
	rig_turn(&r, 4);
	end(&r);
}

/*
 * The waiting record is longer than the bytes that the socket takes in a write timeout, and nothing of the queue moves
 * meanwhile: the bytes that leave count as progress.
 */
TEST(a_client_that_reads_less_than_a_record_in_a_write_timeout_is_no_slow_reader)
{
	static char text[20000];
	static uint8_t frame[20016];
	char got[2600];
	struct client c;
	struct rig r;
	size_t n;

	begin(&r);
	r.set.opt.write_timeout_ms = 100;
	meet(&r, &c, TLS1_3_VERSION);
	upgrade(&r, &c);
	n = (size_t)snprintf(text, sizeof text, "{\"to\":\"ann\",\"content\":\"%0*d\"}", 15000, 0);
	n = frame_of(frame, 0x81, text, n);
	for (int i = 0; i < 4; i++)
		tell(&r, &c, frame, n);
	CHECK(stream_holds(&rig_conn(&r, "ann")->stream));
	for (int i = 0; i < 16; i++) {
		CHECK(recv(c.fd, got, sizeof got, 0) > 0);
		rig_turn(&r, 2);
		nanosleep(&(struct timespec){ 0, 60 * 1000 * 1000 }, NULL);
	}
	CHECK_EQ(atomic_load(&hub_counters(r.w[0]->shard.hub)->closed_slow), 0);
	/* And a client that reads nothing at all is still closed as slow. */
	for (int i = 0; i < 2000 && !atomic_load(&hub_counters(r.w[0]->shard.hub)->closed_slow); i++)
		worker_turn(r.w[0], 10);
	CHECK_EQ(atomic_load(&hub_counters(r.w[0]->shard.hub)->closed_slow), 1);
	leave(&c);
	rig_turn(&r, 4);
	end(&r);
}
