/* SPDX-License-Identifier: Apache-2.0 */
/* message: see message.h. */
#include "hook/message.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "wsc/error.h"

/* ---- what a hook sees ------------------------------------------------------------------------------------------- */

/* Copies @t unescaped to *at, behind it a NUL, and moves *at behind that. */
static const char *put_text(uint8_t **at, struct envelope_text t, size_t *len)
{
	const char *start = (const char *)*at;
	size_t n = t.s.len;

	if (t.raw)
		n = json_unescape(t.s, *at);
	else if (n)
		memcpy(*at, t.s.at, n);
	(*at)[n] = 0;
	*at += n + 1;
	if (len)
		*len = n;
	return start;
}

static const char *put_member(uint8_t **at, const struct envelope *e, enum envelope_key k)
{
	return envelope_has(e, k) ? put_text(at, envelope_raw(e->known[k].raw), NULL) : NULL;
}

/* Line breaks between the tokens of data are written as blanks, so a hook sees blanks. */
static const char *put_data(uint8_t **at, const struct json_value *data)
{
	char *start = (char *)*at;

	for (size_t i = 0; i < data->raw.len; i++) {
		uint8_t b = data->raw.at[i];

		*(*at)++ = b == '\r' || b == '\n' ? ' ' : b;
	}
	*(*at)++ = 0;
	return start;
}

bool see(struct seen *v, const struct envelope *e, const struct envelope_out *o)
{
	const struct envelope_text own[] = { o->id, o->type, o->from, o->to, o->content, o->create_at };
	size_t room = e->text.len + ENVELOPE_KEYS + 2;
	uint8_t *at;

	for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
		room += own[i].s.len + 1;
	v->text = at = mem_alloc(room);
	if (!at)
		return false;
	v->m = (struct wsc_message){
		.id = put_text(&at, o->id, NULL),
		.type = put_text(&at, o->type, NULL),
		.from = put_text(&at, o->from, NULL),
		.to = put_text(&at, o->to, NULL),
		.ticket_id = put_member(&at, e, ENVELOPE_TICKET_ID),
		.reply_to_msg_id = put_member(&at, e, ENVELOPE_REPLY_TO_MSG_ID),
		.priority = put_member(&at, e, ENVELOPE_PRIORITY),
	};
	v->m.content = put_text(&at, o->content, &v->m.content_len);
	v->m.create_at = put_text(&at, o->create_at, NULL);
	if (o->create_at_add_z) {
		at[-1] = 'Z';
		*at++ = 0;
	}
	if (envelope_has(e, ENVELOPE_DATA))
		v->m.data = put_data(&at, &e->known[ENVELOPE_DATA]);
	return true;
}

void seen_deinit(struct seen *v)
{
	mem_free(v->text);
	v->text = NULL;
}

/* ---- what a hook changed ------------------------------------------------------------------------------------------ */

/* NULL leaves the member unchanged. */
static struct envelope_text edited_text(const char *was, const char *is, size_t len)
{
	if (was == is || !is)
		return (struct envelope_text){ 0 };
	return envelope_plain(bytes_of(is, len ? len : strlen(is)));
}

/* NULL empties the content. A new content_len counts only with a new content. */
static struct envelope_text edited_content(const struct wsc_message *was, const struct wsc_message *is)
{
	if (!is->content)
		return envelope_plain(BYTES(""));
	return edited_text(was->content, is->content, is->content_len == was->content_len ? 0 : is->content_len);
}

/* An optional member; NULL removes it. */
static bool edit_optional(struct edits *ed, enum envelope_key key, const char *was, const char *is)
{
	if (was == is)
		return false;
	ed->any = true;
	ed->cut |= 1u << key;
	return is != NULL;
}

static void edit_extra(struct edits *ed, struct buf *extra, enum envelope_key key, const char *name, const char *was,
		       const char *is)
{
	if (!edit_optional(ed, key, was, is))
		return;
	buf_addf(extra, "%s\"%s\":", extra->len ? "," : "", name);
	json_add_string(extra, bytes_str(is));
}

static bool edits_valid(const struct edits *ed, const struct wsc_message *is)
{
	struct json_value v;

	return utf8_valid(ed->type.s) && utf8_valid(ed->content.s) && utf8_valid(bytes_str(is->priority)) &&
	       utf8_valid(bytes_str(is->reply_to_msg_id)) &&
	       (!ed->create_at.s.at || rfc3339_parse(ed->create_at.s, NULL, NULL)) &&
	       (!ed->data.at || (json_check(ed->data, &v) == JSON_OK && v.type == JSON_OBJECT));
}

