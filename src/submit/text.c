/* SPDX-License-Identifier: Apache-2.0 */
/* text: see text.h. */
#include "submit/text.h"

#include "base/mem.h"

static bool overwrites_from(struct shard *sh, const struct submission *sub, const struct envelope *e)
{
	return (sub->sender->rules & SENDER_FRAMES) && sh->set->opt.sender == SENDER_OVERWRITE &&
	       !envelope_is(e, ENVELOPE_FROM, sub->user);
}

void text_complete(struct shard *sh, struct submission *sub, const struct envelope *e)
{
	if (!envelope_has(e, ENVELOPE_ID)) {
		shard_ulid(sh, sub->id + 1);
		sub->id[0] = sub->id[sizeof sub->id - 1] = '"';
	}
	if (!envelope_has(e, ENVELOPE_CREATE_AT)) {
		memcpy(sub->create_at + 1, shard_stamp(sh).at, RFC3339_LEN);
		sub->create_at[0] = sub->create_at[sizeof sub->create_at - 1] = '"';
	}
}

struct bytes text_id(const struct submission *sub, const struct envelope *e, uint8_t scratch[ENVELOPE_ID_SCRATCH])
{
	return envelope_has(e, ENVELOPE_ID) ? envelope_string(e, ENVELOPE_ID, scratch)
					    : bytes_of(sub->id + 1, ULID_LEN);
}

void text_final(struct shard *sh, const struct submission *sub, const struct envelope *e, const struct edits *ed,
		struct envelope_out *o)
{
	envelope_out_from(o, e);
	if (!envelope_has(e, ENVELOPE_ID))
		o->id = envelope_raw(bytes_of(sub->id, sizeof sub->id));
	if (!envelope_has(e, ENVELOPE_TYPE))
		o->type = envelope_raw(sub->broadcast ? BYTES("\"notice\"") : BYTES("\"text\""));
	if (!envelope_has(e, ENVELOPE_FROM) || overwrites_from(sh, sub, e))
		o->from = envelope_plain(sub->user);
	if (sub->broadcast)
		o->to = envelope_plain(BYTES(""));
	if (!envelope_has(e, ENVELOPE_CREATE_AT))
		o->create_at = envelope_raw(bytes_of(sub->create_at, sizeof sub->create_at));
	if (!ed || !ed->any)
		return;
	if (ed->type.s.at)
		o->type = ed->type;
	if (ed->content.s.at)
		o->content = ed->content;
	if (ed->create_at.s.at) {
		o->create_at = ed->create_at;
		o->create_at_add_z = false; /* the edited text is parsed again, and gets its Z then */
	}
	o->data = ed->data;
	o->extra = ed->extra;
	o->cut |= ed->cut;
}

static void set_text(struct submission *sub, const uint8_t *text, size_t len)
{
	if (sub->owns_text)
		mem_free((void *)(uintptr_t)sub->text.at);
	sub->text = bytes_of(text, len);
	sub->owns_text = true;
}

bool text_edit(struct shard *sh, struct submission *sub, const struct envelope *e, const struct edits *ed)
{
	struct envelope_out o UNSET;
	uint8_t *text;
	size_t len;

	text_final(sh, sub, e, ed, &o);
	text = mem_alloc(envelope_size(&o) + 1);
	if (!text)
		return false;
	len = envelope_write(&o, text);
	set_text(sub, text, len);
	return true;
}

bool text_own(struct submission *sub, struct envelope *e)
{
	char *text;

	if (!sub->owns_user) {
		const char *user = mem_strndup(sub->user.at, sub->user.len);

		if (!user)
			return false;
		sub->user.at = (const uint8_t *)user;
		sub->owns_user = true;
	}
	if (sub->owns_text)
		return true;
	text = mem_strndup(sub->text.at, sub->text.len);
	if (!text)
		return false;
	envelope_rebase(e, (const uint8_t *)text);
	set_text(sub, (const uint8_t *)text, sub->text.len);
	return true;
}
