/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks: a program's say in what the gateway does.
 *
 * Thread   every hook runs on the worker that the connection lives on and must not block; different connections' hooks run
 *          at the same time on different threads unless the gateway has one worker. wsc_send(), wsc_broadcast(),
 *          wsc_kick() and the questions of gateway.h may be called from any hook: what they cause happens when the hook
 *          has returned.
 * Pending  a hook that needs longer (a database, another service) calls wsc_defer() and returns WSC_PENDING; any thread
 *          finishes it later. Until then later input of that sender waits. What is not finished within hook_timeout
 *          is refused.
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

/* An HTTP request: the one that opens a connection, or one to a route of the program's own. Good until the callee returns. */
struct wsc_request;
const char *wsc_request_method(const struct wsc_request *r);
/** Percent-decoded, without the query. */
const char *wsc_request_path(const struct wsc_request *r);
/** Copies the first value of query key @name, decoded, into @out (always NUL-terminated); false: absent, or too long for it. */
bool wsc_request_query(const struct wsc_request *r, const char *name, char *out, size_t size);
/** The same for a header field; case of @name does not matter. */
bool wsc_request_header(const struct wsc_request *r, const char *name, char *out, size_t size);
/** The body, @len bytes; NUL-terminated behind them. Never NULL. */
const char *wsc_request_body(const struct wsc_request *r, size_t *len);
/** The client's address as text, X-Forwarded-For of a trusted proxy taken into account. */
const char *wsc_request_address(const struct wsc_request *r);

/** The answer to a request to one of the program's own routes. */
struct wsc_response;
/** Sets the answer; everything is copied. @content_type NULL: application/json. Called once, within the handler. */
void wsc_respond(struct wsc_response *response, int status, const char *content_type, const void *body, size_t len);
/** Adds a header field before wsc_respond(). -WSC_EINVAL for CR or LF in it, and for Content-Type,
 * Content-Length, Transfer-Encoding and Connection, which are the gateway's. */
int wsc_response_header(struct wsc_response *response, const char *name, const char *value);
typedef void wsc_handler_fn(void *user, const struct wsc_request *request, struct wsc_response *response);
/** The answer to wsc_is_online(): number of connections of the user. Called once, on a worker's thread. */
typedef void wsc_online_fn(void *user, const char *user_id, unsigned connections);
/** Who a connection is; what authenticate_user fills in. */
struct wsc_identity {
	char user_id[WSC_ID_MAX + 1]; /* "" is a refusal */
	char user_type[65];           /* "": customer */
};

enum wsc_transport { WSC_WEBSOCKET, WSC_SSE, WSC_HTTP };

/** A connection. Good until the hook returns. */
struct wsc_client {
	const char *client_id; /* 32 hex digits; "" for a message that came by POST */
	const char *user_id, *user_type;
	const char *ticket_id, *role, *device_id, *client_type; /* "" when the client gave none */
	enum wsc_transport transport;
	unsigned connections; /* of this user. on_client_connect: this one included; on_client_disconnect: those left */
};

/** Why a connection ended. */
struct wsc_disconnect {
	unsigned code; /* close code (docs/errors.md); 1006: it broke without one */
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
/** A call that will be finished later. */
struct wsc_pending;

/** Says why, for the answer or error frame that a refusal causes; copied. @status: of the HTTP answer, 0 for the usual one. */
void wsc_reason(struct wsc_call *call, int status, const char *reason);
/** Turns this call into one that is finished later: return WSC_PENDING after it. NULL: out of memory (then refuse). */
struct wsc_pending *wsc_defer(struct wsc_call *call);

/**
 * Finishes a pending call, exactly once; any thread, also when the connection or its time is gone, also from within the
 * hook; but before wsc_free() begins.
 * @verdict as the hook would have returned it; @reason may be NULL. @p is gone afterwards.
 */
void wsc_finish(struct wsc_pending *p, int verdict, const char *reason);
/** The same for authenticate_user; @identity is read when @verdict is 0. */
void wsc_finish_identity(struct wsc_pending *p, int verdict, const struct wsc_identity *identity, int status,
			 const char *reason);
/** The same for on_message_send and on_broadcast, with an edited message; NULL: as it was. */
void wsc_finish_message(struct wsc_pending *p, int verdict, const struct wsc_message *edited, const char *reason);

/* What on_message_received returns: */
#define WSC_REFUSE 0
#define WSC_ALLOW 1
/* What any of the five may return after wsc_defer(): */
#define WSC_PENDING 2

/**
 * All optional. A zeroed struct is no hooks. Copied by wsc_new(); @user travels with each.
 */
struct wsc_hooks {
	void *user;
	/** Before the upgrade or stream: 0 and @id filled in, or negative: refused (401, or as wsc_reason() says). */
	int (*authenticate_user)(void *user, struct wsc_call *call, const struct wsc_request *request,
				 struct wsc_identity *id);
	/** Once the connection can receive, before its first message: 0, or negative: closed with 4403 (SSE: answered 403). */
	int (*on_client_connect)(void *user, struct wsc_call *call, const struct wsc_client *client);
	/** Exactly once for each connection that on_client_connect accepted. */
	void (*on_client_disconnect)(void *user, const struct wsc_client *client, const struct wsc_disconnect *why);
	/** Every message on /ws and every POST send, after the built-in checks: WSC_ALLOW or WSC_REFUSE. */
	int (*on_message_received)(void *user, struct wsc_call *call, const struct wsc_client *client,
				   const struct wsc_message *message);
	/** Once per message to a user or ticket, whoever sends it. May point members of @message elsewhere (copied on return; a new
	 * content_len counts only with a new content; id, from, to and ticket_id stay). 0, or negative: stopped. */
	int (*on_message_send)(void *user, struct wsc_call *call, struct wsc_message *message);
	/** The same, once per broadcast. */
	int (*on_broadcast)(void *user, struct wsc_call *call, struct wsc_message *message);
	/** Fill in @welcome and return true: it is the first message this client gets. */
	bool (*welcome_message)(void *user, const struct wsc_client *client, struct wsc_message *welcome);
	/** Anything that went wrong. */
	void (*on_error)(void *user, const struct wsc_problem *problem);
};

#ifdef __cplusplus
}
#endif

#endif
