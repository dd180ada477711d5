/* SPDX-License-Identifier: Apache-2.0 */
/* parse: small parsers, one for each kind of value. Only the buf of the caller allocates. */
#include "config/parse.h"

#include <sys/un.h>

#include "base/ip.h"
#include "base/utf8.h"

static bool is_digit(uint8_t c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(uint8_t c)
{
	return is_digit(c) || (bytes_lower(c) >= 'a' && bytes_lower(c) <= 'z');
}

/* Takes the digits at the front of @s. Refuses "010" because some programs read it as eight. */
static bool take_count(struct bytes *s, uint64_t *out)
{
	struct bytes in = *s;
	uint64_t n = 0;

	while (in.len && is_digit(in.at[0])) {
		if (__builtin_mul_overflow(n, 10u, &n) || __builtin_add_overflow(n, (uint64_t)(in.at[0] - '0'), &n))
			return false;
		bytes_skip(&in, 1);
	}
	if (in.len == s->len || (s->at[0] == '0' && s->len - in.len > 1))
		return false;
	*s = in;
	*out = n;
	return true;
}

bool parse_count(struct bytes s, uint64_t *out)
{
	uint64_t n;

	if (!take_count(&s, &n) || s.len)
		return false;
	*out = n;
	return true;
}

bool parse_bool(struct bytes s, uint64_t *out)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		if (!bytes_eq_nocase(s, bytes_str(words[i])))
			continue;
		*out = i & 1;
		return true;
	}
	return false;
}

bool parse_rate(struct bytes s, uint64_t *per_second)
{
	uint64_t n;

	if (!take_count(&s, &n) || (s.len && !bytes_eq(s, BYTES("/s"))))
		return false;
	*per_second = n;
	return true;
}

struct unit {
	const char *name;
	uint64_t factor;
};

/* The first unit that @s begins with; where two units begin alike, the longer one comes first in the table. */
static const struct unit *take_unit(struct bytes *s, const struct unit *units, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct bytes name = bytes_str(units[i].name);

		if (s->len < name.len || !bytes_eq_nocase(bytes_of(s->at, name.len), name))
			continue;
		bytes_skip(s, name.len);
		return &units[i];
	}
	return NULL;
}

static bool multiply(uint64_t n, uint64_t factor, uint64_t *out)
{
	uint64_t product;

	if (__builtin_mul_overflow(n, factor, &product))
		return false;
	*out = product;
	return true;
}

bool parse_duration(struct bytes s, uint64_t *ms)
{
	static const struct unit units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	uint64_t total = 0, n;

	if (parse_count(s, &n))
		return multiply(n, 1000, ms);
	do {
		const struct unit *unit;

		if (!take_count(&s, &n) || !(unit = take_unit(&s, units, sizeof(units) / sizeof(units[0]))))
			return false;
		if (!multiply(n, unit->factor, &n) || __builtin_add_overflow(total, n, &total))
			return false;
	} while (s.len);
	*ms = total;
	return true;
}

static bool parse_bytes(struct bytes s, uint64_t bare, uint64_t *bytes)
{
	static const struct unit units[] = { { "KiB", 1024 }, { "MiB", 1048576 }, { "GiB", 1073741824 },
					     { "KB", 1024 },  { "MB", 1048576 },  { "GB", 1073741824 },
					     { "B", 1 } };
	const struct unit *unit;
	uint64_t n;

	if (!take_count(&s, &n))
		return false;
	if (s.len == 0)
		return multiply(n, bare, bytes);
	while (s.len && s.at[0] == ' ')
		bytes_skip(&s, 1);
	unit = take_unit(&s, units, sizeof(units) / sizeof(units[0]));
	return unit && s.len == 0 && multiply(n, unit->factor, bytes);
}

bool parse_size(struct bytes s, uint64_t *bytes)
{
	return parse_bytes(s, 1, bytes);
}

bool parse_kibibytes(struct bytes s, uint64_t *bytes)
{
	return parse_bytes(s, 1024, bytes);
}

/* Is every byte of @s alphanumeric or one of @others? */
static bool consists_of(struct bytes s, const char *others)
{
	for (size_t i = 0; i < s.len; i++)
		if (!is_alnum(s.at[i]) && !(s.at[i] && strchr(others, s.at[i])))
			return false;
	return true;
}

bool parse_name(struct bytes s, struct buf *out)
{
	if (s.len == 0 || s.len > 64 || !consists_of(s, "._:-"))
		return false;
	buf_add(out, s);
	return true;
}

