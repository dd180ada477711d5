/* SPDX-License-Identifier: Apache-2.0 */
/* own_routes: routes that the program has mounted (wsc_route()): its handler fills in an answer, at once. */
#include "base/mem.h"
#include "hook/request.h"
#include "http/answer.h"
#include "http/serve.h"
#include "wsc/error.h"

struct wsc_response {
	int status;
	struct buf body, fields, type;
	bool given;
};

/* The gateway writes the fields that say where an answer ends: two of them would be two answers to some reader. */
static bool is_ours(struct bytes name)
{
	return bytes_eq_nocase(name, BYTES("content-length")) || bytes_eq_nocase(name, BYTES("content-type")) ||
	       bytes_eq_nocase(name, BYTES("transfer-encoding")) || bytes_eq_nocase(name, BYTES("connection"));
}

int wsc_response_header(struct wsc_response *r, const char *name, const char *value)
{
	if (!name || !value || !http1_token_valid(bytes_str(name)) || is_ours(bytes_str(name)) ||
	    !http1_value_valid(bytes_str(value)))
		return -WSC_EINVAL;
	buf_add(&r->fields, bytes_of(name, strlen(name) + 1));
	buf_add(&r->fields, bytes_of(value, strlen(value) + 1));
	return r->fields.failed ? -WSC_ENOMEM : 0;
}

void wsc_respond(struct wsc_response *r, int status, const char *content_type, const void *body, size_t len)
{
	if (r->given)
		return;
	r->given = true;
	r->status = status;
	buf_add_str(&r->type, content_type ? content_type : JSON_TYPE);
	buf_add_u8(&r->type, 0);
	if (len)
		buf_add(&r->body, bytes_of(body, len));
}

static void answer_program(struct conn *c, struct wsc_response *r)
{
	struct http1_out_field fields[20];
	size_t n = http_cors(c, fields);
	const char *at = (const char *)r->fields.at, *end = at + r->fields.len;

	while (at < end && n < 20) {
		const char *value = at + strlen(at) + 1;

		fields[n++] = (struct http1_out_field){ at, bytes_str(value) };
		at = value + strlen(value) + 1;
	}
	if (!r->given || r->status < 200 || r->status > 599 ||
	    !http1_value_valid(bytes_str((const char *)r->type.at)) || r->body.failed || r->fields.failed ||
	    r->type.failed)
		http_refuse(c, END_BAD_HANDLER);
	else
		http_answer(c, (uint16_t)r->status, (const char *)r->type.at, buf_bytes(&r->body), fields, n);
}

void serve_program(struct conn *c)
{
	struct http_conn *h = http_of(c);
	struct wsc_response r = { 0 };
	struct wsc_request req;
	wsc_handler_fn *handler;

	buf_add_u8(&h->body, 0); /* so that a handler may treat it as text */
	if (h->body.failed ||
	    request_init(&req, &h->head, h->path, bytes_of(h->body.at, h->body.len - 1), &h->client) < 0) {
		http_refuse(c, END_NO_MEMORY);
		return;
	}
	memcpy(&handler, &h->route->target, sizeof handler);
	handler(h->route->user, &req, &r);
	request_deinit(&req);
	answer_program(c, &r);
	buf_deinit(&r.body);
	buf_deinit(&r.fields);
	buf_deinit(&r.type);
}
