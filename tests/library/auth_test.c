/* SPDX-License-Identifier: Apache-2.0 */
/* The hook authenticate_user: before the upgrade or stream; an identity, a refusal with status and reason, or later. */
#include "scene.h"

static void set(struct wsc_identity *id, const char *user, const char *type)
{
	snprintf(id->user_id, sizeof id->user_id, "%s", user);
	snprintf(id->user_type, sizeof id->user_type, "%s", type);
}

/* The token names the user: "Bearer alice". */
static int by_token(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	char token[64];

	(void)user;
	if (!wsc_request_header(request, "authorization", token, sizeof token) || strncmp(token, "Bearer ", 7) != 0) {
		wsc_reason(call, 402, "a token \"Bearer\" is needed");
		return -1;
	}
	set(id, token + 7, "agent");
	return 0;
}

/* Shows: 2.authenticate-user, 8.authenticate_user, threat 102 */
TEST(authenticate_user_gives_the_identity_and_replaces_the_rule)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = by_token }, NULL);
	struct client *alice = ws_open(s->port, "/ws?user_id=mallory", "Authorization: Bearer alice\r\n");
	struct answer a;

	CHECK_EQ(client_status(alice), 101);
	CHECK(http_call(s->port, "GET", "/wsc/online", NULL, NULL, &a));
	CHECK(strstr(a.body, "\"user_id\":\"alice\"") != NULL);
	CHECK(strstr(a.body, "\"user_type\":\"agent\"") != NULL);
	CHECK(strstr(a.body, "mallory") == NULL);
	client_close(alice);
	scene_free(s);
}

/* Shows: 2.authenticate-user, 8.authenticate_user */
TEST(a_refusal_by_authenticate_user_has_its_status_and_reason)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = by_token }, NULL);
	struct client *ws = ws_open(s->port, "/ws?user_id=alice", NULL);
	struct client *sse = sse_open(s->port, "/sse?user_id=alice");

	CHECK_EQ(client_status(ws), 402);
	CHECK(strstr(client_answer(ws), "\"error\":\"a token \\\"Bearer\\\" is needed\",\"message\":null") != NULL);
	CHECK_EQ(client_status(sse), 402);
	client_free(ws);
	client_free(sse);
	scene_free(s);
}

static int just_no(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)user, (void)call, (void)request;
	set(id, "alice", "");
	return -1;
}

/* Shows: 2.wsc-v1, 7.4401 */
TEST(a_refusal_without_status_is_401_and_4401_for_wsc_v1)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = just_no }, NULL);
	struct client *plain = ws_open(s->port, "/ws?user_id=alice", NULL);
	struct client *sdk = ws_open(s->port, "/ws?user_id=alice", "Sec-WebSocket-Protocol: wsc.v1\r\n");

	CHECK_EQ(client_status(plain), 401);
	CHECK(strstr(client_answer(plain), "\"success\":false") != NULL);
	CHECK_EQ(client_status(sdk), 101);
	CHECK_EQ(client_end(sdk), 4401);
	CHECK(strcmp(client_reason(sdk), "not authenticated") == 0);
	client_free(plain);
	client_free(sdk);
	scene_free(s);
}

static int empty(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)user, (void)call, (void)request, (void)id;
	return 0;
}

/* Shows: 2.authenticate-user */
TEST(an_empty_id_from_authenticate_user_is_a_refusal)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = empty }, NULL);
	struct client *c = ws_open(s->port, "/ws?user_id=alice", NULL);

	CHECK_EQ(client_status(c), 401);
	client_free(c);
	scene_free(s);
}

static int from_query(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)user, (void)call;
	wsc_request_query(request, "id", id->user_id, sizeof id->user_id);
	wsc_request_query(request, "type", id->user_type, sizeof id->user_type);
	return 0;
}

/* Shows: 2.authenticate-user */
TEST(an_identity_from_the_hook_obeys_the_rules_for_ids_and_types)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = from_query }, NULL);
	static const struct {
		const char *target;
		int status;
	} row[] = {
		{ "/ws?id=alice", 101 },  { "/ws?id=alice&type=vip", 101 }, { "/ws?id=alice&type=king", 403 },
		{ "/ws?id=system", 403 }, { "/ws?id=a%01b", 400 },          { "/ws?user_id=alice", 401 },
	};

	for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
		struct client *c = ws_open(s->port, row[i].target, NULL);

		if (!CHECK_EQ(client_status(c), row[i].status))
			printf("\t%s\n", row[i].target);
		client_free(c);
	}
	scene_free(s);
}

static int looks_around(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	char text[64] = "before", small[4] = "abc";
	const char *body;
	size_t len = 99;

	(void)call;
	note(user, "method %s", wsc_request_method(request));
	note(user, "path %s", wsc_request_path(request));
	note(user, "address %s", wsc_request_address(request));
	note(user, "query %d %s", wsc_request_query(request, "token", text, sizeof text), text);
	note(user, "first %d %s", wsc_request_query(request, "twice", text, sizeof text), text);
	note(user, "absent %d [%s]", wsc_request_query(request, "no", text, sizeof text), text);
	note(user, "too small %d [%s]", wsc_request_query(request, "token", small, sizeof small), small);
	note(user, "header %d %s", wsc_request_header(request, "x-MINE", text, sizeof text), text);
	body = wsc_request_body(request, &len);
	note(user, "body [%s] %zu", body, len);
	set(id, "alice", "");
	return 0;
}