bool parse_text(struct bytes s, struct buf *out)
{
	if (s.len == 0 || s.len > 4096 || !utf8_valid(s))
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (s.at[i] < 0x20 || s.at[i] == 0x7f || (s.at[i] == 0xc2 && s.at[i + 1] < 0xa0))
			return false;
	buf_add(out, s);
	return true;
}

bool parse_word(struct bytes s, struct buf *out)
{
	return s.len <= 128 && parse_text(s, out);
}

/*
 * '/' and a segment that is not empty, "." or "..", repeated, so that it can be compared with a request path byte by
 * byte.
 */
bool parse_path(struct bytes s, struct buf *out)
{
	struct bytes rest = s;

	if (s.len < 2 || s.len > 128 || s.at[0] != '/' || !consists_of(s, "/._~-"))
		return false;
	while (rest.len) {
		struct bytes segment;
		const uint8_t *end;

		bytes_skip(&rest, 1);
		end = rest.len ? memchr(rest.at, '/', rest.len) : NULL;
		segment = bytes_of(rest.at, end ? (size_t)(end - rest.at) : rest.len);
		if (segment.len == 0 || bytes_eq(segment, BYTES(".")) || bytes_eq(segment, BYTES("..")))
			return false;
		bytes_skip(&rest, segment.len);
	}
	buf_add(out, s);
	return true;
}

bool parse_address(struct bytes s, struct buf *out)
{
	struct bytes unix_path = s;
	struct ip ip;

	if (bytes_starts(s, BYTES("unix:"))) {
		bytes_skip(&unix_path, 5);
		if (unix_path.len < 2 || unix_path.at[0] != '/' ||
		    unix_path.len >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
			return false;
		return parse_text(s, out);
	}
	if (!ip_parse(s, &ip))
		return false;
	buf_add(out, s);
	return true;
}

static void add_lower(struct buf *out, struct bytes s)
{
	for (size_t i = 0; i < s.len; i++)
		buf_add_u8(out, bytes_lower(s.at[i]));
}

/* RFC 3986 §3.1 */
static bool is_scheme(struct bytes s)
{
	return s.len && s.len <= 32 && !is_digit(s.at[0]) && is_alnum(s.at[0]) && consists_of(s, "+-.");
}

/* A name, an IPv4 address or an IPv6 address in brackets. */
static bool is_host(struct bytes host)
{
	struct ip ip;

	if (host.len > 2 && host.at[0] == '[' && host.at[host.len - 1] == ']')
		return memchr(host.at, ':', host.len) && ip_parse(bytes_of(host.at + 1, host.len - 2), &ip);
	if (host.len == 0 || host.len > 253 || host.at[0] == '.' || !consists_of(host, "._-"))
		return false;
	return memmem(host.at, host.len, "..", 2) == NULL;
}

/* Takes ":port" off the end of @host; *port is 0 when there is none. */
static bool cut_port(struct bytes *host, uint64_t *port)
{
	const uint8_t *colon = host->len ? memrchr(host->at, ':', host->len) : NULL;
	struct bytes digits;

	*port = 0;
	if (!colon || host->at[host->len - 1] == ']')
		return true;
	digits = bytes_of(colon + 1, (size_t)(host->at + host->len - colon) - 1);
	host->len = (size_t)(colon - host->at);
	return parse_count(digits, port) && *port >= 1 && *port <= 65535;
}

static bool is_default_port(struct bytes scheme, uint64_t port)
{
	return (port == 80 && bytes_eq_nocase(scheme, BYTES("http"))) ||
	       (port == 443 && bytes_eq_nocase(scheme, BYTES("https")));
}

bool parse_origin(struct bytes s, struct buf *out)
{
	const uint8_t *mark = s.len ? memmem(s.at, s.len, "://", 3) : NULL;
	struct bytes scheme, host = s;
	bool subdomains;
	uint64_t port;

	if (bytes_eq(s, BYTES("*"))) {
		buf_add(out, s);
		return true;
	}
	if (!mark)
		return false;
	scheme = bytes_of(s.at, (size_t)(mark - s.at));
	bytes_skip(&host, scheme.len + 3);
	subdomains = bytes_starts(host, BYTES("*."));
	if (subdomains)
		bytes_skip(&host, 2);
	if (!is_scheme(scheme) || !cut_port(&host, &port) || !is_host(host) || (subdomains && host.at[0] == '['))
		return false;
	add_lower(out, scheme);
	buf_add_str(out, subdomains ? "://*." : "://");
	add_lower(out, host);
	if (port && !is_default_port(scheme, port))
		buf_addf(out, ":%llu", (unsigned long long)port);
	return true;
}
