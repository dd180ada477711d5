/* SPDX-License-Identifier: Apache-2.0 */
/* check: the built-in checks of a message (docs/messages.md, docs/http-api.md), before any hook sees it. */
#ifndef WSC_SUBMIT_CHECK_H
#define WSC_SUBMIT_CHECK_H

#include "submit/submission.h"

/* False: the message ends here, and its sender was told or answered. */
bool submit_check(struct shard *sh, struct submission *sub, const struct envelope *e);

#endif
