/* SPDX-License-Identifier: Apache-2.0 */
/* upgrade: see upgrade.h. */
#include "http/upgrade.h"

#include <stdio.h>
#include "http/answer.h"
#include "transport/sse.h"
#include "transport/ws.h"

/* Well below EVICTED_MS: a stream that was replaced comes back after this and its way, and must still find its 204. */
#define RETRY_BASE_MS 2000u
#define RETRY_JITTER_MS 2000u

size_t stream_fields(const struct conn *c, struct http1_out_field f[STREAM_FIELDS])
{
	size_t n = 0;

	f[n++] = (struct http1_out_field){ "Content-Type", BYTES(SSE_CONTENT_TYPE) };
	f[n++] = (struct http1_out_field){ "Cache-Control", BYTES("no-store") };
	f[n++] = (struct http1_out_field){ "X-Accel-Buffering", BYTES("no") };
	f[n++] = (struct http1_out_field){ "Connection", BYTES("close") };
	return n + http_cors(c, f + n);
}

/* Appends the head of a 101 or of a stream to @out. */
static int write_head(struct conn *c, struct buf *out)
{
	struct http_conn *h = http_of(c);
	struct opening *o = h->open;
	struct settings *set = conn_shard(c)->set;
	struct http1_out_field f[16];
	char id[CLIENT_ID_TEXT], answer[WS_DEFLATE_ANSWER_MAX];
	struct bytes extension = { 0 };
	size_t n = 0;

	client_id_text(c, id);
	f[n++] = (struct http1_out_field){ "X-WSC-Client-ID", bytes_str(id) };
	f[n++] = (struct http1_out_field){ "X-WSC-Node-ID", bytes_str(set->node_id) };
	if (o->transport == HUB_WEBSOCKET) {
		f[n++] = (struct http1_out_field){ "Upgrade", BYTES("websocket") };
		f[n++] = (struct http1_out_field){ "Connection", BYTES("Upgrade") };
		f[n++] = (struct http1_out_field){ "Sec-WebSocket-Accept", bytes_of(o->accept, sizeof o->accept) };
		/* A client that is refused by close code has no session any more. */
		if (c->session.state != SESSION_NONE)
			extension = deflate_agree(c, &h->head, answer);
		if (extension.len)
			f[n++] = (struct http1_out_field){ "Sec-WebSocket-Extensions", extension };
		if (o->wsc_v1)
			f[n++] = (struct http1_out_field){ "Sec-WebSocket-Protocol", BYTES(WS_SUBPROTOCOL) };
	} else {
		n += stream_fields(c, f + n);
	}
	return http1_write_head(out, o->transport == HUB_WEBSOCKET ? 101 : 200, f, n);
}

struct buf upgrade(struct conn *c, bool *ok)
{
	struct http_conn *h = http_of(c);
	struct shard *sh = conn_shard(c);
	struct buf next = h->next, out = h->out;
	size_t sent = h->out_sent;
	enum hub_transport transport = h->open->transport;
	const struct route *route = h->route;
	uint8_t retry[SSE_RETRY_MAX];

	*ok = write_head(c, &out) == 0;
	if (transport == HUB_SSE)
		buf_add(&out,
			bytes_of(retry, sse_write_retry(retry, RETRY_BASE_MS + (uint32_t)rng_below(&sh->rng,
												   RETRY_JITTER_MS))));
	h->next = h->out = BUF_INIT;
	http_conn_free(h);
	c->at.extra = NULL;
	c->kind = transport == HUB_WEBSOCKET ? CONN_WS : CONN_SSE;
	*ok = *ok && !out.failed && conn_extra(c);
	if (*ok) {
		http_count_request(sh, route, transport == HUB_WEBSOCKET ? 101 : 200);
		c->at.extra->ctl = out;
		c->at.extra->ctl_sent = sent;
	} else {
		buf_deinit(&out);
	}
	return next;
}

enum open_step open_refuse_by_close(struct conn *c, enum api_code code, struct bytes why)
{
	uint8_t frame[WS_CONTROL_FRAME_MAX];
	bool ok;
	struct buf next = upgrade(c, &ok);

	buf_deinit(&next);
	http_count_refused(c, code);
	if (!ok) {
		conn_end(c, WS_CODE_INTERNAL, false);
		return OPEN_OVER;
	}
	ws_decoder_init(&c->u.ws, false);
	buf_add(&c->at.extra->ctl, bytes_of(frame, ws_close(frame, api_code_close(code), why)));
	c->close_queued = true;
	conn_closing(c);
	conn_resume(c);
	conn_flush(c);
	return OPEN_OVER;
}

static enum open_step refuse(struct conn *c, uint16_t status, enum api_code code, struct bytes why, unsigned retry_s)
{
	struct http_conn *h = http_of(c);
	char text[16];
	int n = snprintf(text, sizeof text, "%u", retry_s);
	struct http1_out_field retry = { "Retry-After", bytes_of(text, (size_t)n) };

	/* A browser cannot see the status of a refused handshake. */
	if (h->open->transport == HUB_WEBSOCKET && h->open->wsc_v1)
		return open_refuse_by_close(c, code, why);
	opening_free(h->open);
	h->open = NULL;
	http_count_refused(c, code);
	http_refuse_as(c, status, code, why, retry_s ? &retry : NULL);
	return OPEN_OVER;
}

enum open_step open_refuse(struct conn *c, enum end e)
{
	return open_refuse_later(c, e, 0);
}

enum open_step open_refuse_later(struct conn *c, enum end e, unsigned retry_s)
{
	return refuse(c, 0, end_code(e), bytes_str(end_why(e)), retry_s);
}

enum open_step open_refuse_as(struct conn *c, uint16_t status, enum api_code code, struct bytes why)
{
	return refuse(c, status, code, why, 0);
}
