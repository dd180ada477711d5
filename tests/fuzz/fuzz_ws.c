/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stream of client frames, once whole and once in cuts that the input chooses: the events, put together to messages,
 * must be the same. Watches progress, the bound on unread input, and that a failed or closed decoder stays so. First
 * byte: extensions; second: cuts. All text that comes out must be UTF-8.
 */
/* Shows: threat 2, threat 3, threat 4, threat 5 */
#include "fuzz.h"

#include <assert.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "proto/ws.h"

static const struct ws_limits limits = { .max_message = 2000, .max_fragments = 8 };

struct reader {
	struct ws_decoder d;
	struct buf message;
	struct buf log;
	struct buf carry;
	bool kept;
	bool ended; /* closed or failed: nothing else may come */
};

static void take_data(struct reader *r, const struct ws_out *out, bool last)
{
	assert(out->first == !r->kept && out->whole == (out->first && last));
	buf_add(&r->message, out->payload);
	assert(r->message.len <= limits.max_message);
	r->kept = !last;
	if (!last)
		return;
	if (out->opcode == WS_OP_TEXT && !out->compressed)
		assert(utf8_valid(buf_bytes(&r->message)));
	buf_addf(&r->log, "message %u %d ", out->opcode, out->compressed);
	buf_add(&r->log, buf_bytes(&r->message));
	buf_clear(&r->message);
}

static void take(struct reader *r, enum ws_event ev, const struct ws_out *out)
{
	if (ev == WS_NEED_MORE)
		return;
	assert(!r->ended);
	if (ev == WS_FRAGMENT || ev == WS_MESSAGE) {
		take_data(r, out, ev == WS_MESSAGE);
		return;
	}
	assert(out->payload.len <= WS_CONTROL_MAX);
	if (ev == WS_CLOSE)
		assert(utf8_valid(out->payload) && (out->code == WS_CODE_NONE || ws_code_valid(out->code)));
	r->ended = ev == WS_CLOSE || ev == WS_ERROR;
	buf_addf(&r->log, "%d %u ", ev, out->code);
	buf_add(&r->log, out->payload);
}

static void feed(struct reader *r, struct bytes in)
{
	size_t n = r->carry.len + in.len;
	uint8_t *block = malloc(n + 1);
	struct mut_bytes left = { block, n };
	struct ws_out out;
	enum ws_event ev;

	if (r->carry.len)
		memcpy(block, r->carry.at, r->carry.len);
	if (in.len)
		memcpy(block + r->carry.len, in.at, in.len);
	block = realloc(block, n ? n : 1);
	left.at = block;
	do {
		size_t before = left.len;

		ev = ws_decode(&r->d, &limits, &left, &out);
		take(r, ev, &out);
		assert(ev == WS_NEED_MORE || ev == WS_ERROR || left.len < before);
	} while (ev != WS_NEED_MORE && ev != WS_ERROR);
	assert(left.len <= WS_CARRY_MAX && (left.len == 0 || !r->ended));
	buf_clear(&r->carry);
	buf_add(&r->carry, bytes_of(left.at, left.len));
	free(block);
}

static void reader_deinit(struct reader *r)
{
	buf_deinit(&r->message);
	buf_deinit(&r->log);
	buf_deinit(&r->carry);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reader whole = { 0 }, cut = { 0 };
	struct bytes in = bytes_of(data, size);
	uint32_t seed;

	if (size < 2)
		return 0;
	ws_decoder_init(&whole.d, data[0] & 1);
	ws_decoder_init(&cut.d, data[0] & 1);
	seed = data[1] + 1u;
	bytes_skip(&in, 2);
	feed(&whole, in);
	while (in.len && cut.d.code == 0) {
		size_t n;

		seed = seed * 1103515245u + 12345u;
		n = 1 + (seed >> 16) % (data[1] ? data[1] : 1);
		n = n < in.len ? n : in.len;
		feed(&cut, bytes_of(in.at, n));
		bytes_skip(&in, n);
	}
	assert(whole.d.code == cut.d.code);
	assert(bytes_eq(buf_bytes(&whole.log), buf_bytes(&cut.log)));
	if (whole.d.code == 0)
		assert(bytes_eq(buf_bytes(&whole.message), buf_bytes(&cut.message)));
	reader_deinit(&whole);
	reader_deinit(&cut);
	return 0;
}
