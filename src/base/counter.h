/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter: a number that one thread writes and any thread reads. To count is a relaxed load and a relaxed store,
 * without a locked instruction. A reader never gets a half-written number, but two counters of the same event may
 * differ by one.
 */
#ifndef WSC_BASE_COUNTER_H
#define WSC_BASE_COUNTER_H

#include <stdatomic.h>
#include <stdint.h>

static inline void counter_add(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void counter_sub(_Atomic uint64_t *c, uint64_t n)
{
	atomic_store_explicit(c, atomic_load_explicit(c, memory_order_relaxed) - n, memory_order_relaxed);
}

static inline uint64_t counter_get(const _Atomic uint64_t *c)
{
	return atomic_load_explicit(c, memory_order_relaxed);
}

#endif
