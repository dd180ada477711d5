/* SPDX-License-Identifier: Apache-2.0 */
/* check: faults and warnings that concern several keys. */
#ifndef WSC_CONFIG_CHECK_H
#define WSC_CONFIG_CHECK_H

#include "config/problem.h"

/* Adds the faults and warnings of @c as a whole. 0, or -WSC_ENOMEM. */
int config_check(struct wsc_config *c, bool has_message_hook);

#endif
