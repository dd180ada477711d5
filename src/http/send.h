/* SPDX-License-Identifier: Apache-2.0 */
/* send: POST send and broadcast: the HTTP call as a sender. */
#ifndef WSC_HTTP_SEND_H
#define WSC_HTTP_SEND_H

#include "submit/submit.h"

extern const struct sender http_sender;

#endif
