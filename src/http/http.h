/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http: a connection that speaks HTTP/1.1: one request at a time, answers in order; pipelined requests wait. A head stays
 * unchanged in its buffer while its request is served. Anything ambiguous is answered 400 and ends the connection, and the
 * peer gets the time to read the answer (RFC 9112 §9.6).
 */
#ifndef WSC_HTTP_HTTP_H
#define WSC_HTTP_HTTP_H

#include "http/http_conn.h"

extern const struct conn_kind http_kind;

/* A new HTTP connection on @fd, which it takes also when this fails (NULL). @only_tls: its port accepts TLS only. */
struct conn *http_accept(struct shard *sh, int fd, const struct ip *peer, bool only_tls);
/*
 * Serves what was received until a request must wait or more bytes must come, and sends the answers. Called behind every
 * event of the connection and behind every late answer; harmless when there is nothing to do.
 */
void http_run(struct conn *c);

#endif
