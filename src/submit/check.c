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

/* END_NONE: there is one. */
static enum end recipient_missing(const struct submission *sub, const struct envelope *e)
{
	bool call = sub->sender->rules & SENDER_CALLS;

	if (sub->broadcast || envelope_has(e, ENVELOPE_TO) || (!call && envelope_has(e, ENVELOPE_TICKET_ID)))
		return END_NONE;
	return call ? END_NO_TO : END_NO_RECIPIENT;
}

bool submit_check(struct shard *sh, struct submission *sub, const struct envelope *e)
{
	bool frames = sub->sender->rules & SENDER_FRAMES, call = sub->sender->rules & SENDER_CALLS;
	uint8_t scratch[ENVELOPE_ID_SCRATCH] UNSET;
	struct bytes value = BYTES("");
	char max[24] UNSET;
	enum end end;
	int fits;

	if (frames && is_ping(e)) {
		sub->sender->reply(sh, sub,
				   shard_message(sh, BYTES("pong"), sub->user, BYTES(""), BYTES(""), BYTES("")));
		return false;
	}
	if (frames && envelope_is(e, ENVELOPE_TYPE, BYTES("ack"))) {
		end = END_ACK;
	} else if (!sender_ok(sh, sub, e)) {
		end = END_FROM;
		value = sub->user;
	} else if ((end = recipient_missing(sub, e)) != END_NONE) {
		;
	} else if (envelope_check_payload(e) != ENVELOPE_OK) {
		end = call ? END_CALL_PAYLOAD : END_FRAME_PAYLOAD;
	} else if (envelope_has(e, ENVELOPE_REQUIRE_ACK) && e->known[ENVELOPE_REQUIRE_ACK].type == JSON_TRUE) {
		end = END_REQUIRE_ACK;
	} else if ((fits = content_fits(sh, e)) < 0) {
		end = END_NO_MEMORY;
	} else if (!fits) {
		end = END_CONTENT_TOO_LONG;
		snprintf(max, sizeof max, "%llu", (unsigned long long)sh->set->opt.max_content_bytes);
		value = bytes_str(max);
	} else {
		return true;
	}
	submit_refuse_of(sh, sub, end, value, submit_ref(e, scratch));
	return false;
}