/* Shows: 8.authenticate_user */
TEST(the_hook_reads_method_path_query_header_and_address)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = looks_around }, NULL);
	struct client *c = ws_open(s->port, "/ws?token=a%20b%2Bc&twice=1&twice=2", "X-Mine: yes\r\n");

	CHECK_EQ(client_status(c), 101);
	CHECK(noted(s, "method GET"));
	CHECK(noted(s, "path /ws"));
	CHECK(noted(s, "address 127.0.0.1"));
	CHECK(noted(s, "query 1 a b+c"));
	CHECK(noted(s, "first 1 1"));
	CHECK(noted(s, "absent 0 []"));
	CHECK(noted(s, "too small 0 []"));
	CHECK(noted(s, "header 1 yes"));
	CHECK(noted(s, "body [] 0"));
	client_close(c);
	scene_free(s);
}

/* ---- pending ------------------------------------------------------------------------------------------------------ */

static int later(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)request, (void)id;
	return keep(user, call);
}

static const struct wsc_hooks pending = { .authenticate_user = later };

/* Shows: 8.authenticate_user */
TEST(a_pending_identity_is_given_by_another_thread)
{
	struct scene *s = scene_new(&pending, NULL);
	struct client *c = ws_begin(s->port, "/ws", NULL);
	struct wsc_identity id = { .user_id = "alice", .user_type = "vip" };
	struct answer a;

	wsc_finish_identity(kept(s, 0), 0, &id, 0, NULL);
	CHECK_EQ(client_status(c), 101);
	CHECK(http_call(s->port, "GET", "/wsc/online?user_id=alice", NULL, NULL, &a));
	CHECK(strstr(a.body, "\"user_type\":\"vip\"") != NULL);
	client_close(c);
	scene_free(s);
}

/* Shows: 8.authenticate_user */
TEST(a_pending_identity_is_refused_with_status_and_reason)
{
	struct scene *s = scene_new(&pending, NULL);
	struct client *c = ws_begin(s->port, "/ws", NULL), *d;

	wsc_finish_identity(kept(s, 0), -1, NULL, 403, "the token has expired");
	CHECK_EQ(client_status(c), 403);
	CHECK(strstr(client_answer(c), "the token has expired") != NULL);
	d = ws_begin(s->port, "/ws", NULL);
	wsc_finish_identity(kept(s, 1), 0, &(struct wsc_identity){ .user_id = "" }, 0, NULL);
	CHECK_EQ(client_status(d), 401);
	client_free(c);
	client_free(d);
	scene_free(s);
}

/* Shows: 8.authenticate_user, threat 121, owasp.5 */
TEST(an_identity_that_stays_pending_beyond_hook_timeout_is_503)
{
	struct scene *s = scene_new(&pending, "hook_timeout", "100ms", NULL);
	struct client *c = ws_begin(s->port, "/ws", NULL), *d;

	CHECK_EQ(client_status(c), 503);
	CHECK(strstr(client_answer(c), "\"code\":\"hook_timeout\"") != NULL);
	wsc_finish_identity(kept(s, 0), 0, &(struct wsc_identity){ .user_id = "alice" }, 0,
			    NULL); /* too late, and harmless */
	d = ws_begin(s->port, "/ws", "Sec-WebSocket-Protocol: wsc.v1\r\n");
	CHECK_EQ(client_end(d), 1013);
	wsc_finish_identity(kept(s, 1), 0, &(struct wsc_identity){ .user_id = "alice" }, 0, NULL);
	client_free(c);
	client_free(d);
	scene_free(s);
}

/* Shows: threat 116, threat 117 */
TEST(a_client_that_leaves_while_its_identity_is_pending_harms_no_other_client)
{
	struct scene *s = scene_new(&pending, NULL);
	struct client *c;

	client_reset(ws_begin(s->port, "/ws", NULL));
	wsc_finish_identity(kept(s, 0), 0, &(struct wsc_identity){ .user_id = "gone" }, 0, NULL);
	c = ws_begin(s->port, "/ws", NULL);
	wsc_finish_identity(kept(s, 1), 0, &(struct wsc_identity){ .user_id = "alice" }, 0, NULL);
	CHECK_EQ(client_status(c), 101);
	client_close(c);
	scene_free(s);
}

static int at_once(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)user, (void)request, (void)id;
	wsc_finish_identity(wsc_defer(call), 0, &(struct wsc_identity){ .user_id = "alice" }, 0, NULL);
	return WSC_PENDING;
}

TEST(a_pending_call_may_be_finished_within_the_hook)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = at_once }, NULL);
	struct client *c = ws_open(s->port, "/ws", NULL);

	CHECK_EQ(client_status(c), 101);
	client_close(c);
	scene_free(s);
}

static int empty_promise(void *user, struct wsc_call *call, const struct wsc_request *request, struct wsc_identity *id)
{
	(void)user, (void)call, (void)request;
	set(id, "alice", "");
	return WSC_PENDING;
}

TEST(pending_without_wsc_defer_is_a_refusal)
{
	struct scene *s = scene_new(&(struct wsc_hooks){ .authenticate_user = empty_promise }, NULL);
	struct client *c = ws_open(s->port, "/ws", NULL);

	CHECK_EQ(client_status(c), 401);
	client_free(c);
	scene_free(s);
}