int edits_of(struct edits *ed, const struct wsc_message *was, const struct wsc_message *is, struct buf *extra)
{
	ed->type = edited_text(was->type, is->type, 0);
	ed->content = edited_content(was, is);
	ed->create_at = edited_text(was->create_at, is->create_at, 0);
	ed->any = ed->type.s.at || ed->content.s.at || ed->create_at.s.at;
	if (edit_optional(ed, ENVELOPE_DATA, was->data, is->data))
		ed->data = bytes_str(is->data);
	edit_extra(ed, extra, ENVELOPE_REPLY_TO_MSG_ID, "reply_to_msg_id", was->reply_to_msg_id, is->reply_to_msg_id);
	edit_extra(ed, extra, ENVELOPE_PRIORITY, "priority", was->priority, is->priority);
	ed->extra = buf_bytes(extra);
	if (extra->failed)
		return -WSC_ENOMEM;
	return edits_valid(ed, is) ? 0 : -WSC_EBADMESSAGE;
}

static void json_extra(struct edits *ed, struct buf *extra, const struct envelope *e2, enum envelope_key key,
		       const char *name)
{
	if (!envelope_has(e2, key))
		return;
	ed->cut |= 1u << key;
	buf_addf(extra, "%s\"%s\":", extra->len ? "," : "", name);
	buf_add(extra, e2->known[key].raw);
}

int edits_of_json(struct edits *ed, const struct envelope *edited, struct buf *extra)
{
	ed->any = true;
	if (envelope_has(edited, ENVELOPE_TYPE))
		ed->type = envelope_raw(edited->known[ENVELOPE_TYPE].raw);
	else if (edited->seen >> ENVELOPE_TYPE & 1)
		ed->type = envelope_plain(BYTES("")); /* the default one */
	if (envelope_has(edited, ENVELOPE_CONTENT))
		ed->content = envelope_raw(edited->known[ENVELOPE_CONTENT].raw);
	if (envelope_has(edited, ENVELOPE_CREATE_AT))
		ed->create_at = envelope_raw(edited->known[ENVELOPE_CREATE_AT].raw);
	if (envelope_has(edited, ENVELOPE_DATA))
		ed->data = edited->known[ENVELOPE_DATA].raw;
	json_extra(ed, extra, edited, ENVELOPE_REPLY_TO_MSG_ID, "reply_to_msg_id");
	json_extra(ed, extra, edited, ENVELOPE_PRIORITY, "priority");
	ed->extra = buf_bytes(extra);
	return extra->failed ? -WSC_ENOMEM : 0;
}

/* ---- a program's message as JSON ----------------------------------------------------------------------------------- */

static void add_member(struct buf *b, const char *key, const char *value, size_t len)
{
	if (!value)
		return;
	buf_addf(b, "%s\"%s\":", b->len > 1 ? "," : "", key);
	json_add_string(b, bytes_of(value, len ? len : strlen(value)));
}

static bool texts_valid(const struct wsc_message *m)
{
	const char *const text[] = {
		m->id, m->type, m->from, m->to, m->ticket_id, m->create_at, m->reply_to_msg_id, m->priority
	};

	for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
		if (!utf8_valid(bytes_str(text[i])))
			return false;
	return !m->content || utf8_valid(bytes_of(m->content, m->content_len ? m->content_len : strlen(m->content)));
}

int message_json(struct buf *b, const struct wsc_message *m)
{
	struct json_value v;

	if (!texts_valid(m) || (m->data && (json_check(bytes_str(m->data), &v) != JSON_OK || v.type != JSON_OBJECT)))
		return -WSC_EBADMESSAGE;
	buf_add_u8(b, '{');
	add_member(b, "id", m->id, 0);
	add_member(b, "type", m->type, 0);
	add_member(b, "from", m->from, 0);
	add_member(b, "to", m->to, 0);
	add_member(b, "ticket_id", m->ticket_id, 0);
	add_member(b, "content", m->content, m->content_len);
	add_member(b, "create_at", m->create_at, 0);
	add_member(b, "reply_to_msg_id", m->reply_to_msg_id, 0);
	add_member(b, "priority", m->priority, 0);
	if (m->data) {
		buf_addf(b, "%s\"data\":", b->len > 1 ? "," : "");
		buf_add(b, bytes_str(m->data));
	}
	buf_add_u8(b, '}');
	return b->failed ? -WSC_ENOMEM : 0;
}
