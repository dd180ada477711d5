/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value: converts a text to a typed field and back, for each kind. A text that is not allowed leaves the field
 * unchanged and gives one fault that names the allowed values; a list with three bad entries gives three faults.
 */
#ifndef WSC_CONFIG_VALUE_H
#define WSC_CONFIG_VALUE_H

#include "config/problem.h"

/* The text that the user wrote for one key. It owns its texts. */
struct value {
	struct place place;
	bool list; /* written as a list; otherwise there is exactly one item */
	struct value_item {
		char *text; /* @len bytes and a NUL */
		size_t len;
		size_t line; /* 0: the place has no lines */
	} * items;
	size_t n;
};

/* Adds a copy of @text. 0 or -WSC_ENOMEM. */
int value_add(struct value *v, struct bytes text, size_t line);
void value_deinit(struct value *v);

/* Writes @v to its row's field. A text for a list kind is split at its commas. 0, -WSC_ECONFIG, -WSC_ENOMEM */
int value_apply(struct wsc_config *c, enum config_option opt, struct value *v);
/* Sets the row to @def. Fails only for a bad default in options.def, or with -WSC_ENOMEM. */
int value_set_default(struct wsc_config *c, enum config_option opt, const char *def);
/* Adds the field as a text that value_apply() accepts. */
void value_format(const struct config *c, const struct config_row *row, struct buf *out);

void field_free(const struct config_row *row, void *field);
/* Deep copy into zeroed @to; 0 or -WSC_ENOMEM with @to safe to free. */
int field_copy(const struct config_row *row, void *to, const void *from);

bool kind_is_list(enum config_row_kind kind);
/* Adds the allowed values as text for people: "auto or 50ms..24h"; "replace, reject or allow". */
void row_add_allowed(struct buf *b, const struct config_row *row);
/* The word of the row that stands for 0 (auto, none), or the empty view. */
struct bytes row_word(const struct config_row *row);

#endif
