/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secure: a client's end of TLS: OpenSSL between two buffers, one of ciphertext for the wire, one of plain bytes to
 * send. All random bytes of OpenSSL, on both ends, come from one seed. It refuses bytes that break the protocol; the
 * harness decides whether the peer was allowed to break it.
 */
#ifndef WSC_TESTS_FUZZ_CONNECTION_SECURE_H
#define WSC_TESTS_FUZZ_CONNECTION_SECURE_H

#include "base/buf.h"

enum secure_how {
	SECURE_ONLY_1_2 = 1,
	SECURE_RESUME = 2,      /* with the last ticket that a client got */
	SECURE_HTTP = 4,        /* it offers HTTP/1.1 */
	SECURE_H2 = 8,          /* or HTTP/2 */
	SECURE_OTHER_GROUP = 16 /* the server must ask for another key share than its first */
};

/* The server's certificates; a client tells them apart. */
enum secure_identity { SECURE_ANN, SECURE_BOB, SECURE_IDENTITIES, SECURE_BROKEN = SECURE_IDENTITIES };

struct secure {
	struct ssl_st *ssl;
	struct buf wire;   /* for the server */
	struct buf unsaid; /* plain text that waits for the end of the handshake */
	bool shaken;       /* the handshake is over for this end */
	bool resumed, asked_to_resume;
	bool notified;   /* close_notify has come */
	bool alerted;    /* a fatal alert has come */
	const char *why; /* the server's fault, "" when there was none */
	unsigned tickets;
};

/* Before each run; forgets the ticket. */
void secure_boot(uint64_t seed);
/* Paths of the files that tls.certificate and tls.key name, and their content. */
const char *secure_certificate(void);
const char *secure_key(void);
void secure_install(enum secure_identity who);

struct secure *secure_new(unsigned how);
void secure_free(struct secure *s);
void secure_write(struct secure *s, struct bytes plain);
/* Reads @wire and appends the decrypted bytes to @plain. Aborts at any bytes behind close_notify. */
void secure_read(struct secure *s, struct bytes wire, struct buf *plain);
void secure_goodbye(struct secure *s);
/* Changes the key for sending and asks the other side to do the same. TLS 1.3 alone: else false. */
bool secure_update(struct secure *s);
bool secure_is_1_3(const struct secure *s);
/* Has the server shown this certificate? */
bool secure_saw(const struct secure *s, enum secure_identity who);

#endif
