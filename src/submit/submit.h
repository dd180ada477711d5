/* SPDX-License-Identifier: Apache-2.0 */
/*
 * submit: the stages of a message on its way in, from its sender to the hub: built-in checks, on_message_received,
 * on_message_send or on_broadcast, the log, the hub. The stages are a table (submit.c) and the same for every sender.
 * A message that no hook delays takes no memory but its own. A message that a hook delays is kept whole, and the input of
 * its sender waits behind it. Whatever hooks do, a message is parsed at most three times: as it came, and after each edit.
 */
#ifndef WSC_SUBMIT_SUBMIT_H
#define WSC_SUBMIT_SUBMIT_H

#include <assert.h>
#include "submit/submission.h"

/*
 * Starts @sub, which lies on the caller's stack with borrowed texts. True: it is through its stages, and the sender was told
 * or an outcome follows. False: a hook has it; sender->go_on() follows, and input behind it must wait.
 */
bool submit_start(struct shard *sh, struct submission *sub);
/* The same for a submission on the heap that its sender frees, then or in go_on(). */
bool submit_run(struct shard *sh, struct submission *sub);

/* The hub's outcome of a publication. */
void submit_outcome(struct shard *sh, const struct hub_request *r);

/* The token under which @sender publishes; @handle is a slab handle. Two bits of its index say which sender it is. */
#define SUBMIT_TOKEN_SHIFT 30
static inline uint64_t submit_token(const struct sender *sender, slab_handle handle)
{
	assert(!(handle >> SUBMIT_TOKEN_SHIFT & 3)); /* an index that high needs 50 million connections on one worker */
	return handle ? handle | (uint64_t)sender->id << SUBMIT_TOKEN_SHIFT : 0;
}

#endif
