/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls: TLS 1.2 and 1.3 on a stream (RFC 8446, RFC 5246), server side. Only tls.c uses OpenSSL.
 *
 * Always true: a stream is offered plain bytes and returns how many it accepted; it accepts none while ciphertext
 * waits, and at most one record of 16 KiB waits (and the few bytes that the protocol itself must send). OpenSSL reads
 * from the receive buffer of the loop and writes into a buffer of the loop: there is no memory BIO, and an idle stream
 * holds no buffer. All bytes of one recv become one on_data. The server stores no TLS sessions; the tickets contain
 * them.
 */
#ifndef WSC_NET_TLS_H
#define WSC_NET_TLS_H

#include "net/loop.h"

#define TLS_RECORD_BYTES 16384u /* plain bytes of one record, RFC 8446 §5.1 */
#define TLS_WHY_MAX 512
#define TLS_FIRST_BYTE 0x16 /* of a ClientHello's record; no HTTP request begins with it */

/* ---- shared by all loops ----------------------------------------------------------------------------------------- */

/* The certificates in use and the keys of the tickets. Any thread. */
struct tls_server;

/* PEM files, borrowed: a certificate followed by its chain, and its key. */
struct tls_files {
	const char *certificate, *key;
};

struct tls_options {
	/* The first is also for clients that ask for no name, or for a name that no certificate has. */
	const struct tls_files *files;
	size_t n;
	bool only_1_3;
};

/* One certificate, for the log. Borrowed. */
struct tls_certificate {
	const char *file;
	const char *names;             /* "a.example, *.b.example", cut when there are too many */
	int64_t not_before, not_after; /* seconds since 1970 */
};

/*
 * Every @rotation_ms a new key encrypts the tickets; the key before it decrypts for @rotation_ms more. NULL: no memory.
 */
struct tls_server *tls_server_new(uint64_t rotation_ms);
/* No stream may use @server any more. NULL is allowed. */
void tls_server_free(struct tls_server *server);
/*
 * Reads all files again. New streams get these certificates, the others keep theirs. Do not call it on a worker's
 * thread, because it reads files. 0; -EINVAL, -ENOMEM: @why names the file and what to do, and the former certificates
 * stay.
 */
int tls_server_load(struct tls_server *server, const struct tls_options *o, char why[TLS_WHY_MAX]);
/* Calls @tell for each certificate in use. */
void tls_server_tell(struct tls_server *server, void (*tell)(void *user, const struct tls_certificate *c), void *user);

/* ---- streams ----------------------------------------------------------------------------------------------------- */

/*
 * Is the first record of a client complete, or can it never be valid? Call stream_secure() only then, so that a client
 * that stalls within its ClientHello costs no more than the bytes it has sent.
 */
bool tls_first_whole(struct bytes first);
/*
 * From now on @s uses TLS; @first is what the client has sent so far. @first must begin with the client's very first
 * byte: nothing that was read as plain text before belongs to what TLS decrypts. on_data, on_end, stream_send() and the
 * other functions work as before, with plain text; stream_send() accepts nothing before the first on_data. 0; -ENOMEM;
 * -EPROTO: this is no beginning of TLS, close the stream.
 */
int stream_secure(struct stream *s, struct tls_server *server, uint64_t now_ms, struct bytes first);
static inline bool stream_is_secure(const struct stream *s)
{
	return s->tls != NULL;
}
/* Does ciphertext of accepted bytes wait for the socket? Closing now would lose it; on_writable is called later. */
bool stream_holds(const struct stream *s);
/* The fault of the peer's TLS, "" when there was none. Static. */
const char *stream_tls_fault(const struct stream *s);
/*
 * To move a stream to another loop: take the TLS state before stream_detach() and give it after stream_open(). The
 * stream owns it then, also when giving fails (-ENOMEM). NULL for a stream without TLS.
 */
struct tls *stream_take_tls(struct stream *s);
int stream_give_tls(struct stream *s, struct tls *tls);
/* Frees a TLS state that was taken and was not given to a stream. */
void tls_free(struct tls *tls);

/* ---- for loop.c -------------------------------------------------------------------------------------------------- */

/* The buffers of a loop that its TLS streams share. */
struct tls_buffers;
void tls_buffers_free(struct tls_buffers *b);
/* Decrypts @data, which was read, and calls on_data and on_end. */
void tls_feed(struct stream *s, const uint8_t *data, size_t len);
/* Calls on_end and returns true when the peer ended TLS while the stream was paused. */
bool tls_tell_end(struct stream *s);
ptrdiff_t tls_send(struct stream *s, const struct iovec *segment, int n);
/* Call it when the socket has room again. False: the socket is full again. */
bool tls_flush(struct stream *s);
void tls_shutdown(struct stream *s);
/* Call it before the descriptor is closed: sends close_notify if that needs no waiting, and frees the TLS state. */
void tls_close(struct stream *s);

#endif
