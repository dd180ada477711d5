/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: see tls.h. Every result of OpenSSL is checked; its error queue is empty before each call and after each call
 * that has failed.
 */
#include "net/tls.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pemerr.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include "base/counter.h"
#include "base/mem.h"

/* One encrypted record, and some bytes of the protocol itself. */
#define OUT_BYTES (TLS_RECORD_BYTES + 2048u)
/* The most that one recv can decrypt to: its own bytes and a record that had begun before. */
#define PLAIN_BYTES (LOOP_RECV_BYTES + TLS_RECORD_BYTES + 2048u)
/* The most that may wait for the socket, including alerts, key updates and a whole flight of a handshake. */
#define PENDING_MAX 65536u
#define NAMES_MAX 256
#define KEYS 2 /* the one that encrypts, and the one before it */
/* Key updates that one recv may bring. No client needs more than one per gigabyte; each costs as much as 12 records. */
#define UPDATES_AT_ONCE 8u

/* RFC 9325 §4.2, Mozilla's "intermediate": only suites with forward secrecy and AEAD. */
static const char ciphers_1_2[] =
	"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
	"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";
static const char ciphers_1_3[] = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
static const char groups[] = "X25519:P-256:P-384";
static const uint8_t alpn[] = "\x08http/1.1";

struct ticket_key {
	uint8_t name[16], cipher[32], mac[32];
	bool live;
};

struct tls_cert {
	SSL_CTX *ctx;
	char *file, *names;
	int64_t not_before, not_after;
};

/* Never changes after it is made; the server and each of its streams hold a reference. */
struct tls_set {
	struct tls_server *server;
	BIO_METHOD *method;
	size_t n;
	struct {
		_Atomic uint32_t refs;
	} shared;
	struct tls_cert cert[];
};

struct tls_server {
	uint64_t rotation_ms;
	struct {
		pthread_mutex_t lock;
		struct tls_set *set;
		struct ticket_key key[KEYS]; /* the newest first */
		uint64_t due_ms;             /* when the next one is made */
	} shared;
};

struct tls_buffers {
	uint8_t plain[PLAIN_BYTES];
	uint8_t gather[TLS_RECORD_BYTES];
	uint8_t out[OUT_BYTES];
	size_t out_len;
};

struct tls {
	SSL *ssl;
	struct stream *s;
	struct tls_set *set;
	struct bytes raw; /* borrowed from the loop during tls_feed() */
	uint8_t *pending; /* ciphertext that the socket did not accept; NULL: none */
	uint32_t pending_len, pending_sent;
	const char *fault; /* NULL: none */
	int error;         /* errno of the first failure */
	uint32_t updates;  /* key updates in @raw */
	bool settled;      /* the handshake is complete */
	bool ended;        /* the peer has ended, with close_notify or by a failure */
	bool shut;         /* the owner has called tls_shutdown() */
	bool notified;     /* close_notify was sent */
};

static int fail(struct tls *t, int error, const char *why)
{
	if (!t->error) {
		t->error = error;
		t->fault = why;
	}
	t->ended = true;
	return -t->error;
}

/* ---- tickets (RFC 5077, RFC 8446 §4.6.1) ------------------------------------------------------------------------- */

static void new_key(struct ticket_key *k)
{
	k->live = RAND_bytes(k->name, sizeof k->name) == 1 && RAND_priv_bytes(k->cipher, sizeof k->cipher) == 1 &&
		  RAND_priv_bytes(k->mac, sizeof k->mac) == 1;
}

/* A key encrypts for one rotation and decrypts for one more. */
static void rotate(struct tls_server *server, uint64_t now_ms)
{
	struct ticket_key *key = server->shared.key;

	pthread_mutex_lock(&server->shared.lock);
	if (now_ms >= server->shared.due_ms) {
		uint64_t late = now_ms - server->shared.due_ms;

		/* No client connected for a whole rotation: the newest key is too old as well. */
		if (late >= server->rotation_ms)
			key[0].live = false;
		key[1] = key[0];
		new_key(&key[0]);
		server->shared.due_ms = now_ms - late % server->rotation_ms + server->rotation_ms;
	}
	pthread_mutex_unlock(&server->shared.lock);
}

