/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answer: the JSON bodies of the HTTP API (docs/http-api.md), appended to a buf. Success is
 * {"success":true,"message":...,"data":{...}}, failure {"success":false,"error":...,"message":null,"code":...}.
 */
#ifndef WSC_API_ANSWER_H
#define WSC_API_ANSWER_H

#include "api/end.h"
#include "api/metrics.h"
#include "base/buf.h"
#include "base/clock.h"
#include "hub/hub.h"

void answer_failure(struct buf *b, enum api_code code, struct bytes error);

/* @older adds the members that only /wsc/stats has: "status":"ok" and the hub's older names. */
void answer_stats(struct buf *b, const struct metrics_totals *t, uint64_t wall_ms, bool older);

/* One row of the online list; connections 0: the user is offline. @type is the user type's name. */
void answer_user(struct buf *b, const struct hub_user_row *row, struct bytes type, struct now now);
/* The whole list: @rows is what answer_user() wrote, with commas between. @next: cursor, empty when there is no more. */
void answer_online(struct buf *b, struct bytes rows, uint64_t total, struct bytes next, bool older);

/* @delivered: connections. */
void answer_sent(struct buf *b, struct bytes id, struct bytes to, struct bytes type, uint32_t delivered);
void answer_broadcast(struct buf *b, struct bytes id, struct bytes type, uint32_t delivered);

#endif
