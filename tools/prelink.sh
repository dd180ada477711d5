#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Makes one object of all archives and hides all symbols that do not have default visibility, so that our hub_publish()
# and a function of the same name in the program cannot collide.
#
#   tools/prelink.sh LD OBJCOPY OUTPUT.o INPUT.a...
set -eu

ld=$1 objcopy=$2 out=$3
shift 3

$ld -r -o "$out" --whole-archive "$@" --no-whole-archive
$objcopy --localize-hidden "$out"
