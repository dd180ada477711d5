/* SPDX-License-Identifier: Apache-2.0 */
/* text: the final text of a message: what its sender wrote, what the gateway fills in, what a hook has changed. */
#ifndef WSC_SUBMIT_TEXT_H
#define WSC_SUBMIT_TEXT_H

#include "hook/message.h"
#include "submit/submission.h"

/* Decides the id and the date of a message that has none, once, so that hooks and receivers see the same. */
void text_complete(struct shard *sh, struct submission *sub, const struct envelope *e);
/* The message as it is written, borrowed from @sub, @e and @ed (NULL: no edits). Behind text_complete(). */
void text_final(struct shard *sh, const struct submission *sub, const struct envelope *e, const struct edits *ed,
		struct envelope_out *o);
/* The id that text_final() writes, plain. */
struct bytes text_id(const struct submission *sub, const struct envelope *e, uint8_t scratch[ENVELOPE_ID_SCRATCH]);
/* Replaces the text by its final form with @ed. False: no memory. */
bool text_edit(struct shard *sh, struct submission *sub, const struct envelope *e, const struct edits *ed);
/* Makes text and user the submission's own, and moves @e there. False: no memory. */
bool text_own(struct submission *sub, struct envelope *e);

#endif
