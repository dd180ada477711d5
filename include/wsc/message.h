/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A message, as a program writes it and as a hook gets it. docs/messages.md describes the keys.
 */
#ifndef WSC_MESSAGE_H
#define WSC_MESSAGE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The most common types; any other text is a type too and is passed on unchanged. */
#define WSC_TYPE_TEXT "text"
#define WSC_TYPE_IMAGE "image"
#define WSC_TYPE_FILE "file"
#define WSC_TYPE_NOTICE "notice"
#define WSC_TYPE_SYSTEM "system"
#define WSC_TYPE_EVENT "event"

/* The sender of messages that no user has sent. */
#define WSC_SYSTEM "system"

/**
 * All texts are UTF-8 and end in NUL; NULL is "not given".
 *
 * wsc_send() and wsc_broadcast() copy everything before they return.
 * In a hook the texts belong to the gateway, are valid until the hook returns, and are unescaped.
 */
struct wsc_message {
	const char *id;        /* 1 to 64 bytes; NULL: the gateway makes one (a ULID) */
	const char *type;      /* NULL: "text", "notice" in a broadcast */
	const char *from;      /* NULL: "system" */
	const char *to;        /* the receiving user; NULL or "" in a broadcast and in a ticket message */
	const char *ticket_id; /* without @to: sends to all users connected with this ticket, except the sender */
	const char *content;
	size_t content_len;    /* bytes of @content; 0: up to its NUL. Set in a hook, because content may hold NULs */
	const char *data;      /* one JSON object, passed on unchanged */
	const char *create_at; /* RFC 3339; NULL: now */
	const char *reply_to_msg_id;
	const char *priority;
};

/** The outcome of a message. */
struct wsc_outcome {
	int error;                /* 0: delivered; -WSC_EOFFLINE, -WSC_EREFUSED, -WSC_ETIMEDOUT, ... */
	const char *reason;       /* a sentence, never NULL */
	const char *id;           /* of the message */
	unsigned delivered_count; /* connections that have the message on their queue */
};
/** Called once, on a worker's thread. */
typedef void wsc_done_fn(void *user, const struct wsc_outcome *outcome);

#ifdef __cplusplus
}
#endif

#endif
