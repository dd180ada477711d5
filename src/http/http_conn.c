/* SPDX-License-Identifier: Apache-2.0 */
/* http_conn: see http_conn.h. */
#include "http/http_conn.h"

#include <assert.h>
#include "base/mem.h"

struct http_conn *http_conn_new(const struct ip *peer)
{
	struct http_conn *h = mem_zalloc(sizeof *h);

	if (h)
		h->peer = h->client = *peer;
	return h;
}

void opening_free(struct opening *o)
{
	if (!o)
		return;
	mem_free(o->scratch);
	mem_free(o);
}

void http_conn_free(struct http_conn *h)
{
	if (!h)
		return;
	buf_deinit(&h->in);
	buf_deinit(&h->next);
	buf_deinit(&h->body);
	buf_deinit(&h->out);
	buf_deinit(&h->path_text);
	buf_deinit(&h->sent.id);
	buf_deinit(&h->sent.to);
	buf_deinit(&h->sent.type);
	opening_free(h->open);
	mem_free(h);
}

#define TO(state) (1u << HTTP_##state)

/* An answer leads from a state with a request to HEAD or LAST; a fault of the codec from any state that reads to LAST. */
static const uint16_t moves[HTTP_STATES] = {
	[HTTP_PROXY] = TO(TLS) | TO(LAST) | TO(OVER),
	[HTTP_TLS] = TO(HEAD) | TO(LAST) | TO(OVER),
	[HTTP_HEAD] = TO(EXPECT) | TO(BODY) | TO(LAST) | TO(OVER),
	[HTTP_EXPECT] = TO(BODY) | TO(WAIT) | TO(HEAD) | TO(LAST) | TO(OVER),
	[HTTP_BODY] = TO(WAIT) | TO(HEAD) | TO(LAST) | TO(OVER),
	[HTTP_WAIT] = TO(HEAD) | TO(LAST) | TO(OVER),
	[HTTP_LAST] = TO(LINGER) | TO(OVER),
	[HTTP_LINGER] = TO(OVER),
};

void http_move(struct http_conn *h, enum http_state state)
{
	assert(moves[h->state] & 1u << state);
	h->state = state;
}

void http_over(struct conn *c, uint16_t code, bool by_client)
{
	struct http_conn *h = http_of(c);

	if (h->state == HTTP_OVER)
		return;
	http_move(h, HTTP_OVER);
	conn_end(c, code, by_client);
}

void http_wait(struct conn *c)
{
	http_move(http_of(c), HTTP_WAIT);
	conn_pause(c);
}

bool http_user(const struct conn *c, struct bytes *user)
{
	const struct http1_head *head = &http_of(c)->head;
	const struct http1_field *f = http1_find(head, BYTES("x-user-id"));

	*user = f ? f->value : BYTES("");
	return !f || !http1_find_next(head, BYTES("x-user-id"), f);
}