/* 0: there is no such key any more. 1: it is the newest. 2: it is the older one. */
static int find_key(struct tls_server *server, const uint8_t *name, struct ticket_key *out)
{
	int found = 0;

	pthread_mutex_lock(&server->shared.lock);
	for (int i = 0; i < KEYS && !found; i++)
		if (server->shared.key[i].live && (!name || memcmp(server->shared.key[i].name, name, 16) == 0)) {
			*out = server->shared.key[i];
			found = i + 1;
		}
	pthread_mutex_unlock(&server->shared.lock);
	return found;
}

/* Returns to OpenSSL: 0: no ticket, 1: the ticket is valid, 2: it is valid and the client gets a new one. */
static int on_ticket(SSL *ssl, uint8_t *name, uint8_t *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac, int enc)
{
	const struct tls *t = SSL_get_app_data(ssl);
	struct ticket_key k = { 0 };
	char digest[] = "SHA256";
	OSSL_PARAM params[3];
	int found;

	if (enc && RAND_bytes(iv, 16) != 1)
		return 0;
	found = find_key(t->set->server, enc ? NULL : name, &k);
	if (!found)
		return 0;
	if (enc)
		memcpy(name, k.name, sizeof k.name);
	params[0] = OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, k.mac, sizeof k.mac);
	params[1] = OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0);
	params[2] = OSSL_PARAM_construct_end();
	if (EVP_CipherInit_ex(cipher, EVP_aes_256_cbc(), NULL, k.cipher, iv, enc) != 1 ||
	    EVP_MAC_CTX_set_params(mac, params) != 1)
		found = 0;
	OPENSSL_cleanse(&k, sizeof k);
	return found;
}

/* ---- certificates ------------------------------------------------------------------------------------------------ */

