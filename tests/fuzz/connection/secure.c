/* SPDX-License-Identifier: Apache-2.0 */
/* secure: see secure.h. */
#define OPENSSL_SUPPRESS_DEPRECATED /* RAND_METHOD: the one way to seed the default provider's chance */
#include "connection/secure.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <openssl/err.h>
#include <openssl/rand.h>

#include "../../unit/tls_fixture.h"
#include "connection/reader.h"

static struct {
	uint64_t chance;
	SSL_CTX *ctx;
	struct buf ticket;    /* the session as bytes: OpenSSL gives one up that was used */
	int certificate, key; /* files in memory */
	char certificate_path[32], key_path[32];
	struct {
		X509 *x;
		struct buf certificate, key; /* PEM */
	} of[SECURE_IDENTITIES];
} t;

static void need(bool ok)
{
	if (!ok)
		wrong("OpenSSL refuses a setting of the harness");
}

/* ---- chance ------------------------------------------------------------------------------------------------------------- */

static int draw(unsigned char *at, int n)
{
	for (int i = 0; i < n; i++) {
		t.chance ^= t.chance << 13;
		t.chance ^= t.chance >> 7;
		t.chance ^= t.chance << 17;
		at[i] = (unsigned char)(t.chance >> 24);
	}
	return 1;
}

static int is_seeded(void)
{
	return 1;
}

/*
 * OpenSSL's clock, which stands still: a ticket grows old by the keys of the gateway and the clock of kernel.h alone,
 * not because the machine was busy between two turns.
 */
__attribute__((visibility("default"))) time_t time(time_t *at)
{
	const time_t now = 1800000000;

	if (at)
		*at = now;
	return now;
}

/* ---- the server's files ---------------------------------------------------------------------------------------------------- */

static struct buf taken(BIO *bio)
{
	struct buf b = BUF_INIT;
	char *at;
	long n = BIO_get_mem_data(bio, &at);

	buf_add(&b, bytes_of(at, (size_t)n));
	BIO_free(bio);
	return b;
}

static void make_identity(enum secure_identity who)
{
	static const char *const names[] = { "ann.example", "bob.example" };
	BIO *certificate = BIO_new(BIO_s_mem()), *key = BIO_new(BIO_s_mem());
	EVP_PKEY *pkey = EVP_EC_gen("P-256");

	t.of[who].x = make_x509(pkey, names[who], NULL);
	need(PEM_write_bio_X509(certificate, t.of[who].x) == 1 &&
	     PEM_write_bio_PrivateKey(key, pkey, NULL, NULL, 0, NULL, NULL) == 1);
	EVP_PKEY_free(pkey);
	t.of[who].certificate = taken(certificate);
	t.of[who].key = taken(key);
}

static int make_file(char path[32])
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	need(fd >= 0);
	snprintf(path, 32, "/proc/self/fd/%d", fd);
	return fd;
}

static void fill(int fd, struct bytes what)
{
	need(ftruncate(fd, 0) == 0 && pwrite(fd, what.at, what.len, 0) == (ssize_t)what.len);
}

void secure_install(enum secure_identity who)
{
	enum secure_identity owner = who == SECURE_BROKEN ? SECURE_ANN : who;

	fill(t.certificate, buf_bytes(&t.of[owner].certificate));
	fill(t.key, buf_bytes(&t.of[who == SECURE_BROKEN ? SECURE_BOB : who].key));
}

const char *secure_certificate(void)
{
	return t.certificate_path;
}

const char *secure_key(void)
{
	return t.key_path;
}

/* ---- all clients ------------------------------------------------------------------------------------------------------------ */

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct secure *s = SSL_get_app_data(ssl);

	unsigned char *at = NULL;
	int n = i2d_SSL_SESSION(session, &at);

	need(n > 0);
	buf_clear(&t.ticket);
	buf_add(&t.ticket, bytes_of(at, (size_t)n));
	OPENSSL_free(at);
	s->tickets++;
	return 0;
}

static void on_info(const SSL *ssl, int where, int value)
{
	struct secure *s = SSL_get_app_data(ssl);

	if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
		s->alerted = true;
}

