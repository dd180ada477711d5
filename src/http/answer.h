/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer: writes the answer to the request that is being served. It is sent when http_run() ends; code that answers later,
 * from a hook or an outcome, calls http_run() behind it.
 */
#ifndef WSC_HTTP_ANSWER_H
#define WSC_HTTP_ANSWER_H

#include "http/http_conn.h"

/* Answers with a body; @fields are further fields. Then comes the next request, or the end. */
void http_answer(struct conn *c, uint16_t status, const char *type, struct bytes body,
		 const struct http1_out_field *fields, size_t nfields);
/* 200 with the JSON of @body and the CORS fields; frees @body. */
void http_answer_json(struct conn *c, struct buf *body);
/* The answer to HEAD of a stream: 200 with exactly @fields and no length; the connection ends, as a stream would. */
void http_answer_head(struct conn *c, const struct http1_out_field *fields, size_t nfields);
void http_refuse(struct conn *c, enum end e);
/* The same; @value stands in the sentence of @e. */
void http_refuse_of(struct conn *c, enum end e, struct bytes value);
/*
 * A refusal whose sentence is a hook's, a codec's or a submission's, with @status (0: the code's own); @more: a further
 * field, or NULL.
 */
void http_refuse_as(struct conn *c, uint16_t status, enum api_code code, struct bytes why,
		    const struct http1_out_field *more);
/* A request that the codec does not accept: answered, and the connection ends (docs/http-api.md: 400 and close). */
void http_reject(struct conn *c, const struct http1_error *e);
/* The CORS fields for an allowed Origin; returns how many were written to @out (room for 4). */
size_t http_cors(const struct conn *c, struct http1_out_field *out);
/* Sets the connection's timer to @in_ms from now, or to its stall if that is earlier. */
void http_arm(struct conn *c, uint64_t in_ms);

#define HTTP_IDLE_MS 75000u /* a kept-alive connection without a request */

#endif
