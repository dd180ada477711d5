/* SPDX-License-Identifier: Apache-2.0 */
/* send: see send.h. The call waits for the outcome of its message, and the outcome is its answer. */
#include "http/send.h"

#include "api/answer.h"
#include "http/answer.h"
#include "http/http.h"
#include "http/serve.h"

/* The connection whose request still waits for this sender's answer, or NULL. */
static struct conn *waiting(struct shard *sh, uint64_t handle)
{
	struct conn *c = conn_get(sh, handle);

	return c && http_waiting(c) ? c : NULL;
}

static void refuse(struct shard *sh, struct submission *sub, enum api_code code, struct bytes why, struct bytes ref)
{
	struct conn *c = waiting(sh, sub->from);

	(void)ref;
	if (c)
		http_refuse_as(c, 0, code, why, NULL);
}

static bool accepting(struct shard *sh, struct submission *sub, const struct submit_accepted *a,
		      struct hub_publication *p)
{
	struct conn *c = waiting(sh, sub->from);
	struct http_conn *h;

	p->token = submit_token(&http_sender, sub->from);
	if (!c)
		return true; /* the client has gone, the message is sent all the same */
	h = http_of(c);
	buf_add(&h->sent.id, a->id);
	buf_add(&h->sent.to, a->to);
	if (buf_reserve(&h->sent.type, a->type.s.len))
		h->sent.type.len = json_unescape(a->type.s, h->sent.type.at);
	h->sent.broadcast = sub->broadcast;
	return !h->sent.id.failed && !h->sent.to.failed && !h->sent.type.failed;
}

static void go_on(struct shard *sh, struct submission *sub)
{
	struct conn *c = conn_get(sh, sub->from);

	if (c && c->kind == CONN_HTTP)
		http_run(c);
}

static void answer_delivered(struct conn *c, uint32_t delivered)
{
	struct http_conn *h = http_of(c);
	struct bytes id = buf_bytes(&h->sent.id), to = buf_bytes(&h->sent.to), type = buf_bytes(&h->sent.type);
	struct buf body = BUF_INIT;

	if (h->sent.broadcast)
		answer_broadcast(&body, id, type, delivered);
	else
		answer_sent(&body, id, to, type, delivered);
	http_answer_json(c, &body);
}

static void outcome(struct shard *sh, uint64_t token, const struct hub_request *r)
{
	struct conn *c = waiting(sh, token);

	if (!c)
		return;
	if (r->result == HUB_TIMED_OUT)
		http_refuse(c, END_OUTCOME_UNKNOWN);
	else if (r->result == HUB_NOBODY && r->scope == HUB_TO_USER)
		http_refuse_of(c, END_OFFLINE_NO_STORE, r->to);
	else
		answer_delivered(c, r->delivered);
	http_run(c);
}

const struct sender http_sender = {
	.id = SENDER_HTTP,
	.rules = SENDER_CALLS,
	.refuse = refuse,
	.accepting = accepting,
	.client = submit_user_as_client,
	.go_on = go_on,
	.outcome = outcome,
};

/* ---- the routes ----------------------------------------------------------------------------------------------------- */

/* A message that is no submission yet. */
static void refuse_early(struct conn *c, enum end e)
{
	counter_add(&conn_shard(c)->metrics.messages_refused[end_code(e)], 1);
	http_refuse(c, e);
}

static void publish(struct conn *c, bool broadcast)
{
	struct http_conn *h = http_of(c);
	struct submission sub = { .sender = &http_sender, .from = conn_handle(c), .broadcast = broadcast };
	struct bytes user;

	if (!http_user(c, &user)) {
		refuse_early(c, END_TWO_USERS);
	} else if (!user.len && !broadcast) {
		refuse_early(c, END_CALL_USER_REQUIRED);
	} else if (user.len && !envelope_id_ok(user)) {
		refuse_early(c, END_BAD_USER_HEADER);
	} else if (bytes_eq(user, BYTES("system"))) {
		refuse_early(c, END_USER_SYSTEM);
	} else {
		/* The texts stay where they are while the request waits. */
		sub.text = buf_bytes(&h->body);
		sub.user = user.len ? user : BYTES("system");
		http_wait(c);
		(void)submit_start(conn_shard(c), &sub);
	}
}

void serve_send(struct conn *c)
{
	publish(c, false);
}

void serve_broadcast(struct conn *c)
{
	publish(c, true);
}
