/* SPDX-License-Identifier: Apache-2.0 */
/* worker_online: the online list goes from worker to worker; what is asked of it must not depend on where it begins. */
#include "base/json.h"
#include "worker_fixture.h"

#define ASKED 16u

/* Behind whatever cursor, each id that was asked for is answered, and the answer is JSON. */
TEST(users_that_are_asked_for_are_all_answered_wherever_they_live)
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
