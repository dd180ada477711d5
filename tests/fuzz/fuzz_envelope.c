/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes as a message from a client, and any bytes as the names that the gateway fills in. Checks: the promised size
 * is the written one; the output is one line of valid UTF-8 JSON that parses again; written again it is the same; only
 * the keys that must be removed are missing; a fault has a sentence.
 */
/* Shows: threat 15, threat 76 */
#include "fuzz.h"

#include <assert.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "proto/envelope.h"

static const uint64_t seed[2] = { 1, 2 };

static struct bytes write_out(const struct envelope_out *o)
{
	size_t size = envelope_size(o);
	uint8_t *out = mem_alloc(size);
	struct json_value v;

	assert(envelope_write(o, out) == size);
	assert(json_check(bytes_of(out, size), &v) == JSON_OK && v.type == JSON_OBJECT &&
	       utf8_valid(bytes_of(out, size)));
	assert(!memchr(out, '\n', size) && !memchr(out, '\r', size));
	return bytes_of(out, size);
}

static void check_second_pass(struct bytes written, const struct envelope *before)
{
	const uint32_t gone = 1u << ENVELOPE_SEQ_NO;
	struct envelope_out o;
	struct envelope e;
	struct bytes again;

	assert(envelope_parse(&e, written, JSON_MAX_DEPTH, seed) == ENVELOPE_OK);
	assert((before->present & ~gone & ~e.present) == 0);
	assert(e.unknown == before->unknown && !e.line_breaks);
	envelope_out_from(&o, &e);
	again = write_out(&o);
	assert(bytes_eq(again, written));
	mem_free((void *)(uintptr_t)again.at);
}

static void check_names(const struct envelope *e)
{
	for (enum envelope_key k = 0; k < ENVELOPE_KEYS; k++) {
		uint8_t *scratch = envelope_has(e, k) ? mem_alloc(e->known[k].raw.len) : NULL;
		struct bytes s = envelope_string(e, k, scratch);

		assert(s.at == NULL || (utf8_valid(s) && envelope_is(e, k, s)));
		if (s.at && (k == ENVELOPE_FROM || k == ENVELOPE_TO || k == ENVELOPE_TICKET_ID))
			assert(envelope_id_ok(s));
		mem_free(scratch);
	}
}

static void check_message(struct bytes text)
{
	struct envelope_out o;
	struct envelope e;
	char why[ENVELOPE_EXPLAIN_MAX];
	enum envelope_error err = envelope_parse(&e, text, JSON_MAX_DEPTH, seed);
	struct bytes written;

	if (err) {
		struct bytes s = envelope_explain(&e, err, why);

		assert(s.len > 0 && s.len <= sizeof(why) && utf8_valid(s));
		return;
	}
	check_names(&e);
	envelope_out_from(&o, &e);
	if (!envelope_has(&e, ENVELOPE_ID))
		o.id = envelope_plain(BYTES("id"));
	if (!envelope_has(&e, ENVELOPE_CREATE_AT))
		o.create_at = envelope_plain(BYTES("2026-01-31T12:00:00.000Z"));
	written = write_out(&o);
	check_second_pass(written, &e);
	mem_free((void *)(uintptr_t)written.at);
}

static void check_names_of_our_own(struct bytes any)
{
	struct envelope_fault fault = { .code = any, .ref = envelope_plain(any) };
	struct envelope_out o;
	struct bytes written;

	envelope_out_error(&o, envelope_plain(any), any, &fault);
	written = write_out(&o);
	mem_free((void *)(uintptr_t)written.at);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	check_message(bytes_of(data, size));
	check_names_of_our_own(bytes_of(data, size));
	return 0;
}
