/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: TLS 1.2 and 1.3 on a stream (RFC 8446, RFC 5246), server side. OpenSSL is seen by tls.c alone.
 *
 * What always holds: a stream takes plain bytes and says how many it accepted; it accepts none while ciphertext waits, and
 * at most one record of 16 KiB waits (and the few bytes that the protocol itself owes). Bytes reach OpenSSL as a view of what
 * the loop has read and leave it into a buffer of the loop: there is no memory BIO, and an idle stream holds no buffer.
 * All that one recv has brought is one on_data. No session is kept on the server; tickets carry them.
 */
#ifndef WSC_NET_TLS_H
#define WSC_NET_TLS_H

#include "net/loop.h"

#define TLS_RECORD_BYTES 16384u /* plain bytes of one record, RFC 8446 §5.1 */
#define TLS_WHY_MAX 512
#define TLS_FIRST_BYTE 0x16 /* of a ClientHello's record; no HTTP request begins so */

/* ---- what all loops share ----------------------------------------------------------------------------------------- */

/* The certificates in use and the keys of the tickets. Any thread. */
struct tls_server;

/* PEM files, borrowed: a certificate with its chain behind it, and its key. */
struct tls_files {
	const char *certificate, *key;
};

struct tls_options {
	const struct tls_files
		*files; /* the first is for clients that ask for a name that no certificate has, or for none */
	size_t n;
	bool only_1_3;
};

/* One certificate, for people. Borrowed. */
struct tls_certificate {
	const char *file;
	const char *names;             /* "a.example, *.b.example", cut when there are very many */
	int64_t not_before, not_after; /* seconds since 1970 */
};

/* @rotation_ms: after this long a new key encrypts the tickets; the one before is good for as long again. NULL: no memory. */
struct tls_server *tls_server_new(uint64_t rotation_ms);
/* No stream may use it any more. NULL is fine. */
void tls_server_free(struct tls_server *server);
/*
 * Reads all files anew. Streams that come from now on get these certificates, the others keep theirs. Reads files: not on a
 * worker's thread. 0; -EINVAL, -ENOMEM: @why says which file and what to do, and the former certificates stay.
 */
int tls_server_load(struct tls_server *server, const struct tls_options *o, char why[TLS_WHY_MAX]);
/* Calls @tell for each certificate in use. */
void tls_server_tell(struct tls_server *server, void (*tell)(void *user, const struct tls_certificate *c), void *user);

/* ---- streams ------------------------------------------------------------------------------------------------------- */

/*
 * Is the first record of a client whole, or can it never be one? Before that nothing needs to be made for it: who stalls within
 * a ClientHello costs what has come of it.
 */
bool tls_first_whole(struct bytes first);
/*
 * From here on @s speaks TLS; what it was sent so far is @first. It counts for the client's very first bytes: nothing that was
 * taken as plain text before is meant for what comes out of it. on_data, on_end, stream_send() and the rest are as before,
 * in plain text; nothing is taken before the first on_data. 0; -ENOMEM; -EPROTO: this is no beginning of TLS, close it.
 */
int stream_secure(struct stream *s, struct tls_server *server, uint64_t now_ms, struct bytes first);
static inline bool stream_is_secure(const struct stream *s)
{
	return s->tls != NULL;
}
/* Does ciphertext of accepted bytes wait for the socket? Then on_writable comes; closing now would cut them off. */
bool stream_holds(const struct stream *s);
/* What was wrong with the peer's TLS, "" when nothing was. Static. */
const char *stream_tls_fault(const struct stream *s);
/*
 * Moving to another loop: taken before stream_detach(), given after stream_open(); once given it is the stream's, also when
 * that fails (-ENOMEM). NULL for a stream without TLS.
 */
struct tls *stream_take_tls(struct stream *s);
int stream_give_tls(struct stream *s, struct tls *tls);
/* Frees what was taken and has no stream to go to. */
void tls_free(struct tls *tls);

/* ---- for loop.c ---------------------------------------------------------------------------------------------------- */

/* The lent buffers of a loop. */
struct tls_buffers;
void tls_buffers_free(struct tls_buffers *b);
/* @data has been read: plain text and the end are told. */
void tls_feed(struct stream *s, const uint8_t *data, size_t len);
/* Has the peer's end been seen already while the stream was paused? It is told now. */
bool tls_tell_end(struct stream *s);
ptrdiff_t tls_send(struct stream *s, const struct iovec *piece, int n);
/* The socket takes bytes again. False: and is full again. */
bool tls_flush(struct stream *s);
void tls_shutdown(struct stream *s);
/* Before its descriptor is closed: says goodbye if that can be said at once, and frees all. */
void tls_close(struct stream *s);

#endif
