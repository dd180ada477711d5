/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: reads keys and values from a YAML file, the environment, and files that the environment names. It passes the
 * values on; value.h decides which values are allowed.
 */
#ifndef WSC_CONFIG_SOURCE_H
#define WSC_CONFIG_SOURCE_H

#include "config/value.h"

#define SOURCE_FILE_MAX ((size_t)1 << 20)
#define SOURCE_SECRET_MAX ((size_t)65536)

/* Reads the whole file @path; 0, -errno, -E2BIG: longer than @max. */
int source_read_file(const char *path, size_t max, struct buf *out);

#define SOURCE_UNSET 1
/*
 * Adds the environment variable @name, or the content of the file that NAME_FILE names, without its last line break.
 * 0, SOURCE_UNSET, -WSC_ECONFIG (the fault is in the list), -WSC_ENOMEM
 */
int source_variable(struct wsc_config *c, const struct place *p, const char *name, struct buf *out);
/* Adds @text with each ${NAME} replaced; $${ is a plain ${. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int source_expand(struct wsc_config *c, const struct place *p, struct bytes text, struct buf *out);

/* The longest variable name of a key, with its NUL. */
#define SOURCE_ENV_NAME_MAX 64
/* "WSC_SECURITY_MAX_MESSAGE_SIZE" */
void source_env_name(const char *key, char out[SOURCE_ENV_NAME_MAX]);
/* Reads every WSC_ variable. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int source_env(struct wsc_config *c);

/* Reads the section wsc of a YAML text. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int source_yaml(struct wsc_config *c, const char *name, struct bytes text);
/* Reads a value from a variable or an argument: @text, or [a, b] for a key that takes a list. */
int source_text(struct wsc_config *c, enum config_option opt, const struct place *p, struct bytes text);

/* Reports a fault for a key that does not exist, or a warning for an older key without effect. @key has underscores. */
int source_unknown(struct wsc_config *c, const struct place *p, struct bytes key);

#endif
