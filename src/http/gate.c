/* SPDX-License-Identifier: Apache-2.0 */
/* gate: see gate.h. */
#include "http/gate.h"

#include "api/origin.h"

bool gate_origin_ok(const struct conn *c)
{
	const struct http1_head *head = &http_of(c)->head;
	const struct options *opt = &conn_shard(c)->set->opt;
	const struct http1_field *f = NULL;
	bool any = false;

	while ((f = http1_find_next(head, BYTES("origin"), f))) {
		any = true;
		if (!origin_allowed(opt->origins.at, opt->origins.n, f->value, head->host))
			return false;
	}
	return any || !opt->require_origin;
}

struct ip gate_client_ip(const struct conn *c)
{
	const struct nets *trusted = &conn_shard(c)->set->opt.trusted;
	const struct http_conn *h = http_of(c);
	struct ip ip = h->client_of_proxy.len ? h->client_of_proxy : h->peer, next;

	for (size_t i = h->head.nfields; i-- > 0 && ip_match(trusted->at, trusted->n, &ip);) {
		struct bytes list = h->head.fields[i].value;

		if (!bytes_eq_nocase(h->head.fields[i].name, BYTES("x-forwarded-for")))
			continue;
		while (list.len && ip_match(trusted->at, trusted->n, &ip)) {
			const uint8_t *comma = memrchr(list.at, ',', list.len);
			size_t from = comma ? (size_t)(comma - list.at) + 1 : 0;

			if (!ip_parse_peer(bytes_trim(bytes_of(list.at + from, list.len - from)), &next))
				return ip;
			ip = next;
			list.len = comma ? from - 1 : 0;
		}
	}
	return ip;
}

static bool ip_allowed(const struct conn *c)
{
	const struct options *opt = &conn_shard(c)->set->opt;
	const struct ip *ip = &http_of(c)->client;

	if (ip_match(opt->blocked.at, opt->blocked.n, ip))
		return false;
	return !opt->only_whitelist || ip->len == 0 || ip_match(opt->whitelist.at, opt->whitelist.n, ip);
}

/* Then no new client is let in: no connection, and on a connection that is there no session. */
static bool memory_is_short(const struct conn *c)
{
	const struct http_conn *h = http_of(c);

	return atomic_load_explicit(&conn_shard(c)->set->pressure.shared.step, memory_order_relaxed) >=
		       PRESSURE_NO_NEWCOMERS &&
	       (h->requests == 1 || (h->route && (h->route->type->flags & ROUTE_SESSION)));
}

/* A full node is alive, so a probe must not conclude that it should be killed; a node without memory says so in its figures. */
static bool answers_when_full(const struct conn *c)
{
	const struct route *r = http_of(c)->route;

	return r && ((r->type->flags & ROUTE_WHEN_FULL) || ((r->type->flags & ROUTE_WHEN_SHORT) && memory_is_short(c)));
}

enum end gate_barred(const struct conn *c)
{
	/* First the clients that may not ask at all, because a full node still answers some questions. */
	if (!ip_allowed(c))
		return END_ADDRESS;
	if (!gate_origin_ok(c))
		return http1_find(&http_of(c)->head, BYTES("origin")) ? END_ORIGIN : END_NO_ORIGIN;
	if (answers_when_full(c))
		return END_NONE;
	if (memory_is_short(c))
		return END_NODE_MEMORY;
	return http_of(c)->overloaded ? END_NODE_FULL : END_NONE;
}

bool gate_on_loopback(const struct conn *c)
{
	static const char *const hosts[] = { "localhost", "127.0.0.1", "[::1]" };
	const struct http_conn *h = http_of(c);
	struct bytes host = h->head.host;

	if (h->proxied)
		return false;
	for (size_t i = 0; i < h->head.nfields; i++) {
		struct bytes name = h->head.fields[i].name;

		if (bytes_eq_nocase(name, BYTES("forwarded")) || bytes_eq_nocase(name, BYTES("via")) ||
		    (name.len >= 12 && bytes_eq_nocase(bytes_of(name.at, 12), BYTES("x-forwarded-"))))
			return false;
	}
	for (size_t i = host.len; i-- > 0 && host.at[i] != ']';)
		if (host.at[i] == ':') {
			host.len = i;
			break;
		}
	for (size_t i = 0; i < 3; i++)
		if (ip_loopback(&h->peer) && bytes_eq_nocase(host, bytes_str(hosts[i])))
			return true;
	return false;
}
