/* SPDX-License-Identifier: Apache-2.0 */
/* All of libwsc: #include <wsc/wsc.h>, link with `pkg-config --cflags --libs wsc`. */
#ifndef WSC_WSC_H
#define WSC_WSC_H

#include "wsc/config.h"
#include "wsc/error.h"
#include "wsc/gateway.h"
#include "wsc/hooks.h"
#include "wsc/message.h"

#define WSC_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/** WSC_VERSION of the library that is loaded. */
const char *wsc_version(void);

#ifdef __cplusplus
}
#endif

#endif
