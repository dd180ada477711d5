/* SPDX-License-Identifier: Apache-2.0 */
/*
 * message: a message as the program sees it, edits it and writes it. A view of the envelope with every text unescaped and
 * NUL-terminated, the difference that a hook made to it, and a program's own message as JSON.
 */
#ifndef WSC_HOOK_MESSAGE_H
#define WSC_HOOK_MESSAGE_H

#include "base/buf.h"
#include "proto/envelope.h"
#include "wsc/message.h"

struct seen {
	struct wsc_message m;
	uint8_t *text; /* owns what @m points to */
};

/* @e as a program sees it, with the six strings that @o is about to write. False: no memory. Undone by seen_deinit(). */
bool see(struct seen *v, const struct envelope *e, const struct envelope_out *o);
void seen_deinit(struct seen *v);

/* The changes of a hook; a text at NULL is unchanged. Views into the hook's texts and into @extra of the calls below. */
struct edits {
	bool any;
	struct envelope_text type, content, create_at;
	struct bytes data;
	struct bytes extra; /* reply_to_msg_id and priority as members */
	uint32_t cut;       /* keys (1u << key) that @extra replaces or that are taken out */
};

/* The difference between @was and @is, by their pointers. 0; -WSC_EBADMESSAGE: @is is not valid; -WSC_ENOMEM. */
int edits_of(struct edits *ed, const struct wsc_message *was, const struct wsc_message *is, struct buf *extra);
/* The same from the JSON of wsc_finish_message(), parsed as @edited; an absent member is unchanged. 0 or -WSC_ENOMEM. */
int edits_of_json(struct edits *ed, const struct envelope *edited, struct buf *extra);

/* Appends @m as JSON: 0, -WSC_EBADMESSAGE, -WSC_ENOMEM. */
int message_json(struct buf *b, const struct wsc_message *m);

#endif
