/* SPDX-License-Identifier: Apache-2.0 */
/* api_routes: exact paths, methods, Allow. */
#include "api/routes.h"
#include "test.h"
#include "wsc/error.h"

#define TYPE(k)           \
	{                 \
		.kind = k \
	}
static const struct route_type types[ROUTE_KINDS] = {
	[ROUTE_WEBSOCKET] = TYPE(ROUTE_WEBSOCKET),
	[ROUTE_SEND] = TYPE(ROUTE_SEND),
	[ROUTE_LIVEZ] = TYPE(ROUTE_LIVEZ),
	[ROUTE_PROGRAM] = TYPE(ROUTE_PROGRAM),
};

static struct routes table(void)
{
	struct routes r = { 0 };

	CHECK_EQ(routes_add(&r, "GET", "/ws", &types[ROUTE_WEBSOCKET], NULL, NULL), 0);
	CHECK_EQ(routes_add(&r, "POST", "/api/send", &types[ROUTE_SEND], NULL, NULL), 0);
	CHECK_EQ(routes_add(&r, "GET", "/both", &types[ROUTE_PROGRAM], "g", NULL), 0);
	CHECK_EQ(routes_add(&r, "POST", "/both", &types[ROUTE_PROGRAM], "p", NULL), 0);
	return r;
}

static enum route_found find(const struct routes *r, const char *method, const char *path, const struct route **out)
{
	return routes_find(r, bytes_str(method), bytes_str(path), out);
}

TEST(a_route_is_found_by_its_exact_path_and_method)
{
	struct routes r = table();
	const struct route *at = NULL;

	CHECK_EQ(find(&r, "GET", "/ws", &at), ROUTE_FOUND);
	CHECK_EQ(at->type->kind, ROUTE_WEBSOCKET);
	CHECK_EQ(find(&r, "POST", "/both", &at), ROUTE_FOUND);
	CHECK(strcmp(at->target, "p") == 0);
	CHECK_EQ(find(&r, "GET", "/both", &at), ROUTE_FOUND);
	CHECK(strcmp(at->target, "g") == 0);
	routes_deinit(&r);
}

TEST(near_misses_are_no_path)
{
	static const char *const none[] = { "",     "/",     "/w",         "/ws/",        "/ws/x", "/WS",  "//ws", "ws",
					    "/api", "/api/", "/api/send/", "/api/send/x", "*",     "/ws ", " /ws" };
	struct routes r = table();
	const struct route *at;

	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		CHECK_EQ(find(&r, "GET", none[i], &at), ROUTE_NO_PATH);
	CHECK_EQ(routes_find(&r, BYTES("GET"), BYTES("/ws\0"), &at), ROUTE_NO_PATH);
	routes_deinit(&r);
}

TEST(head_finds_get_and_other_methods_find_nothing)
{
	static const char *const none[] = { "POST", "PUT", "DELETE", "get", "GE", "GETT", "", "OPTIONS" };
	struct routes r = table();
	const struct route *at = NULL;

	CHECK_EQ(find(&r, "HEAD", "/ws", &at), ROUTE_FOUND);
	CHECK_EQ(at->type->kind, ROUTE_WEBSOCKET);
	CHECK_EQ(find(&r, "HEAD", "/api/send", &at), ROUTE_NO_METHOD);
	for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
		CHECK_EQ(find(&r, none[i], "/ws", &at), ROUTE_NO_METHOD);
	routes_deinit(&r);
}

static void allow(const struct routes *r, const char *path, const char *want)
{
	struct buf b = BUF_INIT;

	CHECK_EQ(routes_allow(r, bytes_str(path), &b), *want != 0);
	CHECK(bytes_eq(buf_bytes(&b), bytes_str(want)));
	buf_deinit(&b);
}

TEST(allow_names_every_method_of_a_path)
{
	struct routes r = table();

	allow(&r, "/ws", "GET, HEAD, OPTIONS");
	allow(&r, "/api/send", "POST, OPTIONS");
	allow(&r, "/both", "GET, HEAD, POST, OPTIONS");
	allow(&r, "/none", "");
	routes_deinit(&r);
}

TEST(a_path_and_method_can_be_taken_once)
{
	struct routes r = table();
	const struct route *at;

	CHECK_EQ(routes_add(&r, "GET", "/ws", &types[ROUTE_LIVEZ], NULL, NULL), -WSC_ESTATE);
	CHECK_EQ(routes_add(&r, "POST", "/ws", &types[ROUTE_PROGRAM], NULL, NULL), 0);
	CHECK_EQ(routes_add(&r, "A-METHOD-TOO-LONG-FOR-US", "/ws", &types[ROUTE_PROGRAM], NULL, NULL), -WSC_EINVAL);
	CHECK_EQ(find(&r, "GET", "/ws", &at), ROUTE_FOUND);
	CHECK_EQ(at->type->kind, ROUTE_WEBSOCKET);
	routes_deinit(&r);
	CHECK_EQ(r.n, 0);
}

TEST(the_table_grows_and_owns_its_paths)
{
	struct routes r = { 0 };
	const struct route *at;
	char path[] = "/p00";

	for (unsigned i = 0; i < 100; i++) {
		path[2] = (char)('0' + i / 10);
		path[3] = (char)('0' + i % 10);
		CHECK_EQ(routes_add(&r, "GET", path, &types[ROUTE_LIVEZ], NULL, NULL), 0);
	}
	CHECK_EQ(find(&r, "GET", "/p00", &at), ROUTE_FOUND);
	CHECK_EQ(find(&r, "GET", "/p99", &at), ROUTE_FOUND);
	routes_deinit(&r);
}
