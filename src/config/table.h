/* SPDX-License-Identifier: Apache-2.0 */
/*
 * table: options.def as constant data, shared by the readers, the checks and the generators; it holds no values.
 */
#ifndef WSC_CONFIG_TABLE_H
#define WSC_CONFIG_TABLE_H

#include "config/config.h"

enum config_row_kind {
	KIND_BOOL,
	KIND_COUNT,
	KIND_RATE,
	KIND_DURATION,
	KIND_SIZE,
	KIND_KIBIBYTES,
	KIND_CHOICE,
	KIND_NAME,
	KIND_TEXT,
	KIND_SECRET,
	KIND_PATH,
	KIND_WORDS,
	KIND_FILES,
	KIND_ADDRESSES,
	KIND_ORIGINS,
	KIND_NETS,
	KIND_COUNT_OF_KINDS
};

struct config_row {
	const char *key; /* "security.max_message_size" */
	enum config_row_kind kind;
	bool later;
	size_t offset; /* of the field in struct config */
	const char *def, *allowed, *help;
};

struct config_section {
	const char *name, *heading;
};

struct config_ignored {
	const char *key, *why;
};

#define OPTION(kind, name, def, allowed, since, help)
#define MEMBER(section, kind, name, def, allowed, since, help)
#define END(name)
#define SECTION(name, heading) +1
#define IGNORED(key, why)
enum {
	CONFIG_SECTIONS = 0
#include "config/options.def"
};
#undef SECTION
#undef IGNORED
#define SECTION(name, heading)
#define IGNORED(key, why) +1
enum {
	CONFIG_IGNORED = 0
#include "config/options.def"
};
#undef SECTION
#undef IGNORED
#undef OPTION
#undef MEMBER
#undef END

extern const struct config_row config_rows[OPT_COUNT];
extern const struct config_section config_sections[CONFIG_SECTIONS];
extern const struct config_ignored config_ignored_keys[CONFIG_IGNORED];

/* Index of the row, section or older key with exactly this name ("security.allowed_user_types"), or -1. */
int config_row_find(struct bytes key);
int config_section_find(struct bytes name);
int config_ignored_find(struct bytes key);

/* The part of @key after its last dot. */
struct bytes config_leaf(struct bytes key);

static inline void *config_field(struct config *c, const struct config_row *row)
{
	return (char *)c + row->offset;
}

static inline const void *config_field_const(const struct config *c, const struct config_row *row)
{
	return (const char *)c + row->offset;
}

#endif
