/* SPDX-License-Identifier: Apache-2.0 */
/* check: see check.h. */
#include "submit/check.h"

#include <stdio.h>
#include "base/mem.h"

static bool is_ping(const struct envelope *e)
{
	return envelope_is(e, ENVELOPE_TYPE, BYTES("ping")) || envelope_is(e, ENVELOPE_TYPE, BYTES("heartbeat"));
}

/* `from` must be the sender. With overwrite, the final text has the true one; with hook, the hook decides. */
static bool sender_ok(struct shard *sh, const struct submission *sub, const struct envelope *e)
{
	if (!envelope_has(e, ENVELOPE_FROM) || (sub->sender->rules & SENDER_TRUSTED) ||
	    envelope_is(e, ENVELOPE_FROM, sub->user))
		return true;
	return (sub->sender->rules & SENDER_FRAMES) && sh->set->opt.sender != SENDER_REJECT;
}

/* 1: content fits security.max_content_length; 0: it is longer; -1: no memory. */
static int content_fits(struct shard *sh, const struct envelope *e)
{
	uint64_t max = sh->set->opt.max_content_bytes;
	const struct json_value *v = &e->known[ENVELOPE_CONTENT];
	uint8_t *out;
	size_t len;

	if (!max || !envelope_has(e, ENVELOPE_CONTENT) || v->raw.len - 2 <= max)
		return 1;
	if (!v->escaped)
		return 0;
	out = mem_alloc(v->raw.len);
	if (!out)
		return -1;
	len = json_unescape(v->raw, out);
	mem_free(out);
	return len <= max;
}

static enum api_code recipient_missing(const struct submission *sub, const struct envelope *e, const char **why)
{
	bool call = sub->sender->rules & SENDER_CALLS;

	if (sub->broadcast || envelope_has(e, ENVELOPE_TO) || (!call && envelope_has(e, ENVELOPE_TICKET_ID)))
		return API_OK;
	*why = call ? "to is required: the user id of the receiver" : "to or ticket_id is required";
	return call ? API_MISSING_FIELD : API_NO_RECIPIENT;
}

bool submit_check(struct shard *sh, struct submission *sub, const struct envelope *e)
{
	bool frames = sub->sender->rules & SENDER_FRAMES, call = sub->sender->rules & SENDER_CALLS;
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	char text[SUBMIT_WHY_MAX] UNSET;
	const char *why = text;
	enum api_code code;
	int fits;

	if (frames && is_ping(e)) {
		sub->sender->reply(sh, sub,
				   shard_message(sh, BYTES("pong"), sub->user, BYTES(""), BYTES(""), BYTES("")));
		return false;
	}
	if (frames && envelope_is(e, ENVELOPE_TYPE, BYTES("ack"))) {
		code = API_NOT_SUPPORTED;
		why = "acks need a store, which this version does not have";
	} else if (!sender_ok(sh, sub, e)) {
		code = API_SENDER_MISMATCH;
		snprintf(text, sizeof text, "from is not %.*s, who sends this", (int)sub->user.len,
			 (const char *)sub->user.at);
	} else if ((code = recipient_missing(sub, e, &why)) != API_OK) {
		;
	} else if (envelope_check_payload(e) != ENVELOPE_OK) {
		code = call ? API_MISSING_FIELD : API_BAD_MESSAGE;
		why = "content or data is required";
	} else if (envelope_has(e, ENVELOPE_REQUIRE_ACK) && e->known[ENVELOPE_REQUIRE_ACK].type == JSON_TRUE) {
		code = API_NOT_SUPPORTED;
		why = "require_ack needs a store, which this version does not have";
	} else if ((fits = content_fits(sh, e)) < 0) {
		code = API_OVERLOADED;
		why = "out of memory";
	} else if (!fits) {
		code = API_BAD_MESSAGE;
		snprintf(text, sizeof text, "content is longer than security.max_content_length, %llu bytes",
			 (unsigned long long)sh->set->opt.max_content_bytes);
	} else {
		return true;
	}
	submit_refuse(sh, sub, code, why, submit_ref(e, scratch));
	return false;
}
