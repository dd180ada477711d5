/* SPDX-License-Identifier: Apache-2.0 */
/* accept: new connections from the listening sockets: the accepting part of struct loop_ops. */
#ifndef WSC_HTTP_ACCEPT_H
#define WSC_HTTP_ACCEPT_H

#include "shard/shard.h"

void accept_on_connection(struct loop *l, struct listener *from, int fd, const void *peer, uint32_t peer_len);
void accept_on_error(struct loop *l, int error);
int accept_turn_away(struct loop *l, struct listener *from, unsigned max);
/* Reopens the spare descriptor if it was consumed; the gateway closes it. False: there is no descriptor for it. */
bool accept_keep_spare(struct shard *sh);

#endif
