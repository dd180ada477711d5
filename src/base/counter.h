/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter: a number that one thread writes and any thread reads. Counting is a relaxed load and a relaxed store, no
 * locked instruction. A reader sees each number whole; two numbers that belong to one event may be an event apart.
 */
#ifndef WSC_BASE_COUNTER_H
#define WSC_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

static inline void counter_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

#endif