static int on_name(SSL *ssl, int *alert, void *arg)
{
	const struct tls *t = SSL_get_app_data(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert, (void)arg;
	if (!name)
		return SSL_TLSEXT_ERR_NOACK;
	for (size_t i = 0; i < t->set->n; i++) {
		SSL_CTX *ctx = t->set->cert[i].ctx;

		if (X509_check_host(SSL_CTX_get0_certificate(ctx), name, 0, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS,
				    NULL) != 1)
			continue;
		return SSL_set_SSL_CTX(ssl, ctx) ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
	}
	return SSL_TLSEXT_ERR_NOACK; /* unknown name: use the first certificate and let the client decide */
}

/* RFC 7301: a client that sends a list of protocols without HTTP/1.1 gets the alert no_application_protocol. */
static int on_alpn(SSL *ssl, const uint8_t **out, uint8_t *out_len, const uint8_t *in, unsigned in_len, void *arg)
{
	uint8_t *chosen;

	(void)ssl, (void)arg;
	if (SSL_select_next_proto(&chosen, out_len, alpn, sizeof alpn - 1, in, in_len) != OPENSSL_NPN_NEGOTIATED)
		return SSL_TLSEXT_ERR_ALERT_FATAL;
	*out = chosen;
	return SSL_TLSEXT_ERR_OK;
}

/*
 * OpenSSL calls this for each TLS message. It would process any number of key updates (RFC 8446 §4.6.3), so when there
 * are too many, @raw is emptied and OpenSSL reads no more.
 */
static void on_message(int sent, int version, int type, const void *at, size_t len, SSL *ssl, void *arg)
{
	struct tls *t = SSL_get_app_data(ssl);

	(void)version, (void)arg;
	if (sent || type != SSL3_RT_HANDSHAKE || !len || *(const uint8_t *)at != SSL3_MT_KEY_UPDATE)
		return;
	t->s->loop->steps++;
	if (++t->updates <= UPDATES_AT_ONCE)
		return;
	(void)fail(t, EPROTO, "the peer sends too many key updates");
	t->raw = bytes_of(NULL, 0);
}

static int no_passphrase(char *buf, int size, int writing, void *asked)
{
	(void)buf, (void)size, (void)writing;
	*(bool *)asked = true;
	return -1;
}

static int fault(char why[TLS_WHY_MAX], const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static int fault(char why[TLS_WHY_MAX], const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, TLS_WHY_MAX, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static int no_memory(char why[TLS_WHY_MAX])
{
	(void)fault(why, "out of memory");
	return -ENOMEM;
}

static const char *reason(void)
{
	unsigned long first = ERR_peek_error();
	const char *text = ERR_reason_error_string(first);

	if ((ERR_GET_LIB(first) == ERR_LIB_PEM && ERR_GET_REASON(first) == PEM_R_NO_START_LINE) ||
	    ERR_GET_REASON(first) == ERR_R_UNSUPPORTED)
		return "the file contains none, or none of a known type";
	return text ? text : "unknown error";
}

static int readable(const char *key, const char *path, char why[TLS_WHY_MAX])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return fault(why, "%s: %s cannot be read: %s", key, path, strerrordesc_np(errno));
	close(fd);
	return 0;
}

static int load_files(SSL_CTX *ctx, const struct tls_files *f, char why[TLS_WHY_MAX])
{
	bool asked = false;
	int r;

	if ((r = readable("tls.certificate", f->certificate, why)) < 0 || (r = readable("tls.key", f->key, why)) < 0)
		return r;
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, &asked);
	ERR_clear_error();
	if (SSL_CTX_use_certificate_chain_file(ctx, f->certificate) != 1)
		return fault(why, "tls.certificate: %s is not a usable certificate (PEM): %s", f->certificate,
			     reason());
	ERR_clear_error();
	r = SSL_CTX_use_PrivateKey_file(ctx, f->key, SSL_FILETYPE_PEM);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	if (asked)
		return fault(
			why,
			"tls.key: %s is encrypted with a passphrase; make a copy without one: openssl pkey -in %s -out ...",
			f->key, f->key);
	if (r != 1 && ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_VALUES_MISMATCH &&
	    ERR_GET_REASON(ERR_peek_last_error()) != X509_R_KEY_TYPE_MISMATCH)
		return fault(why, "tls.key: %s is not a usable private key (PEM): %s", f->key, reason());
	if (r != 1 || SSL_CTX_check_private_key(ctx) != 1)
		return fault(why, "tls.key: %s is not the key of the certificate %s; give both in the same order",
			     f->key, f->certificate);
	return 0;
}

static void add_name(char names[NAMES_MAX], const uint8_t *at, int len)
{
	size_t n = strlen(names);

	/* A certificate may contain any bytes. */
	for (int i = 0; i < len; i++)
		if (at[i] <= ' ' || at[i] > '~' || at[i] == ',')
			return;
	if (len > 0 && n + (size_t)len + 3 < NAMES_MAX)
		snprintf(names + n, NAMES_MAX - n, "%s%.*s", n ? ", " : "", len, (const char *)at);
}

/* Collects the names that X509_check_host() uses: the DNS names, else the common name. */
static void collect_names(X509 *x, char names[NAMES_MAX])
{
	GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
	X509_NAME *subject = X509_get_subject_name(x);
	int at = subject ? X509_NAME_get_index_by_NID(subject, NID_commonName, -1) : -1;

	for (int i = 0; all && i < sk_GENERAL_NAME_num(all); i++) {
		const GENERAL_NAME *g = sk_GENERAL_NAME_value(all, i);

		if (g->type == GEN_DNS)
			add_name(names, ASN1_STRING_get0_data(g->d.dNSName), ASN1_STRING_length(g->d.dNSName));
	}
	GENERAL_NAMES_free(all);
	if (!names[0] && at >= 0) {
		const ASN1_STRING *cn = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at));

		add_name(names, ASN1_STRING_get0_data(cn), ASN1_STRING_length(cn));
	}
}

