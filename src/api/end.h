/* SPDX-License-Identifier: Apache-2.0 */
/*
 * end: the ends of ends.def as data. A refusal has a code: the text that a client sees in "code", an HTTP status, and the
 * close code that tells the same to a client of subprotocol wsc.v1. The close of a session has a close code. Both have a
 * sentence, which is static text. docs/errors.md explains each code.
 */
#ifndef WSC_API_END_H
#define WSC_API_END_H

#include "base/bytes.h"
#include "base/log.h"
#include "hub/hub.h"

#define CODE(code, text, where, status, close, cause, cure) code,
enum api_code {
	API_OK,
#include "api/ends.def"
	API_CODE_END
};

#define REFUSAL(end, code, sentence) end,
#define CLOSING(end, close, sentence) end,
enum end {
	END_NONE,
#include "api/ends.def"
	END_END
};

const char *api_code_text(enum api_code c);
uint16_t api_code_status(enum api_code c);
/* The close code for a client of wsc.v1; 1008 where the table has none. */
uint16_t api_code_close(enum api_code c);
/* The code for a status that a codec or the program decided (400, 408, 413, 414, 431, 501, 505). */
enum api_code api_code_of_status(uint16_t status);

/* API_OK for the close of a session, which has no code. */
enum api_code end_code(enum end e);
/* Its own close code, or that of its code. */
uint16_t end_close(enum end e);
/* The sentence; only for an end without a value. */
const char *end_why(enum end e);
/* The sentence of any end, with @value in the place of its %s, in @out. */
#define END_WHY_MAX 256
struct bytes end_why_of(enum end e, struct bytes value, char out[END_WHY_MAX]);

/* The level of the line "session closed" for a session that we have closed with @close. */
enum log_level end_level(uint16_t close);
/* Should a client reconnect when it is closed with @close? False where the table has no such code. */
bool end_reconnect(uint16_t close);

/* The ends that the hub decides by itself, for its options. */
void end_for_hub(struct hub_close_reason reasons[HUB_ENDS]);

#endif
