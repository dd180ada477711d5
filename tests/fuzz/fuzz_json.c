/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Any bytes to the JSON scanner and writer. Checks: walk and check agree; each function reads the same from a string;
 * any bytes written as a string come out as one valid string of the promised length; one line stays one value.
 */
#include "fuzz.h"

#include <assert.h>

#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"

static void check_string(const struct json_value *v)
{
	uint8_t *out = mem_alloc(v->raw.len);
	size_t n = json_unescape(v->raw, out);

	assert(n <= v->raw.len - 2 && utf8_valid(bytes_of(out, n)));
	assert(v->lone_surrogate || json_string_eq(v, bytes_of(out, n)));
	assert(v->escaped || n == v->raw.len - 2);
	mem_free(out);
}

static void check_value(const struct json_value *v)
{
	struct json_value again;
	int64_t number;

	assert(json_check(v->raw, &again) == JSON_OK);
	assert(again.type == v->type && again.raw.len == v->raw.len && again.line_breaks == v->line_breaks);
	if (v->type == JSON_STRING)
		check_string(v);
	else
		assert(!json_int64(v, &number) || v->type == JSON_NUMBER);
}

static int walk(struct bytes text)
{
	struct json_member m;
	struct json_walk w;
	int r = (int)json_object_begin(&w, text);

	if (r)
		return r;
	while ((r = json_object_next(&w, &m)) > 0) {
		assert(m.key.at[-1] == '"' && m.key.at[m.key.len] == '"');
		check_value(&m.value);
	}
	assert(json_object_next(&w, &m) == r);
	return r;
}

static void check_writer(struct bytes any)
{
	struct buf b = BUF_INIT;
	struct json_value v;

	json_add_string(&b, any);
	assert(b.len == json_escaped_len(any) + 2);
	assert(json_check(buf_bytes(&b), &v) == JSON_OK && v.type == JSON_STRING && !v.lone_surrogate);
	assert(!utf8_valid(any) || json_string_eq(&v, any));
	buf_deinit(&b);
}

static void check_one_line(struct bytes json)
{
	struct buf b = BUF_INIT;
	struct json_value v;

	json_add_one_line(&b, json);
	assert(b.len == json.len && json_check(buf_bytes(&b), &v) == JSON_OK && !v.line_breaks);
	assert(!memchr(b.at, '\n', b.len) && !memchr(b.at, '\r', b.len));
	buf_deinit(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bytes text = bytes_of(data, size);
	struct json_value v;
	enum json_error err = json_check(text, &v);
	int walked = walk(text);

	if (err)
		assert(walked == (int)err);
	else
		assert(walked == (v.type == JSON_OBJECT ? 0 : (int)JSON_NOT_OBJECT));
	if (!err) {
		check_value(&v);
		check_one_line(text);
	}
	check_writer(text);
	return 0;
}
