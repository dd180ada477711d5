/* SPDX-License-Identifier: Apache-2.0 */
/* reference: the table as pages: the default file, docs/config.md, wsc.yaml(5). The same table, the same bytes. */
#ifndef WSC_CONFIG_REFERENCE_H
#define WSC_CONFIG_REFERENCE_H

#include "base/buf.h"
#include "wsc/config.h"

void reference_write(struct buf *out, enum wsc_config_form form);

#endif