static int64_t seconds(const ASN1_TIME *t)
{
	struct tm tm;

	return t && ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

static int describe(struct tls_cert *c, const char *file)
{
	X509 *x = SSL_CTX_get0_certificate(c->ctx);
	char names[NAMES_MAX] = "";

	collect_names(x, names);
	c->not_before = seconds(X509_get0_notBefore(x));
	c->not_after = seconds(X509_get0_notAfter(x));
	c->file = mem_strndup(file, strlen(file));
	c->names = mem_strndup(names, strlen(names));
	return c->file && c->names ? 0 : -ENOMEM;
}

/* The settings of every connection, whatever its certificate. */
static bool set_policy(SSL_CTX *ctx, const struct tls_options *o, uint64_t rotation_ms)
{
	static const uint8_t context[] = "wsc";

	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_CIPHER_SERVER_PREFERENCE |
					 SSL_OP_PRIORITIZE_CHACHA);
	SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
				      SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_timeout(ctx, (long)(rotation_ms * 2 / 1000 ? rotation_ms * 2 / 1000 : 1));
	SSL_CTX_set_alpn_select_cb(ctx, on_alpn, NULL);
	SSL_CTX_set_tlsext_servername_callback(ctx, on_name);
	SSL_CTX_set_msg_callback(ctx, on_message);
	return SSL_CTX_set_min_proto_version(ctx, o->only_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION) == 1 &&
	       SSL_CTX_set_max_proto_version(ctx, TLS1_3_VERSION) == 1 &&
	       SSL_CTX_set_cipher_list(ctx, ciphers_1_2) == 1 && SSL_CTX_set_ciphersuites(ctx, ciphers_1_3) == 1 &&
	       SSL_CTX_set1_groups_list(ctx, groups) == 1 && SSL_CTX_set_num_tickets(ctx, 1) == 1 &&
	       SSL_CTX_set_max_early_data(ctx, 0) == 1 &&
	       SSL_CTX_set_session_id_context(ctx, context, sizeof context - 1) == 1 &&
	       SSL_CTX_set_tlsext_ticket_key_evp_cb(ctx, on_ticket) == 1;
}

static int load_one(struct tls_set *set, const struct tls_options *o, size_t i, char why[TLS_WHY_MAX])
{
	struct tls_cert *c = &set->cert[i];
	int r;

	ERR_clear_error();
	c->ctx = SSL_CTX_new(TLS_server_method());
	if (!c->ctx)
		return no_memory(why);
	set->n++;
	if (!set_policy(c->ctx, o, set->server->rotation_ms))
		return fault(why, "OpenSSL refuses the gateway's settings: %s", reason());
	r = load_files(c->ctx, &o->files[i], why);
	if (r < 0)
		return r;
	return describe(c, o->files[i].certificate) < 0 ? no_memory(why) : 0;
}

static void set_unref(struct tls_set *set)
{
	if (!set || atomic_fetch_sub(&set->shared.refs, 1) != 1)
		return;
	for (size_t i = 0; i < set->n; i++) {
		SSL_CTX_free(set->cert[i].ctx);
		mem_free(set->cert[i].file);
		mem_free(set->cert[i].names);
	}
	BIO_meth_free(set->method);
	mem_free(set);
}

/* ---- OpenSSL's reads and writes ---------------------------------------------------------------------------------- */

/* Appends bytes to the ciphertext that waits. */
static int add_pending(struct tls *t, const uint8_t *at, size_t len)
{
	uint8_t *grown;

	if (!len)
		return 0;
	if (t->pending_len + len > PENDING_MAX)
		return fail(t, EPROTO, "the peer does not read our answers");
	grown = mem_realloc(t->pending, t->pending_len + len);
	if (!grown)
		return fail(t, ENOMEM, "out of memory");
	memcpy(grown + t->pending_len, at, len);
	t->pending = grown;
	t->pending_len += (uint32_t)len;
	return 0;
}

/* Sends until the socket is full. Returns how many bytes it accepted, or -errno. */
static ptrdiff_t put(struct tls *t, const uint8_t *at, size_t len)
{
	size_t sent = 0;

	while (sent < len) {
		struct iovec iov = { (void *)(uintptr_t)(at + sent), len - sent };
		ptrdiff_t n = stream_send_raw(t->s, &iov, 1);

		if (n < 0)
			return fail(t, (int)-n, NULL);
		sent += (size_t)n;
		if (stream_blocked(t->s))
			break;
	}
	return (ptrdiff_t)sent;
}

/* Sends what OpenSSL has written: one send, and the rest waits. 0 or -errno. */
static int push(struct tls *t)
{
	struct tls_buffers *b = t->s->loop->tls;
	size_t len = b->out_len;
	ptrdiff_t n;

	b->out_len = 0;
	if (!len)
		return 0;
	n = put(t, b->out, len); /* also after an error: it may be the alert for the peer */
	return n < 0 ? (int)n : add_pending(t, b->out + n, len - (size_t)n);
}

