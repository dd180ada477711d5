/* SPDX-License-Identifier: Apache-2.0 */
/* pages: the files of web/: the API documents for everybody, the first page on loopback only. */
#include "api/assets.h"
#include "http/answer.h"
#include "http/gate.h"
#include "http/serve.h"

void serve_asset(struct conn *c)
{
	const struct web_asset *a = http_of(c)->route->target;
	struct http1_out_field fields[8];
	size_t n = http_cors(c, fields);

	fields[n++] = (struct http1_out_field){ "Cache-Control", BYTES("no-cache") };
	fields[n++] = (struct http1_out_field){ "X-Content-Type-Options", BYTES("nosniff") };
	fields[n++] = (struct http1_out_field){
		"Content-Security-Policy",
		BYTES("default-src 'self'; connect-src 'self' ws: wss:; frame-ancestors 'none'")
	};
	http_answer(c, 200, a->type, bytes_of(a->at, a->len), fields, n);
}

void serve_local_asset(struct conn *c)
{
	if (gate_on_loopback(c))
		serve_asset(c);
	else
		http_refuse(c, END_NOT_LOCAL);
}
