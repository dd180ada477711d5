/* SPDX-License-Identifier: Apache-2.0 */
/* table: the arrays that are made from options.def, and the search for a row. All data here is constant. */
#include "config/table.h"

#define NOW false
#define LATER true

/* The field of a duration has the suffix _ms; every other field has the name of its key. */
#define AT_BOOL(path) offsetof(struct config, path)
#define AT_COUNT(path) offsetof(struct config, path)
#define AT_RATE(path) offsetof(struct config, path)
#define AT_DURATION(path) offsetof(struct config, path##_ms)
#define AT_SIZE(path) offsetof(struct config, path)
#define AT_KIBIBYTES(path) offsetof(struct config, path)
#define AT_CHOICE(path) offsetof(struct config, path)
#define AT_NAME(path) offsetof(struct config, path)
#define AT_TEXT(path) offsetof(struct config, path)
#define AT_SECRET(path) offsetof(struct config, path)
#define AT_PATH(path) offsetof(struct config, path)
#define AT_WORDS(path) offsetof(struct config, path)
#define AT_FILES(path) offsetof(struct config, path)
#define AT_ADDRESSES(path) offsetof(struct config, path)
#define AT_ORIGINS(path) offsetof(struct config, path)
#define AT_NETS(path) offsetof(struct config, path)

#define SECTION(name, heading)
#define END(name)
#define IGNORED(key, why)
#define OPTION(kind, name, def, allowed, since, help) \
	{ #name, KIND_##kind, since, AT_##kind(name), def, allowed, help },
#define MEMBER(section, kind, name, def, allowed, since, help) \
	{ #section "." #name, KIND_##kind, since, AT_##kind(section.name), def, allowed, help },
const struct config_row config_rows[OPT_COUNT] = {
#include "config/options.def"
};
#undef SECTION
#undef IGNORED
#undef OPTION
#undef MEMBER

#define OPTION(kind, name, def, allowed, since, help)
#define MEMBER(section, kind, name, def, allowed, since, help)
#define IGNORED(key, why)
#define SECTION(name, heading) { #name, heading },
const struct config_section config_sections[CONFIG_SECTIONS] = {
#include "config/options.def"
};
#undef SECTION
#undef IGNORED

#define SECTION(name, heading)
#define IGNORED(key, why) { #key, why },
const struct config_ignored config_ignored_keys[CONFIG_IGNORED] = {
#include "config/options.def"
};

int config_row_find(struct bytes key)
{
	for (int i = 0; i < OPT_COUNT; i++)
		if (bytes_eq(bytes_str(config_rows[i].key), key))
			return i;
	return -1;
}

int config_section_find(struct bytes name)
{
	for (int i = 0; i < CONFIG_SECTIONS; i++)
		if (bytes_eq(bytes_str(config_sections[i].name), name))
			return i;
	return -1;
}

int config_ignored_find(struct bytes key)
{
	for (int i = 0; i < CONFIG_IGNORED; i++)
		if (bytes_eq(bytes_str(config_ignored_keys[i].key), key))
			return i;
	return -1;
}

struct bytes config_leaf(struct bytes key)
{
	const uint8_t *dot = key.len ? memrchr(key.at, '.', key.len) : NULL;

	if (dot)
		bytes_skip(&key, (size_t)(dot - key.at) + 1);
	return key;
}
