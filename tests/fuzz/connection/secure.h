/* SPDX-License-Identifier: Apache-2.0 */
/*
 * secure: a client's end of TLS: OpenSSL between two buffers, one of ciphertext for the wire, one of what is to be said.
 * All that OpenSSL draws by chance, on both ends, comes from one seed. It refuses what breaks the protocol; what a broken
 * peer means is left to whoever uses it.
 */
#ifndef WSC_TESTS_FUZZ_CONNECTION_SECURE_H
#define WSC_TESTS_FUZZ_CONNECTION_SECURE_H

#include "base/buf.h"

enum secure_how {
	SECURE_ONLY_1_2 = 1,
	SECURE_RESUME = 2,      /* with the last ticket that anybody got */
	SECURE_HTTP = 4,        /* it says that it speaks HTTP/1.1 */
	SECURE_H2 = 8,          /* or HTTP/2 */
	SECURE_OTHER_GROUP = 16 /* its first key share is one that must be asked for again */
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
	const char *why; /* what was wrong with the server, "" when nothing was */
	unsigned tickets;
};

/* Before each run; forgets the ticket. */
void secure_boot(uint64_t seed);
/* Paths of the files that tls.certificate and tls.key name, and what is in them. */
const char *secure_certificate(void);
const char *secure_key(void);
void secure_install(enum secure_identity who);

struct secure *secure_new(unsigned how);
void secure_free(struct secure *s);
void secure_write(struct secure *s, struct bytes plain);
/* What has come, @plain gets what was said. Aborts at anything behind close_notify. */
void secure_read(struct secure *s, struct bytes wire, struct buf *plain);
void secure_goodbye(struct secure *s);
/* New keys for what it says, and asks for the same of the other side. TLS 1.3 alone: else false. */
bool secure_update(struct secure *s);
bool secure_is_1_3(const struct secure *s);
/* Is it this certificate that the server has shown? */
bool secure_saw(const struct secure *s, enum secure_identity who);

#endif
