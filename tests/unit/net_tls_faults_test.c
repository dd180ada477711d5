/* SPDX-License-Identifier: Apache-2.0 */
/*
 * net_tls_faults: OpenSSL asks for memory some hundred times in a handshake and some thousand times for a certificate;
 * each of these requests fails here once, and for ever from there on. Only the server's side is hit, and afterwards it
 * must serve.
 */
#include <errno.h>
#include <sys/socket.h>
#include <openssl/crypto.h>
#include <openssl/err.h>

#include "net/tls.h"
#include "test.h"
#include "tls_fixture.h"

static bool armed, for_ever;
static unsigned long countdown;

static bool refuse(void)
{
	if (!armed || countdown == 0)
		return false;
	if (countdown > 1) {
		countdown--;
		return false;
	}
	if (!for_ever)
		countdown = 0;
	return true;
}

static void *get(size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return refuse() ? NULL : malloc(n);
}

static void *get_again(void *p, size_t n, const char *file, int line)
{
	(void)file, (void)line;
	return refuse() ? NULL : realloc(p, n);
}

static void give(void *p, const char *file, int line)
{
	(void)file, (void)line;
	free(p);
}

/* Before the first test: OpenSSL must not have asked for anything yet. */
__attribute__((constructor(101))) static void hook(void)
{
	if (CRYPTO_set_mem_functions(get, get_again, give) != 1)
		abort();
}

struct end {
	struct stream s;
	struct tls_server *server;
	size_t len;
	unsigned ends;
	int secured;
};

struct world {
	struct loop loop; /* first */
};

static void on_data(struct stream *s, uint8_t *data, size_t len)
{
	struct end *e = container_of(s, struct end, s);
	struct iovec iov = { data, len };

	if (!stream_is_secure(s)) {
		e->secured = stream_secure(s, e->server, 100000, bytes_of(data, len));
		if (e->secured < 0)
			stream_close(s);
		return;
	}
	e->len += len;
	if (stream_send(s, &iov, 1) < 0)
		stream_close(s);
	else
		stream_shutdown(s);
}

static void on_end(struct stream *s, int error)
{
	struct end *e = container_of(s, struct end, s);

	(void)error;
	e->ends++;
	stream_close(s);
}

static void on_writable(struct stream *s)
{
	(void)s;
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

static void turn(struct world *w)
{
	armed = true;
	(void)loop_wait(&w->loop, 0);
	loop_read(&w->loop);
	armed = false;
}

/* A handshake, a message and its echo, and the end; true: all of it went well. */
static bool visit(struct tls_server *server, int version)
{
	struct end e = { .server = server };
	struct world w = { 0 };
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	SSL *ssl;
	char back[16];
	int fd[2];
	bool done = false, asked = false;
	size_t n;

	signal(SIGPIPE, SIG_IGN); /* the client's alerts */
	if (loop_init(&w.loop, &ops, false) < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) < 0)
		abort();
	CHECK_EQ(stream_open(&w.loop, &e.s, fd[0]), 0);
	SSL_CTX_set_min_proto_version(ctx, version);
	SSL_CTX_set_max_proto_version(ctx, version);
	ssl = SSL_new(ctx);
	SSL_set_fd(ssl, fd[1]);
	SSL_set_connect_state(ssl);
	for (int i = 0; i < 30 && !done; i++) {
		ERR_clear_error();
		if (!asked && SSL_write_ex(ssl, "hello", 5, &n))
			asked = true;
		if (asked && SSL_read_ex(ssl, back, sizeof back, &n))
			done = n == 5;
		turn(&w);
	}
	CHECK(!done || e.len == 5);
	armed = true;
	stream_close(&e.s);
	armed = false;
	SSL_free(ssl);
	SSL_CTX_free(ctx);
	close(fd[1]);
	loop_deinit(&w.loop);
	return done;
}

static struct tls_server *serve(const struct pair_of_files *f)
{
	struct tls_server *server = tls_server_new(10000);
	struct tls_files files = { f->certificate, f->key };
	char why[TLS_WHY_MAX];

	CHECK_EQ(tls_server_load(server, &(struct tls_options){ &files, 1, false }, why), 0);
	return server;
}

TEST(any_failed_allocation_in_a_handshake_ends_that_stream_alone)
{
	static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
	struct pair_of_files f;
	struct tls_server *server;
	unsigned points = 0, survived = 0;

	make_files(&f, "usual", "localhost", NULL);
	server = serve(&f);
	for (int i = 0; i < 4; i++) {
		for_ever = i % 2;
		CHECK(visit(server, versions[i / 2])); /* objects that are made once and kept are there */
		for (unsigned long k = 1;; k++) {
			bool good;

			countdown = k;
			good = visit(server, versions[i / 2]);
			survived += good;
			points++;
			if (countdown > 1 || (!for_ever && countdown)) {
				CHECK(good);
				break;
			}
		}
		countdown = 0;
		CHECK(visit(server, versions[i / 2]));
	}
	printf("%u points, %u of them without harm\n", points, survived);
	tls_server_free(server);
}

TEST(any_failed_allocation_in_a_reload_keeps_the_former_certificates)
{
	struct pair_of_files f;
	struct tls_files files;
	struct tls_server *server;
	unsigned points = 0;

	make_files(&f, "usual", "localhost", "DNS:localhost,DNS:*.example");
	files = (struct tls_files){ f.certificate, f.key };
	server = serve(&f);
	for (unsigned long k = 1;; k += 1 + k / 100) { /* all of the beginning, every so many of the rest */
		char why[TLS_WHY_MAX] = "";
		int r;

		for_ever = k % 2;
		countdown = k;
		armed = true;
		r = tls_server_load(server, &(struct tls_options){ &files, 1, false }, why);
		armed = false;
		CHECK(r == 0 || why[0]);
		points++;
		if (countdown > 1)
			break;
		countdown = 0;
		if (k % 16 == 0)
			CHECK(visit(server, TLS1_3_VERSION));
	}
	countdown = 0;
	CHECK(visit(server, TLS1_3_VERSION));
	printf("%u points\n", points);
	tls_server_free(server);
}
