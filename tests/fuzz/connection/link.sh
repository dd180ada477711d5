#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes one object of the product's archives in which every call to the system goes to kernel.c.
#
#   link.sh LD OUTPUT.o INPUT.a...
set -eu

ld=$1 out=$2
shift 2
wraps=
for call in accept4 bind clock_gettime close epoll_create1 epoll_ctl epoll_wait eventfd fcntl64 getrandom getsockname listen \
	pthread_create pthread_join read __read_chk recv __recv_chk send sendmsg setsockopt shutdown socket \
	timerfd_create timerfd_settime write; do
	wraps="$wraps --wrap=$call"
done
# shellcheck disable=SC2086
exec $ld -r $wraps -o "$out" --whole-archive "$@" --no-whole-archive
