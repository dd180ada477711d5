/* SPDX-License-Identifier: Apache-2.0 */
/* request: see request.h. */
#include "hook/request.h"

#include "base/mem.h"
#include "proto/query.h"
#include "wsc/error.h"

int request_init(struct wsc_request *r, const struct http1_head *head, struct bytes path, struct bytes body,
		 const struct ip *client)
{
	*r = (struct wsc_request){ .head = head, .body = body };
	r->path = mem_zalloc(path.len + 1 + head->query.len + 1);
	if (!r->path)
		return -WSC_ENOMEM;
	if (path.len)
		memcpy(r->path, path.at, path.len);
	r->scratch = (uint8_t *)r->path + path.len + 1;
	if (head->method_name.len <= HTTP1_METHOD_MAX)
		memcpy(r->method, head->method_name.at, head->method_name.len);
	ip_format(client, r->address);
	return 0;
}

void request_deinit(struct wsc_request *r)
{
	mem_free(r->path);
}

const char *wsc_request_method(const struct wsc_request *r)
{
	return r->method;
}

const char *wsc_request_path(const struct wsc_request *r)
{
	return r->path;
}

static bool copy_out(struct bytes v, char *out, size_t size)
{
	if (size == 0)
		return false;
	out[0] = 0;
	if (v.len >= size || memchr(v.at ? v.at : (const uint8_t *)"", 0, v.len))
		return false;
	if (v.len)
		memcpy(out, v.at, v.len);
	out[v.len] = 0;
	return true;
}

bool wsc_request_query(const struct wsc_request *r, const char *name, char *out, size_t size)
{
	struct bytes value = { 0 };

	if (size)
		out[0] = 0;
	return query_find(r->head->query, bytes_str(name), r->scratch, &value) == 0 && copy_out(value, out, size);
}

bool wsc_request_header(const struct wsc_request *r, const char *name, char *out, size_t size)
{
	const struct http1_field *f = http1_find(r->head, bytes_str(name));

	if (size)
		out[0] = 0;
	return f && copy_out(f->value, out, size);
}

const char *wsc_request_body(const struct wsc_request *r, size_t *len)
{
	if (len)
		*len = r->body.len;
	return r->body.len ? (const char *)r->body.at : "";
}

const char *wsc_request_address(const struct wsc_request *r)
{
	return r->address;
}
