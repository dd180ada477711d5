/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration of a gateway, from a YAML file, from text, or key by key:
 *
 *     struct wsc_config *config = wsc_config_new();
 *     wsc_config_load(config, "config.yaml");
 *
 * The configuration stores every fault, so you need not check the result of each step: wsc_config_check() and the start
 * of a gateway refuse a configuration with a fault, and wsc_config_problem() lists all faults. They also refuse it if a
 * step ran out of memory (-WSC_ENOMEM). Later steps override earlier ones. docs/config.md and wsc.yaml(5) describe the
 * keys.
 *
 * Only one thread at a time may use a configuration. A gateway copies what it needs; you may free the configuration
 * then.
 */
#ifndef WSC_CONFIG_H
#define WSC_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct wsc_config;

/** The defaults, enabled. NULL: out of memory. */
struct wsc_config *wsc_config_new(void);

/** NULL is allowed. */
void wsc_config_free(struct wsc_config *config);

/**
 * Reads the section `wsc:` of the YAML file @path (at most 1 MiB), then the environment, which overrides it
 * (wsc_config_env()). With @path NULL it reads no file: the gateway then listens on 127.0.0.1 only, unless the
 * environment sets another address. A file without the section is not a fault: see wsc_config_enabled().
 *
 * Returns 0; -WSC_ESYSTEM: the file cannot be read (the reason is a problem); -WSC_ECONFIG: it has faults;
 *         -WSC_ENOMEM
 */
int wsc_config_load(struct wsc_config *config, const char *path);

/**
 * Reads @len bytes of YAML; problems show @name as the name of the file. ${NAME} in a value is replaced by the
 * environment variable NAME, or by the content of the file that the variable NAME_FILE names; this call reads no other
 * variables. Returns 0, -WSC_ECONFIG, -WSC_ENOMEM
 */
int wsc_config_parse(struct wsc_config *config, const char *name, const char *text, size_t len);

/**
 * Reads every environment variable WSC_<KEY>, the key in upper case with '_' for '.': WSC_NODE_PORT,
 * WSC_SECURITY_MAX_MESSAGE_SIZE; or WSC_<KEY>_FILE, which names a file that holds the value.
 * Returns 0, -WSC_ECONFIG, -WSC_ENOMEM
 */
int wsc_config_env(struct wsc_config *config);

/**
 * Sets one key: "node_port", "security.max_message_size", with or without "wsc." in front. Write a list with commas, or
 * as in YAML: [a, b].
 * Returns 0, -WSC_ECONFIG (the former value stays), -WSC_ENOMEM
 */
int wsc_config_set(struct wsc_config *config, const char *key, const char *value);

/**
 * Writes the value of @key as text, NUL-terminated and cut to @size. A secret is "(secret)", a value that is not set
 * "". Returns the length of the whole text, or -WSC_ENOTFOUND: there is no such key, or -WSC_ENOMEM
 */
int wsc_config_get(const struct wsc_config *config, const char *key, char *out, size_t size);

/** false: a file was read that has no section `wsc:`, or `enabled: false` was written. */
bool wsc_config_enabled(const struct wsc_config *config);

enum wsc_config_flags {
	/* The program has no hook on_message_received, so `sender_mismatch: hook` is a fault. */
	WSC_CONFIG_NO_MESSAGE_HOOK = 1
};

/**
 * Checks rules that concern several keys, and refuses keys that ask for more safety or durability than this version
 * has. May be called again after more keys were set. Returns 0: no faults; -WSC_ECONFIG: at least one, of this call or
 * of an earlier one; -WSC_ENOMEM
 */
int wsc_config_check(struct wsc_config *config, unsigned flags);

/**
 * The @i-th problem, from 0, in the order in which they were found: one line of text without newline and control bytes.
 * @warning is set to true for a warning and false for a fault; it may be NULL.
 * Returns the line, valid until the configuration is next changed or checked, or NULL after the last
 */
const char *wsc_config_problem(const struct wsc_config *config, size_t i, bool *warning);

enum wsc_config_form {
	WSC_CONFIG_YAML,     /* a file with every key at its default, with comments */
	WSC_CONFIG_MARKDOWN, /* docs/config.md */
	WSC_CONFIG_MAN       /* wsc.yaml(5) */
};

/**
 * Writes the reference of all keys to @out.
 * Returns 0, -WSC_ESYSTEM: not everything could be written; -WSC_ENOMEM
 */
int wsc_config_reference(FILE *out, enum wsc_config_form form);

#ifdef __cplusplus
}
#endif

#endif
