/* SPDX-License-Identifier: Apache-2.0 */
/* answer: see answer.h. */
#include "http/answer.h"

#include "api/answer.h"
#include "http/gate.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

void http_arm(struct conn *c, uint64_t in_ms)
{
	struct shard *sh = conn_shard(c);

	http_of(c)->deadline_ms = now_ms(sh->now) + in_ms;
	timers_arm(&sh->timers, &c->timer, earlier(http_of(c)->deadline_ms, conn_stall_due(c)));
}

/* Ready for the next request; the memory of this one is freed. */
static void next_request(struct conn *c)
{
	struct http_conn *h = http_of(c);

	buf_deinit(&h->in);
	buf_deinit(&h->body);
	buf_deinit(&h->path_text);
	buf_deinit(&h->sent.id);
	buf_deinit(&h->sent.to);
	buf_deinit(&h->sent.type);
	http1_parser_init(&h->parser);
	h->route = NULL;
	h->client = h->peer;
	http_move(h, HTTP_HEAD);
	http_arm(c, HTTP_IDLE_MS);
	conn_resume(c);
}

static void last_answer(struct conn *c)
{
	http_move(http_of(c), HTTP_LAST);
	http_arm(c, HTTP_IDLE_MS);
}

void http_answer_head(struct conn *c, const struct http1_out_field *fields, size_t nfields)
{
	struct http_conn *h = http_of(c);

	h->keep_alive = false;
	if (http1_write_head(&h->out, 200, fields, nfields) != 0 || h->out.failed) {
		http_over(c, WS_CODE_INTERNAL, false);
		return;
	}
	http_count_request(conn_shard(c), h->route, 200);
	last_answer(c);
}

void http_answer(struct conn *c, uint16_t status, const char *type, struct bytes body,
		 const struct http1_out_field *fields, size_t nfields)
{
	struct http_conn *h = http_of(c);
	struct http1_response r = { .status = status,
				    .keep_alive = h->keep_alive &= !conn_shard(c)->draining,
				    .content_type = type,
				    .body = body,
				    .fields = fields,
				    .nfields = nfields,
				    .head_only = h->state > HTTP_HEAD && h->head.method == HTTP1_HEAD };

	if (http1_write_response(&h->out, &r) != 0 || h->out.failed) {
		http_over(c, WS_CODE_INTERNAL, false);
		return;
	}
	http_count_request(conn_shard(c), h->route, status);
	if (h->keep_alive)
		next_request(c);
	else
		last_answer(c);
}

size_t http_cors(const struct conn *c, struct http1_out_field *out)
{
	struct bytes origin = http1_header(&http_of(c)->head, BYTES("origin"));

	if (!origin.len || !gate_origin_ok(c)) {
		out[0] = (struct http1_out_field){ "Vary", BYTES("Origin") };
		return 1;
	}
	out[0] = (struct http1_out_field){ "Access-Control-Allow-Origin", origin };
	out[1] = (struct http1_out_field){ "Access-Control-Expose-Headers",
					   BYTES("X-WSC-Client-ID, X-WSC-Node-ID, Retry-After") };
	out[2] = (struct http1_out_field){ "Vary", BYTES("Origin") };
	return 3;
}

void http_refuse_as(struct conn *c, uint16_t status, enum api_code code, struct bytes why,
		    const struct http1_out_field *more)
{
	struct http1_out_field fields[8];
	struct buf body = BUF_INIT;
	size_t n = 0;

	if (http_of(c)->state > HTTP_HEAD) /* else there is no request that could have an Origin */
		n = http_cors(c, fields);
	if (more && more->name)
		fields[n++] = *more;
	status = status ? status : api_code_status(code);
	if (status == 503)
		fields[n++] = (struct http1_out_field){ "Retry-After", BYTES("1") };
	if (status == 426) /* RFC 9110 §15.5.22 */
		fields[n++] = (struct http1_out_field){ "Upgrade", BYTES("websocket") };
	if (conn_shard(c)->set->log.level == LOG_DEBUG) {
		char address[IP_TEXT_MAX];

		ip_format(&http_of(c)->client, address);
		log_debug(&conn_shard(c)->set->log, "request refused", KV_STR("address", address),
			  KV_U64("status", status), KV_STR("code", api_code_text(code)), KV_BYTES("why", why));
	}
	answer_failure(&body, code, why);
	http_answer(c, status, JSON_TYPE, buf_bytes(&body), fields, n);
	buf_deinit(&body);
}

void http_refuse(struct conn *c, enum end e)
{
	http_refuse_as(c, 0, end_code(e), bytes_str(end_why(e)), NULL);
}

void http_refuse_of(struct conn *c, enum end e, struct bytes value)
{
	char why[END_WHY_MAX];

	http_refuse_as(c, 0, end_code(e), end_why_of(e, value, why), NULL);
}

void http_reject(struct conn *c, const struct http1_error *e)
{
	http_of(c)->keep_alive = false;
	http_refuse_as(c, e->status, api_code_of_status(e->status), bytes_str(e->why), NULL);
}

void http_answer_json(struct conn *c, struct buf *body)
{
	struct http1_out_field fields[4];

	if (body->failed)
		http_refuse(c, END_NO_MEMORY);
	else
		http_answer(c, 200, JSON_TYPE, buf_bytes(body), fields, http_cors(c, fields));
	buf_deinit(body);
}
