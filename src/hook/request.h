/* SPDX-License-Identifier: Apache-2.0 */
/* request: an HTTP request as the program sees it, in authenticate_user and in its own routes. Borrowed from its head. */
#ifndef WSC_HOOK_REQUEST_H
#define WSC_HOOK_REQUEST_H

#include "base/ip.h"
#include "proto/http1.h"
#include "wsc/hooks.h"

struct wsc_request {
	const struct http1_head *head;
	struct bytes body;
	char *path;       /* decoded, NUL-terminated */
	uint8_t *scratch; /* behind it: room for any value of the query */
	char method[HTTP1_METHOD_MAX + 1];
	char address[IP_TEXT_MAX];
};

/* @head, @body are borrowed, @path is copied. 0 or -WSC_ENOMEM; undone by request_deinit(). */
int request_init(struct wsc_request *r, const struct http1_head *head, struct bytes path, struct bytes body,
		 const struct ip *client);
void request_deinit(struct wsc_request *r);

#endif
