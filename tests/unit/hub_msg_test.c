/* SPDX-License-Identifier: Apache-2.0 */
/* hub/msg: the bytes that a message counts for, and that none of them is left. */
#include "hub/msg.h"

#include "test.h"

TEST(a_message_is_freed_with_its_last_reference)
{
	struct msg_owner o = { 0 };
	struct msg *m = msg_new(&o, MSG_USER, 5);

	if (!CHECK(m != NULL))
		return;
	memcpy(m->json, "hello", 5);
	CHECK_EQ(o.count, 1);
	CHECK(o.bytes >= 5);
	CHECK_EQ(msg_charge(m), 5 + MSG_CHARGE_FIXED);
	msg_ref(m);
	msg_unref(m);
	CHECK_BYTES(msg_text(m), "hello");
	msg_unref(m);
	CHECK_EQ(o.count, 0);
	CHECK_EQ(o.bytes, 0);
	msg_owner_deinit(&o);
}

/* Shows: threat 124 */
TEST(every_size_is_counted_to_the_byte_and_a_spare_block_is_clean)
{
	struct msg_owner o = { 0 };

	for (size_t len = 0; len < 5000; len += 37) {
		struct msg *m = msg_new(&o, MSG_SERVER, len);

		if (!CHECK(m != NULL))
			break;
		CHECK(!m->form[MSG_FORM_WS].at && !m->form[MSG_FORM_SSE].at && !m->made);
		CHECK_EQ(m->seq, 0);
		memset(m->room, 0xff, MSG_HEAD_ROOM);
		memset(m->json, 0xff, len + MSG_TAIL_ROOM);
		m->seq = len;
		m->form[MSG_FORM_WS] = msg_text(m);
		CHECK(msg_make(m, MSG_FORM_SSE, len + 1) != NULL);
		msg_unref(m);
		CHECK_EQ(o.bytes, 0);
	}
	msg_owner_deinit(&o);
}

TEST(each_wire_form_is_made_once_found_by_its_key_and_counted_until_the_message_is_freed)
{
	struct msg_owner o = { 0 };
	struct msg *m = msg_new(&o, MSG_USER, 100);
	size_t before = o.bytes;
	uint8_t *nine = msg_make(m, 9, 40), *fifteen = msg_make(m, 15, 30);

	if (!CHECK(nine && fifteen))
		return;
	memset(nine, 'n', 40);
	memset(fifteen, 'f', 30);
	CHECK(o.bytes >= before + 70);
	CHECK(msg_made(m, 9).at == nine && msg_made(m, 9).len == 40);
	CHECK(msg_made(m, 15).at == fifteen && msg_made(m, 15).len == 30);
	CHECK(!msg_made(m, 8).at);
	CHECK(msg_make(m, 8, MSG_MAX_LEN + 1) == NULL);
	msg_unref(m);
	CHECK_EQ(o.bytes, 0);
	msg_owner_deinit(&o);
}

TEST(a_header_in_the_room_ends_where_the_text_begins)
{
	struct msg_owner o = { 0 };
	struct msg *m = msg_new(&o, MSG_USER, 1);

	CHECK(m->room + MSG_HEAD_ROOM == m->json);
	msg_unref(m);
	msg_owner_deinit(&o);
}

TEST(a_text_that_is_too_long_is_refused)
{
	struct msg_owner o = { 0 };

	CHECK(msg_new(&o, MSG_USER, MSG_MAX_LEN + 1) == NULL);
	CHECK(msg_new(&o, MSG_USER, SIZE_MAX) == NULL);
	CHECK_EQ(o.bytes, 0);
	msg_owner_deinit(&o);
}

TEST(a_text_shorter_than_reserved_counts_with_its_reserved_size)
{
	struct msg_owner o = { 0 };
	struct msg *m = msg_new(&o, MSG_USER, 500);
	size_t bytes = o.bytes;

	m->len = 3;
	CHECK_EQ(o.bytes, bytes);
	CHECK_EQ(msg_charge(m), 3 + MSG_CHARGE_FIXED);
	msg_unref(m);
	CHECK_EQ(o.bytes, 0);
	msg_owner_deinit(&o);
}
