#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes one object of all archives, in which only symbols of default visibility can be seen: the embedder's own
# hub_publish() and ours never meet.
#
#   tools/prelink.sh LD OBJCOPY OUTPUT.o INPUT.a...
set -eu

ld=$1 objcopy=$2 out=$3
shift 3

$ld -r -o "$out" --whole-archive "$@" --no-whole-archive
$objcopy --localize-hidden "$out"
