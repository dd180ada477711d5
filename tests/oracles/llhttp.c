/* SPDX-License-Identifier: Apache-2.0 */
/*
 * llhttp: how the parser of Node.js reads requests, in the format of verdicts.c. Its sources are Debian's
 * (node-llhttp); it runs in its own strict defaults, with no lenient flag set.
 */
#include "frame.h"

#include <string.h>
#include "llhttp.h"

struct text {
	uint8_t at[1 << 18];
	size_t len;
};

struct reading {
	struct text target, name, value, fields, body;
	bool in_value, head_done, message_done, close;
	int keep;
};

static void add(struct text *t, const char *at, size_t n)
{
	assert(n <= sizeof t->at - t->len);
	memcpy(t->at + t->len, at, n);
	t->len += n;
}

static void hex(const struct text *t)
{
	if (t->len == 0)
		putchar('-');
	put_hex(t->at, t->len);
}

static struct reading *of(llhttp_t *p)
{
	return p->data;
}

static int on_target(llhttp_t *p, const char *at, size_t n)
{
	add(&of(p)->target, at, n);
	return 0;
}

static void add_hex(struct text *t, const struct text *from)
{
	char two[3];

	if (from->len == 0)
		add(t, "-", 1);
	for (size_t i = 0; i < from->len; i++) {
		snprintf(two, sizeof two, "%02x", from->at[i]);
		add(t, two, 2);
	}
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
	add(&of(p)->name, at, n);
	return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
	add(&of(p)->value, at, n);
	return 0;
}

/* Trailers come the same way; they are ignored, as ours are. */
static int on_value_complete(llhttp_t *p)
{
	struct reading *r = of(p);

	while (r->value.len && (r->value.at[r->value.len - 1] == ' ' || r->value.at[r->value.len - 1] == '\t'))
		r->value.len--;
	if (!r->head_done) {
		add_hex(&r->fields, &r->name);
		add(&r->fields, ":", 1);
		add_hex(&r->fields, &r->value);
		add(&r->fields, ",", 1);
	}
	r->name.len = r->value.len = 0;
	return 0;
}

static int on_headers_complete(llhttp_t *p)
{
	const char *method = llhttp_method_name(p->method);
	struct reading *r = of(p);

	r->head_done = true;
	r->keep = llhttp_should_keep_alive(p);
	p->upgrade = 0; /* for us an upgrade begins behind the request, not instead of its body */
	fputs("R ", stdout);
	put_hex((const uint8_t *)method, strlen(method));
	putchar(' ');
	hex(&r->target);
	printf(" %d %d ", p->http_minor, r->keep);
	fwrite(r->fields.at, 1, r->fields.len, stdout);
	fputs(" -", stdout);
	return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
	(void)p;
	put_hex((const uint8_t *)at, n);
	return 0;
}

/* Stops behind each message, so that the next one is begun by us, or not at all. */
static int on_message_complete(llhttp_t *p)
{
	of(p)->message_done = true;
	return HPE_PAUSED;
}

static void one_input(const uint8_t *data, size_t len, struct reading *r)
{
	const char *at = (const char *)data, *end = at + len;
	llhttp_settings_t settings;
	enum llhttp_errno e;
	llhttp_t p;

	llhttp_settings_init(&settings);
	settings.on_url = on_target;
	settings.on_header_field = on_name;
	settings.on_header_value = on_value;
	settings.on_header_value_complete = on_value_complete;
	settings.on_headers_complete = on_headers_complete;
	settings.on_body = on_body;
	settings.on_message_complete = on_message_complete;
	do {
		r->target.len = r->name.len = r->value.len = r->fields.len = 0;
		r->head_done = r->message_done = false;
		llhttp_init(&p, HTTP_REQUEST, &settings);
		p.data = r;
		e = llhttp_execute(&p, at, (size_t)(end - at));
		if (r->message_done) {
			at = llhttp_get_error_pos(&p);
			assert(e == HPE_PAUSED && at && at <= end);
			fputs(r->keep ? " . " : " . close", stdout);
			if (r->keep && at == end)
				fputs("end", stdout);
		} else {
			fputs(r->head_done ? " " : "", stdout);
			if (e == HPE_OK)
				fputs("more", stdout);
			else
				printf("error %s %s", llhttp_errno_name(e), llhttp_get_error_reason(&p));
		}
	} while (r->message_done && r->keep && at < end);
}

int main(void)
{
	struct reading *r = calloc(1, sizeof *r);
	uint8_t *data;
	size_t len;

	assert(r);
	while ((data = frame_read(&len))) {
		one_input(data, len, r);
		putchar('\n');
		free(data);
	}
	free(r);
	return ferror(stdout) ? 1 : 0;
}
