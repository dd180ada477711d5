/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msg: allocates and frees messages. Small messages use blocks of a few sizes, and freed blocks are kept for the next
 * message, so that the usual message needs no call to the heap. owner->bytes counts the requested sizes, so it is zero
 * again when the last reference is dropped, whatever the spare blocks hold. Knows no wire form and no queue.
 */
#include "hub/msg.h"

#include <assert.h>

#include "base/mem.h"

#define SPARES_MAX 64u

static const uint32_t class_bytes[MSG_CLASSES] = { 384, 768, 2048 };

_Static_assert(offsetof(struct msg, json) <= 96, "bookkeeping of a message");

static size_t block_bytes(size_t json_len)
{
	return offsetof(struct msg, json) + json_len + MSG_TAIL_ROOM;
}

static unsigned class_of(size_t bytes)
{
	unsigned c = 0;

	while (c < MSG_CLASSES && bytes > class_bytes[c])
		c++;
	return c;
}

static struct msg *block_new(struct msg_owner *owner, unsigned size_class, size_t bytes)
{
	struct msg *m;

	if (size_class == MSG_CLASSES)
		return mem_alloc(bytes > sizeof(struct msg) ? bytes : sizeof(struct msg));
	m = owner->spare[size_class];
	if (!m)
		return mem_alloc(class_bytes[size_class]);
	owner->spare[size_class] = m->next_spare;
	owner->spares[size_class]--;
	return m;
}

static void block_free(struct msg_owner *owner, struct msg *m)
{
	unsigned size_class = m->size_class;

	if (size_class == MSG_CLASSES || owner->spares[size_class] == SPARES_MAX) {
		mem_free(m);
		return;
	}
	m->next_spare = owner->spare[size_class];
	owner->spare[size_class] = m;
	owner->spares[size_class]++;
}

struct msg *msg_new(struct msg_owner *owner, enum msg_kind kind, size_t json_len)
{
	size_t bytes;
	unsigned size_class;
	struct msg *m;

	if (json_len > MSG_MAX_LEN)
		return NULL;
	bytes = block_bytes(json_len);
	size_class = class_of(bytes);
	m = block_new(owner, size_class, bytes);
	if (!m)
		return NULL;
	memset(m, 0, offsetof(struct msg, json));
	m->owner = owner;
	m->refs = 1;
	m->len = (uint32_t)json_len;
	m->weight = (uint32_t)bytes;
	m->kind = (uint8_t)kind;
	m->size_class = (uint8_t)size_class;
	owner->bytes += bytes;
	owner->count++;
	return m;
}

uint8_t *msg_make(struct msg *m, uint8_t key, size_t n)
{
	size_t bytes = offsetof(struct msg_made, at) + n;
	struct msg_made *f;

	assert(!msg_made(m, key).at);
	if (n > MSG_MAX_LEN || bytes > UINT32_MAX - m->weight)
		return NULL;
	f = mem_alloc(bytes > sizeof(*f) ? bytes : sizeof(*f));
	if (!f)
		return NULL;
	f->next = m->made;
	f->len = (uint32_t)n;
	f->key = key;
	m->made = f;
	m->weight += (uint32_t)bytes;
	m->owner->bytes += bytes;
	return f->at;
}

struct bytes msg_made(const struct msg *m, uint8_t key)
{
	for (const struct msg_made *f = m->made; f; f = f->next)
		if (f->key == key)
			return bytes_of(f->at, f->len);
	return (struct bytes){ 0 };
}

void msg_unref(struct msg *m)
{
	struct msg_owner *owner = m->owner;
	struct msg_made *made;

	assert(m->refs > 0);
	if (--m->refs)
		return;
	owner->bytes -= m->weight;
	owner->count--;
	while ((made = m->made)) {
		m->made = made->next;
		mem_free(made);
	}
	block_free(owner, m);
}

void msg_owner_deinit(struct msg_owner *owner)
{
	assert(owner->count == 0 && owner->bytes == 0);
	for (unsigned c = 0; c < MSG_CLASSES; c++) {
		while (owner->spare[c]) {
			struct msg *m = owner->spare[c];

			owner->spare[c] = m->next_spare;
			mem_free(m);
		}
		owner->spares[c] = 0;
	}
}
