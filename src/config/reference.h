/* SPDX-License-Identifier: Apache-2.0 */
/* reference: writes the pages that are made from the table: the default file, docs/config.md and wsc.yaml(5). */
#ifndef WSC_CONFIG_REFERENCE_H
#define WSC_CONFIG_REFERENCE_H

#include "base/buf.h"
#include "wsc/config.h"

void reference_write(struct buf *out, enum wsc_config_form form);

#endif
