/* SPDX-License-Identifier: Apache-2.0 */
/* origin: see origin.h. Everything is compared parsed and in lower case, never by suffix or substring of the raw text. */
#include "api/origin.h"

#include "proto/http1.h"

#define ORIGIN_MAX 512

struct parsed {
	struct bytes scheme, host, port; /* port empty: the scheme's own */
};

static struct bytes default_port(struct bytes scheme)
{
	return bytes_eq(scheme, BYTES("https"))  ? BYTES("443")
	       : bytes_eq(scheme, BYTES("http")) ? BYTES("80")
						 : BYTES("");
}

/* host[:port], with an IPv6 literal in brackets. */
static bool parse_authority(struct bytes s, struct parsed *out)
{
	size_t colon = s.len;

	for (size_t i = s.len; i-- > 0 && s.at[i] != ']';)
		if (s.at[i] == ':') {
			colon = i;
			break;
		}
	out->host = bytes_of(s.at, colon);
	out->port = colon < s.len ? bytes_of(s.at + colon + 1, s.len - colon - 1) : BYTES("");
	if (bytes_eq(out->port, default_port(out->scheme)))
		out->port = BYTES("");
	return out->host.len > 0;
}

static bool parse(struct bytes s, struct parsed *out)
{
	const uint8_t *sep = s.len > 3 ? memmem(s.at, s.len, "://", 3) : NULL;

	if (!sep)
		return false;
	out->scheme = bytes_of(s.at, (size_t)(sep - s.at));
	bytes_skip(&s, out->scheme.len + 3);
	if (s.len == 0 || memchr(s.at, '/', s.len) || memchr(s.at, '@', s.len))
		return false;
	return parse_authority(s, out);
}

static bool host_matches(struct bytes rule, struct bytes host)
{
	if (!bytes_starts(rule, BYTES("*.")))
		return bytes_eq(rule, host);
	bytes_skip(&rule, 1); /* ".example.com" */
	return host.len > rule.len && bytes_eq(bytes_of(host.at + host.len - rule.len, rule.len), rule);
}

static bool own_origin(const struct parsed *o, struct bytes host)
{
	char lower[ORIGIN_MAX];
	struct parsed own = { .scheme = o->scheme };

	if (host.len == 0 || host.len > sizeof lower)
		return false;
	if (!bytes_eq(o->scheme, BYTES("http")) && !bytes_eq(o->scheme, BYTES("https")))
		return false;
	for (size_t i = 0; i < host.len; i++)
		lower[i] = (char)bytes_lower(host.at[i]);
	return parse_authority(bytes_of(lower, host.len), &own) && bytes_eq(own.host, o->host) &&
	       bytes_eq(own.port, o->port);
}

bool origin_allowed(char *const *rules, size_t n, struct bytes origin, struct bytes host)
{
	char lower[ORIGIN_MAX];
	struct parsed o, rule;
	bool good;

	if (origin.len > sizeof lower)
		return false;
	for (size_t i = 0; i < origin.len; i++)
		lower[i] = (char)bytes_lower(origin.at[i]);
	good = parse(bytes_of(lower, origin.len), &o) && http1_host_valid(o.host);
	for (size_t i = 0; i < n; i++) {
		if (strcmp(rules[i], "*") == 0)
			return true;
		if (good && parse(bytes_str(rules[i]), &rule) && bytes_eq(rule.scheme, o.scheme) &&
		    bytes_eq(rule.port, o.port) && host_matches(rule.host, o.host))
			return true;
	}
	return good && own_origin(&o, host);
}
