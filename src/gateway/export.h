/* SPDX-License-Identifier: Apache-2.0 */
/*
 * export: everything is compiled with hidden visibility; what the public headers declare is not. The build puts this file
 * in front of each file that implements one (-include), so the public headers need no decoration and no function is forgotten.
 */
#ifndef WSC_GATEWAY_EXPORT_H
#define WSC_GATEWAY_EXPORT_H

#pragma GCC visibility push(default)
#include <wsc/wsc.h>
#pragma GCC visibility pop

#endif
