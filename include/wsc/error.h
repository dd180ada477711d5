/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors of libwsc. 0 means success; a negative result is one of these, negated: -WSC_ENOMEM. One list gives the
 * constants, wsc_strerror() and the table in docs/errors.md.
 */
#ifndef WSC_ERROR_H
#define WSC_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#define WSC_ERRORS(X)                                                                               \
	X(WSC_ENOMEM, 1, "out of memory")                                                           \
	X(WSC_ECONFIG, 2, "the configuration is not valid")                                         \
	X(WSC_EINVAL, 3, "an argument is missing or not allowed")                                   \
	X(WSC_EDISABLED, 4, "not enabled: the configuration has no section wsc, or enabled: false") \
	X(WSC_EAGAIN, 5, "busy: too many calls are waiting; try again later")                       \
	X(WSC_ETOOBIG, 6, "the message is longer than security.max_message_size")                   \
	X(WSC_ESTATE, 7, "not possible in this state of the gateway")                               \
	X(WSC_EADDRINUSE, 8, "the address is in use by another program")                            \
	X(WSC_ESYSTEM, 9, "a system call failed")                                                   \
	X(WSC_EOFFLINE, 10, "the receiver is offline and nothing is stored")                        \
	X(WSC_EREFUSED, 11, "refused by a hook")                                                    \
	X(WSC_ETIMEDOUT, 12, "no answer in time")                                                   \
	X(WSC_ENOTFOUND, 13, "not found")                                                           \
	X(WSC_ENOTSUPPORTED, 14, "not supported in this version")                                   \
	X(WSC_ENOTINTICKET, 15, "the sender is not connected with this ticket_id")                  \
	X(WSC_EBADMESSAGE, 16, "the message is not valid")

#define WSC_ERROR_ENUM(name, number, text) name = number,
enum wsc_error { WSC_ERRORS(WSC_ERROR_ENUM) WSC_ERROR_END };
#undef WSC_ERROR_ENUM

/**
 * A sentence for @error, negative or positive; "unknown error" for others. Static, any thread.
 */
const char *wsc_strerror(int error);

#ifdef __cplusplus
}
#endif

#endif
