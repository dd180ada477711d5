/* SPDX-License-Identifier: Apache-2.0 */
/*
 * parse: the grammar of each kind of value, without ranges, rows or messages. A parser that returns false changes
 * nothing.
 */
#ifndef WSC_CONFIG_PARSE_H
#define WSC_CONFIG_PARSE_H

#include "base/buf.h"

/* Decimal digits without leading zeros. */
bool parse_count(struct bytes s, uint64_t *out);
/* true false yes no on off, in any case. */
bool parse_bool(struct bytes s, uint64_t *out);
/* A count, or a count and "/s". */
bool parse_rate(struct bytes s, uint64_t *per_second);
/* A count of seconds, or counts with ms, s, m and h: 1h30m. */
bool parse_duration(struct bytes s, uint64_t *ms);
/* A count of bytes, or a count with B, KiB, MiB, GiB; KB, MB and GB are the same units of 1024. */
bool parse_size(struct bytes s, uint64_t *bytes);
/* The same, but a bare count is in units of 1024 bytes. */
bool parse_kibibytes(struct bytes s, uint64_t *bytes);

/* These add the text in its normal form to @out. */
bool parse_name(struct bytes s, struct buf *out);
/* 1 to 4096 bytes of UTF-8 without control characters. */
bool parse_text(struct bytes s, struct buf *out);
bool parse_path(struct bytes s, struct buf *out);
/* The same, at most 128 bytes. */
bool parse_word(struct bytes s, struct buf *out);
bool parse_address(struct bytes s, struct buf *out);
/* RFC 6454 §6.2: scheme and host in lower case, no default port. Also "*", and "*." in front of the host. */
bool parse_origin(struct bytes s, struct buf *out);

#endif
