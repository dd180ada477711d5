/* SPDX-License-Identifier: Apache-2.0 */
/* routes: see routes.h. A dozen rows: a linear look beats anything cleverer. */
#include "api/routes.h"

#include "base/mem.h"
#include "wsc/error.h"

int routes_add(struct routes *r, const char *method, const char *path, const struct route_type *type,
	       const void *target, void *user)
{
	struct route *row;
	size_t len = strlen(method);

	for (size_t i = 0; i < r->n; i++)
		if (strcmp(r->at[i].path, path) == 0 && strcmp(r->at[i].method, method) == 0)
			return -WSC_ESTATE;
	if (r->n == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 16;
		struct route *grown = mem_realloc(r->at, cap * sizeof *grown);

		if (!grown)
			return -WSC_ENOMEM;
		r->at = grown;
		r->cap = cap;
	}
	if (len >= sizeof row->method)
		return -WSC_EINVAL;
	row = &r->at[r->n];
	*row = (struct route){ .path = mem_strndup(path, strlen(path)), .type = type, .target = target, .user = user };
	if (!row->path)
		return -WSC_ENOMEM;
	memcpy(row->method, method, len + 1);
	r->n++;
	return 0;
}

void routes_deinit(struct routes *r)
{
	for (size_t i = 0; i < r->n; i++)
		mem_free(r->at[i].path);
	mem_free(r->at);
	*r = (struct routes){ 0 };
}

enum route_found routes_find(const struct routes *r, struct bytes method, struct bytes path, const struct route **out)
{
	bool seen = false;

	if (bytes_eq(method, BYTES("HEAD")))
		method = BYTES("GET");
	for (size_t i = 0; i < r->n; i++) {
		if (!bytes_eq(bytes_str(r->at[i].path), path))
			continue;
		seen = true;
		if (bytes_eq(bytes_str(r->at[i].method), method)) {
			*out = &r->at[i];
			return ROUTE_FOUND;
		}
	}
	return seen ? ROUTE_NO_METHOD : ROUTE_NO_PATH;
}

bool routes_allow(const struct routes *r, struct bytes path, struct buf *b)
{
	bool any = false;

	for (size_t i = 0; i < r->n; i++) {
		if (!bytes_eq(bytes_str(r->at[i].path), path))
			continue;
		any = true;
		buf_add_str(b, r->at[i].method);
		buf_add_str(b, strcmp(r->at[i].method, "GET") == 0 ? ", HEAD, " : ", ");
	}
	if (any)
		buf_add_str(b, "OPTIONS");
	return any;
}