static int bio_write(BIO *bio, const char *from, int n)
{
	struct tls *t = BIO_get_data(bio);
	struct tls_buffers *b = t->s->loop->tls;
	const uint8_t *at = (const uint8_t *)from;
	size_t left = n > 0 ? (size_t)n : 0;

	BIO_clear_retry_flags(bio);
	while (left && !t->pending && !t->error) {
		size_t room = sizeof b->out - b->out_len, take = left < room ? left : room;

		memcpy(b->out + b->out_len, at, take);
		b->out_len += take;
		at += take;
		left -= take;
		if (left)
			(void)push(t);
	}
	if (t->error || add_pending(t, at, left) < 0)
		return -1;
	return n;
}

static int bio_read(BIO *bio, char *to, int n)
{
	struct tls *t = BIO_get_data(bio);
	size_t take = n > 0 ? (size_t)n : 0;

	BIO_clear_retry_flags(bio);
	if (!t->raw.len) {
		BIO_set_retry_read(bio);
		return -1;
	}
	take = take < t->raw.len ? take : t->raw.len;
	memcpy(to, t->raw.at, take);
	bytes_skip(&t->raw, take);
	return (int)take;
}

static long bio_ctrl(BIO *bio, int what, long n, void *at)
{
	(void)bio, (void)n, (void)at;
	return what == BIO_CTRL_FLUSH || what == BIO_CTRL_DUP;
}

static BIO_METHOD *make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wsc stream");

	if (m && BIO_meth_set_read(m, bio_read) == 1 && BIO_meth_set_write(m, bio_write) == 1 &&
	    BIO_meth_set_ctrl(m, bio_ctrl) == 1)
		return m;
	BIO_meth_free(m);
	return NULL;
}

/* ---- shared by all loops ----------------------------------------------------------------------------------------- */

struct tls_server *tls_server_new(uint64_t rotation_ms)
{
	struct tls_server *server = mem_zalloc(sizeof *server);

	if (!server)
		return NULL;
	server->rotation_ms = rotation_ms;
	pthread_mutex_init(&server->shared.lock, NULL);
	return server;
}

void tls_server_free(struct tls_server *server)
{
	if (!server)
		return;
	set_unref(server->shared.set);
	pthread_mutex_destroy(&server->shared.lock);
	OPENSSL_cleanse(server->shared.key, sizeof server->shared.key);
	mem_free(server);
}

int tls_server_load(struct tls_server *server, const struct tls_options *o, char why[TLS_WHY_MAX])
{
	struct tls_set *set = mem_zalloc(sizeof *set + o->n * sizeof set->cert[0]), *former;
	int r = 0;

	if (!set)
		return no_memory(why);
	set->shared.refs = 1;
	set->server = server;
	set->method = make_method();
	if (!set->method)
		r = no_memory(why);
	for (size_t i = 0; i < o->n && r == 0; i++)
		r = load_one(set, o, i, why);
	ERR_clear_error();
	if (r < 0) {
		set_unref(set);
		return r;
	}
	pthread_mutex_lock(&server->shared.lock);
	former = server->shared.set;
	server->shared.set = set;
	pthread_mutex_unlock(&server->shared.lock);
	set_unref(former);
	return 0;
}

static struct tls_set *current(struct tls_server *server)
{
	struct tls_set *set;

	pthread_mutex_lock(&server->shared.lock);
	set = server->shared.set;
	if (set)
		atomic_fetch_add(&set->shared.refs, 1);
	pthread_mutex_unlock(&server->shared.lock);
	return set;
}

void tls_server_tell(struct tls_server *server, void (*tell)(void *user, const struct tls_certificate *c), void *user)
{
	struct tls_set *set = current(server);

	for (size_t i = 0; set && i < set->n; i++)
		tell(user, &(struct tls_certificate){ set->cert[i].file, set->cert[i].names, set->cert[i].not_before,
						      set->cert[i].not_after });
	set_unref(set);
}

/* ---- streams: life ----------------------------------------------------------------------------------------------- */

void tls_buffers_free(struct tls_buffers *b)
{
	mem_free(b);
}

static int lend_buffers(struct loop *l)
{
	if (!l->tls && (l->tls = mem_alloc(sizeof *l->tls)))
		l->tls->out_len = 0;
	return l->tls ? 0 : -ENOMEM;
}

void tls_free(struct tls *t)
{
	if (!t)
		return;
	ERR_clear_error();
	SSL_free(t->ssl);
	set_unref(t->set);
	mem_free(t->pending);
	mem_free(t);
}

