/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check: keys that contradict each other, and keys that ask for more safety or durability than this version has. With
 * such keys the gateway does not start, so that it never runs with less protection than the user asked for.
 */
#include "config/check.h"

#include "base/mem.h"
#include "config/value.h"
#include "wsc/error.h"

struct check {
	struct wsc_config *c;
	bool no_memory;
};

/* The place where the row was written, or "defaults". */
static struct place place_of(const struct check *k, enum config_option opt)
{
	const char *written = k->c->written[opt];

	return (struct place){ .name = written ? written : "defaults",
			       .prefix = BYTES("wsc."),
			       .key = bytes_str(config_rows[opt].key) };
}

static void report(struct check *k, enum problem_kind kind, enum config_option opt, struct buf *text)
{
	struct place p = place_of(k, opt);

	if (problem_add_buf(k->c, kind, &p, text) == -WSC_ENOMEM)
		k->no_memory = true;
}

static void report_str(struct check *k, enum problem_kind kind, enum config_option opt, const char *text)
{
	struct buf b = BUF_INIT;

	buf_add_str(&b, text);
	report(k, kind, opt, &b);
}

static void add_value(struct buf *b, const struct check *k, enum config_option opt)
{
	value_format(&k->c->values, &config_rows[opt], b);
}

static bool written(const struct check *k, enum config_option opt)
{
	return k->c->written[opt] != NULL;
}

static void check_timeout(struct check *k)
{
	const struct config *v = &k->c->values;
	struct buf b = BUF_INIT;

	if (!v->client_timeout_ms || v->client_timeout_ms > v->heartbeat_interval_ms)
		return;
	add_value(&b, k, OPT_client_timeout);
	buf_add_str(&b, " is too short; allowed: longer than heartbeat_interval, which is ");
	add_value(&b, k, OPT_heartbeat_interval);
	report(k, PROBLEM_FAULT, OPT_client_timeout, &b);
}

static void check_addresses(struct check *k)
{
	const struct config_strings *ip = &k->c->values.node_ip;

	for (size_t i = 0; i < ip->n; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(ip->at[i], ip->at[j]) == 0) {
				struct buf b = BUF_INIT;

				buf_addf(&b, "%s appears twice", ip->at[i]);
				report(k, PROBLEM_FAULT, OPT_node_ip, &b);
				return;
			}
}

static void check_queue(struct check *k)
{
	const struct config *v = &k->c->values;
	uint64_t least = config_queue_bytes_least(v);
	struct buf b = BUF_INIT;

	if (config_queue_bytes(v) >= least)
		return;
	add_value(&b, k, OPT_performance_max_queue_bytes);
	buf_addf(&b, " is too small; allowed: auto, or at least %lluKiB (security.max_message_size + 64KiB)",
		 (unsigned long long)(least + 1023) / 1024);
	report(k, PROBLEM_FAULT, OPT_performance_max_queue_bytes, &b);
}

static void check_hook(struct check *k, bool has_message_hook)
{
	if (k->c->values.security.sender_mismatch == CONFIG_SENDER_HOOK && !has_message_hook)
		report_str(
			k, PROBLEM_FAULT, OPT_security_sender_mismatch,
			"hook needs the hook on_message_received, and there is none; allowed here: reject or overwrite");
}

/* Features that are not in this version and that a user would rely on. */
static void check_missing(struct check *k)
{
	const struct config *v = &k->c->values;

	if (v->auth.mode == CONFIG_AUTH_TOKEN)
		report_str(k, PROBLEM_FAULT, OPT_auth_mode, "token is not in this version; allowed: open");
	if (v->store.kind != CONFIG_STORE_NONE)
		report_str(k, PROBLEM_FAULT, OPT_store_kind, "storage is not in this version; allowed: none");
	if (v->admin.token)
		report_str(k, PROBLEM_FAULT, OPT_admin_token,
			   "an admin token is not in this version; without it administration answers only on loopback");
}

static void check_tls(struct check *k)
{
	const struct config *v = &k->c->values;
	size_t certificates = v->tls.certificate.n, keys = v->tls.key.n;
	struct buf b = BUF_INIT;

	if (certificates != keys && (!certificates || !keys)) {
		report_str(k, PROBLEM_FAULT, keys ? OPT_tls_key : OPT_tls_certificate,
			   keys ? "a key needs its certificate: set tls.certificate too"
				: "a certificate needs its key: set tls.key too");
	} else if (certificates != keys) {
		buf_addf(&b, "%zu key%s for %zu certificate%s; each certificate needs its key, in the same order", keys,
			 keys == 1 ? "" : "s", certificates, certificates == 1 ? "" : "s");
		report(k, PROBLEM_FAULT, OPT_tls_key, &b);
	}
	if (v->tls.port && !v->tls.allow_plain)
		report_str(k, PROBLEM_FAULT, OPT_tls_allow_plain,
			   "with false and a separate tls.port, node_port would serve nothing; set tls.port to same");
	if (certificates || keys)
		return;
	if (!v->tls.allow_plain)
		report_str(k, PROBLEM_FAULT, OPT_tls_allow_plain, "false needs tls.certificate and tls.key");
	if (v->tls.port)
		report_str(k, PROBLEM_FAULT, OPT_tls_port, "a port for TLS needs tls.certificate and tls.key");
}

