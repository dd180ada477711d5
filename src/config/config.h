/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config: the user's configuration as typed values. The struct is made from options.def; this file only defines the
 * field of each kind of row. Values are always complete and in range: a bad text adds a fault to the list and leaves
 * the former value. It knows neither sockets nor hooks: gateway/ converts it to each module's options.
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

/* Owned; the argument of ip_match(). */
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
#define FIELD_KIBIBYTES(tag, name) uint64_t name; /* bytes too */
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
#define IGNORED(key, why)
struct config {
#include "config/options.def"
};
#undef SECTION
#undef END
#undef OPTION
#undef MEMBER
#undef IGNORED

/* The rows by number: OPT_node_ip, OPT_security_max_message_size, ... */
#define SECTION(name, heading)
#define END(name)
#define OPTION(kind, name, def, allowed, since, help) OPT_##name,
#define MEMBER(section, kind, name, def, allowed, since, help) OPT_##section##_##name,
#define IGNORED(key, why)
enum config_option {
#include "config/options.def"
	OPT_COUNT
};
#undef SECTION
#undef END
#undef OPTION
#undef MEMBER
#undef IGNORED

/* One line for the user: a fault, or a warning. */
struct config_problem {
	char *text;
	bool warning;
	bool from_check; /* added by wsc_config_check(), which removes and adds them again at each call */
};

/* The struct wsc_config of include/wsc/config.h. One thread at a time. */
struct wsc_config {
	struct config values;
	/* The place where each row was written last, "config.yaml:7"; NULL: the row has its default. Owned. */
	char *written[OPT_COUNT];
	struct config_problem *problems;
	size_t nproblems;
	size_t nfaults;
	bool no_memory;         /* a problem could not be stored: do not use the configuration */
	struct buf sectionless; /* the name and a NUL of a file that has no section wsc; otherwise empty */
};

/* The effective client_timeout: three times heartbeat_interval unless it is written. */
static inline uint64_t config_client_timeout_ms(const struct config *c)
{
	return c->client_timeout_ms ? c->client_timeout_ms : 3 * c->heartbeat_interval_ms;
}

/* The least bytes of a queue: room for the longest message and some others. */
static inline uint64_t config_queue_bytes_least(const struct config *c)
{
	return c->security.max_message_size + 65536;
}

/* The effective performance.max_queue_bytes: 2 MiB unless it is written, or more if a message needs more. */
static inline uint64_t config_queue_bytes(const struct config *c)
{
	uint64_t least = config_queue_bytes_least(c);

	return c->performance.max_queue_bytes ? c->performance.max_queue_bytes : least > 2u << 20 ? least : 2u << 20;
}

/*
 * A deep copy, for a gateway that lives longer than its caller's configuration. 0, or -WSC_ENOMEM with nothing to free.
 * Free @out with config_values_free().
 */
int config_values_copy(struct config *out, const struct config *from);
void config_values_free(struct config *c);

#endif
