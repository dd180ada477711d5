/* SPDX-License-Identifier: Apache-2.0 */
/* worker_online: the online list goes from worker to worker; the answer must not depend on where it begins. */
#include "base/json.h"
#include "worker_fixture.h"

#define ASKED 16u

/* Behind any cursor, each id of the query is answered, and the answer is JSON. */
TEST(a_query_for_users_is_answered_for_every_one_on_every_worker)
{
	for (unsigned cursor = 0; cursor < 8; cursor++) {
		struct inbox in = { 0 };
		unsigned answered = 0;
		char request[1024];
		const uint8_t *at;
		struct rig r;
		int fd, n;

		rig_init(&r, 4);
		rig_start(&r);
		fd = rig_dial(&r, 0);
		n = snprintf(request, sizeof request, "GET /online?after=c%u", cursor);
		for (unsigned i = 0; i < ASKED; i++)
			n += snprintf(request + n, sizeof request - (size_t)n, "&user_id=u%u", i);
		snprintf(request + n, sizeof request - (size_t)n, " HTTP/1.1\r\nHost: x\r\n\r\n");
		put_str(fd, request);
		rig_turn(&r, 10);
		take(&in, fd);
		CHECK_EQ(head_status(&in), 200);
		CHECK_EQ(json_check(bytes_of(in.at + in.pos, in.len - in.pos), NULL), JSON_OK);
		for (at = in.at; (at = memmem(at, (size_t)(in.at + in.len - at), "\"offline\"", 9)); at++)
			answered++;
		CHECK_EQ(answered, ASKED);
		inbox_free(&in);
		close(fd);
		rig_turn(&r, 3);
		rig_end(&r);
	}
}
