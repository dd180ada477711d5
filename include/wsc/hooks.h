/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks: functions of the program that the gateway calls, so that the program can decide.
 *
 * Thread   a hook runs on the worker that owns the connection and must not block; hooks of different connections run at
 *          the same time on different threads unless the gateway has one worker. Any hook may call wsc_send(),
 *          wsc_broadcast(), wsc_kick() and the queries of gateway.h: they take effect when the hook has returned.
 * Pending  a hook that needs longer (a database, another service) calls wsc_defer() and returns WSC_PENDING; any thread
 *          finishes the call later. Meanwhile later input of that sender waits. A call that is not finished within
 *          hook_timeout is a refusal.
 */
#ifndef WSC_HOOKS_H
#define WSC_HOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "wsc/message.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WSC_ID_MAX 128 /* bytes of a user id, without the NUL */

/* User types of the default configuration (security.allowed_user_types). */
#define WSC_USER_CUSTOMER "customer"
#define WSC_USER_AGENT "agent"
#define WSC_USER_ADMIN "admin"
#define WSC_USER_BOT "bot"
#define WSC_USER_VIP "vip"
#define WSC_USER_VISITOR "visitor"

/* An HTTP request: one that opens a connection, or one to a route of the program. Valid until the callee returns. */
struct wsc_request;
const char *wsc_request_method(const struct wsc_request *r);
/** Percent-decoded, without the query. */
const char *wsc_request_path(const struct wsc_request *r);
/**
 * Copies the first value of query key @name, decoded, into @out (always NUL-terminated); false: absent, or longer than
 * @out.
 */
bool wsc_request_query(const struct wsc_request *r, const char *name, char *out, size_t size);
/** The same for a header field; case of @name does not matter. */
bool wsc_request_header(const struct wsc_request *r, const char *name, char *out, size_t size);
/** The body, @len bytes, followed by a NUL. Never NULL. */
const char *wsc_request_body(const struct wsc_request *r, size_t *len);
/** The client's address as text; from X-Forwarded-For when a trusted proxy sends it. */
const char *wsc_request_address(const struct wsc_request *r);

/** The answer to a request to a route of the program. */
struct wsc_response;
/** Sets the answer; everything is copied. @content_type NULL: application/json. Called once, within the handler. */
void wsc_respond(struct wsc_response *response, int status, const char *content_type, const void *body, size_t len);
/**
 * Adds a header field before wsc_respond(). -WSC_EINVAL when it has CR or LF, and for Content-Type, Content-Length,
 * Transfer-Encoding and Connection, which the gateway sets.
 */
int wsc_response_header(struct wsc_response *response, const char *name, const char *value);
typedef void wsc_handler_fn(void *user, const struct wsc_request *request, struct wsc_response *response);
/** The answer to wsc_is_online(): number of connections of the user. Called once, on a worker's thread. */
typedef void wsc_online_fn(void *user, const char *user_id, unsigned connections);
/** The identity of a connection; authenticate_user fills it in. */
struct wsc_identity {
	char user_id[WSC_ID_MAX + 1]; /* "" is a refusal */
	char user_type[65];           /* "": customer */
};

enum wsc_transport { WSC_WEBSOCKET, WSC_SSE, WSC_HTTP };

/** A connection. Valid until the hook returns. */
struct wsc_client {
	const char *client_id; /* 32 hex digits; "" for a message that came by POST */
	const char *user_id, *user_type;
	const char *ticket_id, *role, *device_id, *client_type; /* "" when the client gave none */
	enum wsc_transport transport;
	unsigned connections; /* of this user; this one is counted in on_client_connect, not in on_client_disconnect */
};

/** The end of a connection. */
struct wsc_disconnect {
	unsigned code; /* close code (docs/errors.md); 1006: the connection broke without a close code */
	const char *reason;
	bool by_client;
};

enum wsc_severity { WSC_WARNING, WSC_ERROR };
struct wsc_problem {
	enum wsc_severity severity;
	const char *source; /* "accept", "hook", "send", ... */
	const char *text;
};

/** One call of a hook. */
struct wsc_call;
/** A pending call: it will be finished later. */
struct wsc_pending;

/**
 * Sets the reason for the answer or error frame of a refusal; copied. @status: of the HTTP answer, 0 for the usual one.
 */
void wsc_reason(struct wsc_call *call, int status, const char *reason);
/** Makes this call pending: return WSC_PENDING after it. NULL: out of memory (then refuse). */
struct wsc_pending *wsc_defer(struct wsc_call *call);

/**
 * Finishes a pending call, exactly once; on any thread, also from within the hook, also after the connection or
 * hook_timeout has ended, but before wsc_free() begins. @verdict is the value that the hook would have returned;
 * @reason may be NULL. Frees @p.
 */
void wsc_finish(struct wsc_pending *p, int verdict, const char *reason);
/** The same for authenticate_user; @identity is read when @verdict is 0. */
void wsc_finish_identity(struct wsc_pending *p, int verdict, const struct wsc_identity *identity, int status,
			 const char *reason);
/** The same for on_message_send and on_broadcast, with an edited message, NULL members unchanged; NULL: as it was. */
void wsc_finish_message(struct wsc_pending *p, int verdict, const struct wsc_message *edited, const char *reason);

/* Results of on_message_received: */
#define WSC_REFUSE 0
#define WSC_ALLOW 1
/* A result of the five hooks that get a struct wsc_call, after wsc_defer(): */
#define WSC_PENDING 2

/**
 * All hooks are optional; a zeroed struct has none. wsc_new() copies the struct; each hook gets @user.
 */
struct wsc_hooks {
	void *user;
	/**
	 * Before the upgrade or stream: 0 and @id filled in, or negative: refused (401, or the status of wsc_reason()).
	 */
	int (*authenticate_user)(void *user, struct wsc_call *call, const struct wsc_request *request,
				 struct wsc_identity *id);
	/**
	 * When the connection can receive, before its first message: 0, or negative: closed with 4403 (SSE: answered
	 * 403).
	 */
	int (*on_client_connect)(void *user, struct wsc_call *call, const struct wsc_client *client);
	/** Exactly once for each connection that on_client_connect accepted. */
	void (*on_client_disconnect)(void *user, const struct wsc_client *client, const struct wsc_disconnect *why);
	/** Every message on /ws and every POST send, after the built-in checks: WSC_ALLOW or WSC_REFUSE. */
	int (*on_message_received)(void *user, struct wsc_call *call, const struct wsc_client *client,
				   const struct wsc_message *message);
	/**
	 * Once per message to a user or ticket, from any sender. May change the pointers in @message (copied on return;
	 * a new content_len counts only with a new content; NULL removes data, priority and reply_to_msg_id and empties
	 * content; id, from, to and ticket_id stay). 0, or negative: the message is refused.
	 */
	int (*on_message_send)(void *user, struct wsc_call *call, struct wsc_message *message);
	/** The same, once per broadcast. */
	int (*on_broadcast)(void *user, struct wsc_call *call, struct wsc_message *message);
	/** Fill in @welcome and return true: it becomes the first message that this client gets. */
	bool (*welcome_message)(void *user, const struct wsc_client *client, struct wsc_message *welcome);
	/** Called for every problem. */
	void (*on_error)(void *user, const struct wsc_problem *problem);
};

#ifdef __cplusplus
}
#endif

#endif
