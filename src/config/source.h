/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source: where texts come from: a YAML file, the environment, files that the environment names. It finds keys and hands
 * their values on; what a value may be is value.h's business.
 */
#ifndef WSC_CONFIG_SOURCE_H
#define WSC_CONFIG_SOURCE_H

#include "config/value.h"

#define SOURCE_FILE_MAX ((size_t)1 << 20)
#define SOURCE_SECRET_MAX ((size_t)65536)

/* All of the file @path; 0, -errno, -E2BIG: longer than @max. */
int source_read_file(const char *path, size_t max, struct buf *out);

/* A variable of the environment: itself, or the content of the file that NAME_FILE names, without its last line break. */
#define SOURCE_UNSET 1
/* 0, SOURCE_UNSET, -WSC_ECONFIG (said in the list), -WSC_ENOMEM */
int source_variable(struct wsc_config *c, const struct place *p, const char *name, struct buf *out);
/* Adds @text with each ${NAME} replaced; $${ is a plain ${. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int source_expand(struct wsc_config *c, const struct place *p, struct bytes text, struct buf *out);

/* Longest name of a variable that stands for a key, with its NUL. */
#define SOURCE_ENV_NAME_MAX 64
/* "WSC_SECURITY_MAX_MESSAGE_SIZE" */
void source_env_name(const char *key, char out[SOURCE_ENV_NAME_MAX]);
/* Every WSC_ variable. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int source_env(struct wsc_config *c);

/* The section wsc of a YAML text. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int source_yaml(struct wsc_config *c, const char *name, struct bytes text);
/* A value that stands alone, in a variable or an argument: @text, or [a, b] for a key that takes a list. */
int source_text(struct wsc_config *c, enum config_option opt, const struct place *p, struct bytes text);

/* The fault of a key that does not exist, or the warning of one that does nothing any more. @key has underscores. */
int source_unknown(struct wsc_config *c, const struct place *p, struct bytes key);

#endif