/* A switch that is off needs no warning. */
static void warn_later(struct check *k)
{
	for (int opt = 0; opt < OPT_COUNT; opt++) {
		const struct config_row *row = &config_rows[opt];

		if (!row->later || !written(k, (enum config_option)opt))
			continue;
		if (row->kind == KIND_BOOL && !*(const bool *)config_field_const(&k->c->values, row))
			continue;
		report_str(k, PROBLEM_WARNING, (enum config_option)opt, "has no effect in this version");
	}
}

static void warn_whitelist(struct check *k)
{
	const struct config *v = &k->c->values;

	if (v->security.enable_ip_whitelist && !v->security.whitelist_ips.n)
		report_str(k, PROBLEM_WARNING, OPT_security_enable_ip_whitelist,
			   "security.whitelist_ips is empty, so no client is accepted");
	if (!v->security.enable_ip_whitelist && v->security.whitelist_ips.n)
		report_str(k, PROBLEM_WARNING, OPT_security_whitelist_ips,
			   "has no effect while security.enable_ip_whitelist is false");
}

/* A path that the gateway serves, and the row that configures it. */
struct route {
	enum config_option opt;
	const char *base, *rest;
};

static void add_route(struct buf *b, const struct route *r)
{
	buf_add_str(b, r->base);
	buf_add_str(b, r->rest);
}

static void check_route(struct check *k, const struct route *a, const struct route *b)
{
	struct buf one = BUF_INIT, two = BUF_INIT, text = BUF_INIT;

	/* Report the key that the user wrote, not the default that it collides with. */
	if (b->opt != OPT_COUNT && written(k, b->opt) && !written(k, a->opt)) {
		const struct route *other = a;

		a = b;
		b = other;
	}
	add_route(&one, a);
	add_route(&two, b);
	if (one.failed || two.failed) {
		k->no_memory = true;
	} else if (bytes_eq(buf_bytes(&one), buf_bytes(&two))) {
		buf_add(&text, buf_bytes(&one));
		buf_addf(&text, " is already used by %s",
			 b->opt == OPT_COUNT ? "the gateway itself" : config_rows[b->opt].key);
		report(k, PROBLEM_FAULT, a->opt, &text);
	}
	buf_deinit(&one);
	buf_deinit(&two);
}

static void check_paths(struct check *k)
{
	const struct config *v = &k->c->values;
	const struct route routes[] = {
		{ OPT_COUNT, "/livez", "" },
		{ OPT_COUNT, "/readyz", "" },
		{ OPT_COUNT, "/metrics", "" },
		{ OPT_COUNT, "/openapi.json", "" },
		{ OPT_COUNT, "/asyncapi.json", "" },
		{ OPT_paths_api, v->paths.api, "/send" },
		{ OPT_paths_api, v->paths.api, "/broadcast" },
		{ OPT_paths_api, v->paths.api, "/online" },
		{ OPT_paths_api, v->paths.api, "/stats" },
		{ OPT_paths_websocket, v->paths.websocket, "" },
		{ OPT_paths_sse, v->paths.sse, "" },
		{ OPT_paths_stats, v->paths.stats, "" },
		{ OPT_paths_online, v->paths.online, "" },
		{ OPT_dev_echo_path, v->dev.echo_path, "" }, /* the last: NULL ends the list */
	};

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]) && routes[i].base; i++)
		for (size_t j = 0; j < i; j++)
			if (routes[i].opt != routes[j].opt)
				check_route(k, &routes[i], &routes[j]);
}

static void warn_not_enabled(struct check *k)
{
	const char *name = (const char *)k->c->sectionless.at;
	struct place p = { .name = name };

	if (written(k, OPT_enabled) && !k->c->values.enabled)
		report_str(k, PROBLEM_WARNING, OPT_enabled, "false: the gateway is not enabled");
	else if (!written(k, OPT_enabled) && k->c->sectionless.len &&
		 problem_add(k->c, PROBLEM_WARNING, &p, "there is no section wsc: the gateway is not enabled"))
		k->no_memory = true;
}

int config_check(struct wsc_config *c, bool has_message_hook)
{
	struct check k = { .c = c };

	check_timeout(&k);
	check_addresses(&k);
	check_queue(&k);
	check_hook(&k, has_message_hook);
	check_missing(&k);
	check_tls(&k);
	check_paths(&k);
	warn_later(&k);
	warn_whitelist(&k);
	warn_not_enabled(&k);
	return k.no_memory ? -WSC_ENOMEM : 0;
}