static void make_all(void)
{
	static const RAND_METHOD method = { .bytes = draw, .pseudorand = draw, .status = is_seeded };

	need(RAND_set_rand_method(&method) == 1);
	t.certificate = make_file(t.certificate_path);
	t.key = make_file(t.key_path);
	make_identity(SECURE_ANN);
	make_identity(SECURE_BOB);
	t.ctx = SSL_CTX_new(TLS_client_method());
	need(t.ctx);
	SSL_CTX_set_session_cache_mode(t.ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(t.ctx, on_ticket);
	SSL_CTX_set_info_callback(t.ctx, on_info);
}

void secure_boot(uint64_t seed)
{
	t.chance = seed | 1;
	if (!t.ctx)
		make_all();
	buf_clear(&t.ticket);
	secure_install(SECURE_ANN);
}

/* ---- one client ----------------------------------------------------------------------------------------------------------------- */

/* Moves the bytes that OpenSSL has written to the wire. */
static void collect(struct secure *s)
{
	BIO *out = SSL_get_wbio(s->ssl);
	char *at;
	long n = BIO_get_mem_data(out, &at);

	buf_add(&s->wire, bytes_of(at, n > 0 ? (size_t)n : 0));
	(void)BIO_reset(out);
}

/* Judges a call that did not succeed. */
static void judge(struct secure *s, int r)
{
	int error = SSL_get_error(s->ssl, r);
	const char *why = ERR_reason_error_string(ERR_peek_error());

	if (error == SSL_ERROR_ZERO_RETURN)
		s->notified = true;
	else if (error != SSL_ERROR_WANT_READ)
		s->why = why ? why : "something";
}

static void speak(struct secure *s)
{
	size_t n;

	if (!s->shaken || !s->unsaid.len || s->why[0])
		return;
	ERR_clear_error();
	need(SSL_write_ex(s->ssl, s->unsaid.at, s->unsaid.len, &n) == 1 && n == s->unsaid.len);
	buf_clear(&s->unsaid);
}

static void shake(struct secure *s)
{
	int r;

	if (s->shaken || s->why[0])
		return;
	ERR_clear_error();
	r = SSL_do_handshake(s->ssl);
	if (r != 1) {
		judge(s, r);
		return;
	}
	s->shaken = true;
	s->resumed = SSL_session_reused(s->ssl);
}

static void choose(struct secure *s, unsigned how)
{
	static const uint8_t both[] = "\x02h2\x08http/1.1";
	unsigned from = how & SECURE_H2 ? 0 : 3, len = (how & SECURE_H2 ? 3u : 0) + (how & SECURE_HTTP ? 9u : 0);

	need(SSL_set_max_proto_version(s->ssl, how & SECURE_ONLY_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION) == 1);
	need(!len || SSL_set_alpn_protos(s->ssl, both + from, len) == 0);
	need(!(how & SECURE_OTHER_GROUP) || SSL_set1_groups_list(s->ssl, "X448:P-256") == 1);
	if (how & SECURE_RESUME && t.ticket.len) {
		const unsigned char *at = t.ticket.at;
		SSL_SESSION *session = d2i_SSL_SESSION(NULL, &at, (long)t.ticket.len);

		need(session && SSL_set_session(s->ssl, session) == 1);
		s->asked_to_resume = SSL_SESSION_get_protocol_version(session) ==
				     (how & SECURE_ONLY_1_2 ? TLS1_2_VERSION : TLS1_3_VERSION);
		SSL_SESSION_free(session);
	}
}

struct secure *secure_new(unsigned how)
{
	struct secure *s = calloc(1, sizeof *s);

	need(s);
	s->why = "";
	s->ssl = SSL_new(t.ctx);
	need(s->ssl && SSL_set_app_data(s->ssl, s) == 1);
	SSL_set_bio(s->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
	SSL_set_connect_state(s->ssl);
	choose(s, how);
	shake(s);
	collect(s);
	return s;
}

void secure_free(struct secure *s)
{
	if (!s)
		return;
	ERR_clear_error();
	SSL_free(s->ssl);
	buf_deinit(&s->wire);
	buf_deinit(&s->unsaid);
	free(s);
}

void secure_write(struct secure *s, struct bytes plain)
{
	buf_add(&s->unsaid, plain);
	speak(s);
	collect(s);
}

void secure_read(struct secure *s, struct bytes wire, struct buf *plain)
{
	uint8_t at[4096];
	size_t n;
	int r;

	if (!wire.len || s->why[0])
		return;
	if (s->notified)
		wrong("bytes behind close_notify");
	need(BIO_write(SSL_get_rbio(s->ssl), wire.at, (int)wire.len) == (int)wire.len);
	shake(s);
	while (s->shaken && !s->notified && !s->why[0]) {
		ERR_clear_error();
		r = SSL_read_ex(s->ssl, at, sizeof at, &n);
		if (r == 1) {
			buf_add(plain, bytes_of(at, n));
			continue;
		}
		judge(s, r);
		break;
	}
	if (s->notified && BIO_pending(SSL_get_rbio(s->ssl)))
		wrong("bytes behind close_notify");
	speak(s);
	collect(s);
}

void secure_goodbye(struct secure *s)
{
	ERR_clear_error();
	(void)SSL_shutdown(s->ssl);
	collect(s);
}

bool secure_is_1_3(const struct secure *s)
{
	return SSL_version(s->ssl) == TLS1_3_VERSION;
}

bool secure_update(struct secure *s)
{
	if (!s->shaken || !secure_is_1_3(s) || s->why[0])
		return false;
	ERR_clear_error();
	need(SSL_key_update(s->ssl, SSL_KEY_UPDATE_REQUESTED) == 1 && SSL_do_handshake(s->ssl) == 1);
	collect(s);
	return true;
}

bool secure_saw(const struct secure *s, enum secure_identity who)
{
	X509 *x = SSL_get0_peer_certificate(s->ssl);

	return x && X509_cmp(x, t.of[who].x) == 0;
}
