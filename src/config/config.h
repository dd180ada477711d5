/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: what the user asked for, as typed values. The struct is made from options.def; this page only says what each
 * kind of row becomes. Values are whole and in range whatever the file held: a bad text is a fault in the list and leaves
 * the former value. It knows neither sockets nor hooks: gateway/ turns it into each module's options.
 */
#ifndef WSC_CONFIG_CONFIG_H
#define WSC_CONFIG_CONFIG_H

#include "base/buf.h"
#include "base/ip.h"

/* Owned, NUL-terminated texts. */
struct config_strings {
	char **at;
	size_t n;
};

/* Owned; for ip_match(). */
struct config_nets {
	struct ip_net *at;
	size_t n;
};

/* One enum per CHOICE row, enumerators in the order of the row's words. */
enum config_slow_consumer { CONFIG_SLOW_CLOSE, CONFIG_SLOW_DROP_OLDEST };
enum config_multi_login { CONFIG_LOGIN_REPLACE, CONFIG_LOGIN_REJECT, CONFIG_LOGIN_ALLOW };
enum config_security_sender_mismatch { CONFIG_SENDER_REJECT, CONFIG_SENDER_OVERWRITE, CONFIG_SENDER_HOOK };
enum config_log_level { CONFIG_LOG_DEBUG, CONFIG_LOG_INFO, CONFIG_LOG_WARN, CONFIG_LOG_ERROR }; /* as enum log_level */
enum config_log_format { CONFIG_LOG_AUTO, CONFIG_LOG_TEXT, CONFIG_LOG_JSON };
enum config_auth_mode { CONFIG_AUTH_OPEN, CONFIG_AUTH_TOKEN };
enum config_store_kind { CONFIG_STORE_NONE, CONFIG_STORE_SQLITE, CONFIG_STORE_POSTGRES };
enum config_store_sync { CONFIG_SYNC_COMMIT, CONFIG_SYNC_RELAXED };
enum config_tls_min_version { CONFIG_TLS_1_2, CONFIG_TLS_1_3 };

/*
 * The fields. A word that stands for a number (auto, none) is 0; a text that is not set is NULL, node_id auto too.
 *   ADDRESSES  address literals, or "unix:" and an absolute path; at least one
 *   ORIGINS    "*", an exact origin, or one whose host begins with "*.": lower case and without the scheme's default port,
 *              as browsers write them, so that an Origin header can be compared byte by byte
 *   PATH       begins with '/', does not end with it; unreserved characters and '/' only
 */
#define FIELD_BOOL(tag, name) bool name;
#define FIELD_COUNT(tag, name) uint64_t name;
#define FIELD_RATE(tag, name) uint64_t name; /* per second */
#define FIELD_DURATION(tag, name) uint64_t name##_ms;
#define FIELD_SIZE(tag, name) uint64_t name;      /* bytes */
#define FIELD_KIBIBYTES(tag, name) uint64_t name; /* bytes all the same */
#define FIELD_CHOICE(tag, name) enum config_##tag name;
#define FIELD_NAME(tag, name) char *name;
#define FIELD_TEXT(tag, name) char *name;
#define FIELD_SECRET(tag, name) char *name; /* never in a message, a log line or an answer */
#define FIELD_PATH(tag, name) char *name;
#define FIELD_WORDS(tag, name) struct config_strings name;
#define FIELD_FILES(tag, name) struct config_strings name;
#define FIELD_ADDRESSES(tag, name) struct config_strings name;
#define FIELD_ORIGINS(tag, name) struct config_strings name;
#define FIELD_NETS(tag, name) struct config_nets name;

#define SECTION(name, heading) struct {
/* clang-format off */
#define END(name) } name;
/* clang-format on */
#define OPTION(kind, name, def, allowed, since, help) FIELD_##kind(name, name)
#define MEMBER(section, kind, name, def, allowed, since, help) FIELD_##kind(section##_##name, name)
#define NOTHING(key, why)
struct config {
#include "config/options.def"
};
#undef SECTION
#undef END
#undef OPTION
#undef MEMBER
#undef NOTHING

/* The rows by number: OPT_node_ip, OPT_security_max_message_size, ... */
#define SECTION(name, heading)
#define END(name)
#define OPTION(kind, name, def, allowed, since, help) OPT_##name,
#define MEMBER(section, kind, name, def, allowed, since, help) OPT_##section##_##name,
#define NOTHING(key, why)
enum config_option {
#include "config/options.def"
	OPT_COUNT
};
#undef SECTION
#undef END
#undef OPTION
#undef MEMBER
#undef NOTHING

/* One line for the user: a fault, or a warning. */
struct config_problem {
	char *text;
	bool warning;
	bool from_check; /* made by wsc_config_check(), which makes them anew each time */
};

/* What include/wsc/config.h calls struct wsc_config. One thread at a time. */
struct wsc_config {
	struct config values;
	/* Where the value of each row was written last, "config.yaml:7"; NULL: nowhere, it is the default. Owned. */
	char *written[OPT_COUNT];
	struct config_problem *problems;
	size_t nproblems;
	size_t nfaults;
	bool no_memory;         /* a problem could not be kept: the configuration is not to be used */
	struct buf sectionless; /* a file was read that has no section wsc: its name and a NUL; otherwise empty */
};

/* client_timeout as it counts: three times the heartbeat unless written. */
static inline uint64_t config_client_timeout_ms(const struct config *c)
{
	return c->client_timeout_ms ? c->client_timeout_ms : 3 * c->heartbeat_interval_ms;
}

/* What a queue must hold, whatever is written: the longest message and its company. */
static inline uint64_t config_queue_bytes_least(const struct config *c)
{
	return c->security.max_message_size + 65536;
}

/* performance.max_queue_bytes as it counts: 2 MiB unless written, or more where a message needs more. */
static inline uint64_t config_queue_bytes(const struct config *c)
{
	uint64_t least = config_queue_bytes_least(c);

	return c->performance.max_queue_bytes ? c->performance.max_queue_bytes : least > 2u << 20 ? least : 2u << 20;
}

/*
 * A copy that owns all it points to, for a gateway that outlives its caller's configuration. 0, or -WSC_ENOMEM with
 * nothing left to free. @out is freed with config_values_free().
 */
int config_values_copy(struct config *out, const struct config *from);
void config_values_free(struct config *c);

#endif
