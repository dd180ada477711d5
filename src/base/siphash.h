/* SPDX-License-Identifier: Apache-2.0 */
/* siphash: SipHash-1-3 (Aumasson, Bernstein), 64 bits, for hash tables whose keys a client may choose. */
#ifndef WSC_BASE_SIPHASH_H
#define WSC_BASE_SIPHASH_H

#include "base/bytes.h"

uint64_t siphash13(const uint64_t key[2], struct bytes in);

#endif