static int make_ssl(struct tls *t)
{
	BIO *bio;

	ERR_clear_error();
	t->ssl = SSL_new(t->set->cert[0].ctx);
	bio = t->ssl ? BIO_new(t->set->method) : NULL;
	if (!bio || SSL_set_app_data(t->ssl, t) != 1) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
	SSL_set_accept_state(t->ssl);
	return 0;
}

/* Sorts out why a call of OpenSSL did not succeed: more bytes are needed, the peer has ended, or TLS has failed. */
static void read_failure(struct tls *t, int result)
{
	unsigned long e = ERR_peek_error();

	switch (SSL_get_error(t->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		break;
	case SSL_ERROR_ZERO_RETURN: /* close_notify */
		t->ended = true;
		break;
	default:
		(void)fail(t, ERR_GET_REASON(e) == ERR_R_MALLOC_FAILURE ? ENOMEM : EPROTO,
			   ERR_reason_error_string(e) ? ERR_reason_error_string(e) : "the record layer has failed");
		ERR_clear_error(); /* the thread may belong to the program, whose own TLS reads the same error queue */
	}
}

/* Decrypts all of t->raw into the loop's buffer. Returns the number of bytes. */
static size_t decrypt(struct tls *t)
{
	struct tls_buffers *b = t->s->loop->tls;
	size_t got = 0, n = 0;
	int r;

	t->s->loop->steps += !t->settled;
	t->updates = 0;
	do {
		ERR_clear_error();
		r = SSL_read_ex(t->ssl, b->plain + got, sizeof b->plain - got, &n);
		if (r > 0)
			got += n;
	} while (r > 0 && got < sizeof b->plain);
	if (r <= 0)
		read_failure(t, r);
	t->raw = bytes_of(NULL, 0);
	if (!t->settled && SSL_is_init_finished(t->ssl)) {
		t->settled = true;
		counter_add(&t->s->loop->tls_ok, 1);
	}
	(void)push(t);
	return got;
}

/* RFC 8446 §5.1: type, version (3 and any), length. */
bool tls_first_whole(struct bytes first)
{
	size_t len;

	if (first.len < 5)
		return first.len >= 2 && first.at[1] != 3;
	len = (size_t)first.at[3] << 8 | first.at[4];
	return first.at[1] != 3 || len > TLS_RECORD_BYTES || first.len >= 5 + len;
}

int stream_secure(struct stream *s, struct tls_server *server, uint64_t now_ms, struct bytes first)
{
	struct tls *t = lend_buffers(s->loop) == 0 ? mem_zalloc(sizeof *t) : NULL;

	if (!t)
		return -ENOMEM;
	rotate(server, now_ms);
	t->s = s;
	t->set = current(server);
	if (!t->set || make_ssl(t) < 0) {
		tls_free(t);
		return -ENOMEM;
	}
	s->tls = t;
	t->raw = first;
	/* Bytes that a client sends before our first answer cannot be application data. */
	if (decrypt(t) > 0)
		return fail(t, EPROTO, "data before the handshake");
	return t->ended ? -(t->error ? t->error : EPROTO) : 0;
}

bool stream_holds(const struct stream *s)
{
	return s->tls && s->tls->pending;
}

const char *stream_tls_fault(const struct stream *s)
{
	return s->tls && s->tls->fault ? s->tls->fault : "";
}

struct tls *stream_take_tls(struct stream *s)
{
	struct tls *t = s->tls;

	s->tls = NULL;
	return t;
}

int stream_give_tls(struct stream *s, struct tls *t)
{
	s->tls = t;
	if (!t)
		return 0;
	t->s = s;
	if (t->pending)
		s->src.flags |= STREAM_BLOCKED;
	if (t->ended)
		s->src.flags |= STREAM_READABLE;
	if (lend_buffers(s->loop) < 0)
		return fail(t, ENOMEM, "out of memory"); /* without buffers not even close_notify can be sent */
	return 0;
}

/* ---- streams: receiving ------------------------------------------------------------------------------------------ */

bool tls_tell_end(struct stream *s)
{
	if (!s->tls->ended)
		return false;
	s->src.flags &= (uint8_t)~STREAM_READABLE;
	s->loop->ops->on_end(s, s->tls->error);
	return true;
}

void tls_feed(struct stream *s, const uint8_t *data, size_t len)
{
	struct tls *t = s->tls;
	size_t got;

	t->raw = bytes_of(data, len);
	got = decrypt(t);
	/* The callback may close the stream or move it to another loop: use @t only when it still belongs to @s. */
	if (got)
		s->loop->ops->on_data(s, s->loop->tls->plain, got);
	if (s->src.fd < 0 || s->tls != t || !t->ended)
		return;
	if (stream_paused(s))
		s->src.flags |= STREAM_READABLE; /* on_end is called when the stream is resumed */
	else
		(void)tls_tell_end(s);
}

/* ---- streams: sending -------------------------------------------------------------------------------------------- */

/* False: the socket is still full, or broken. */
static bool flush(struct tls *t)
{
	ptrdiff_t n;

	if (!t->pending)
		return !t->error;
	n = put(t, t->pending + t->pending_sent, t->pending_len - t->pending_sent);
	if (n < 0)
		return false;
	t->pending_sent += (uint32_t)n;
	if (t->pending_sent < t->pending_len)
		return false;
	mem_free(t->pending);
	t->pending = NULL;
	t->pending_len = t->pending_sent = 0;
	return true;
}

/* The bytes of the next record, from byte @from of the first segment: a view of that segment, or a gathered copy. */
static struct bytes next_record(struct loop *l, const struct iovec *segment, int n, size_t from)
{
	uint8_t *end = l->tls->gather;
	size_t room = TLS_RECORD_BYTES;

	if (n == 1 || segment[0].iov_len - from >= room) {
		size_t len = segment[0].iov_len - from;

		return bytes_of((const uint8_t *)segment[0].iov_base + from, len < room ? len : room);
	}
	for (int i = 0; i < n && room; i++, from = 0) {
		size_t len = segment[i].iov_len - from;

		len = len < room ? len : room;
		if (len)
			memcpy(end, (const uint8_t *)segment[i].iov_base + from, len);
		end += len;
		room -= len;
	}
	return bytes_of(l->tls->gather, (size_t)(end - l->tls->gather));
}

ptrdiff_t tls_send(struct stream *s, const struct iovec *segment, int n)
{
	struct tls *t = s->tls;
	size_t taken = 0, from = 0, wrote;

	if (s->src.fd < 0 || t->shut || !t->settled)
		return -EPIPE;
	while (!t->error && flush(t)) {
		struct bytes record;
		int r;

		for (; n > 0 && from >= segment[0].iov_len; segment++, n--)
			from -= segment[0].iov_len;
		if (n <= 0)
			break;
		record = next_record(s->loop, segment, n, from);
		ERR_clear_error();
		r = SSL_write_ex(t->ssl, record.at, record.len, &wrote);
		if (r <= 0) {
			read_failure(t, r);
			return fail(t, EPROTO, "TLS cannot write any more");
		}
		taken += wrote;
		from += wrote;
		(void)push(t);
	}
	return t->error ? -t->error : (ptrdiff_t)taken;
}

/* Everything is sent: sends close_notify (RFC 8446 §6.1) and then the end of the connection. */
static void finish(struct tls *t)
{
	if (!t->notified) {
		t->notified = true;
		ERR_clear_error();
		if (t->settled && !t->error)
			(void)SSL_shutdown(t->ssl); /* once: we do not wait for the answer */
		else
			t->ended = true; /* a handshake that continues would make us write after our end */
		(void)push(t);
	}
	if (!t->pending)
		(void)shutdown(t->s->src.fd, SHUT_WR);
}

bool tls_flush(struct stream *s)
{
	struct tls *t = s->tls;

	if (!flush(t))
		return t->error != 0; /* broken: the owner's next send fails, or on_end is called */
	if (t->shut)
		finish(t);
	return !t->pending;
}

void tls_shutdown(struct stream *s)
{
	s->tls->shut = true;
	if (!s->tls->pending)
		finish(s->tls);
}

void tls_close(struct stream *s)
{
	struct tls *t = s->tls;

	if (!t->settled)
		counter_add(&s->loop->tls_failed, 1);
	if (!t->pending && !t->error && !t->notified && t->settled)
		finish(t);
	s->tls = NULL;
	tls_free(t);
}
