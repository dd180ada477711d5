#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Runs unit tests and replays of corpora under clang's MemorySanitizer: a test fails when a branch depends on a byte
# that was never set, or when such a byte is given to the kernel. Other libraries are not instrumented, so tests that
# need one are left out: hub_crowd gets numbers from the C library that the sanitizer takes for unset, proto_ws_deflate
# tests zlib.
#
#   tools/msan.sh BUILD      a build directory that was set up with CC=clang -Db_sanitize=memory -Dtests=true
set -eu
build=$1

tests=$(meson introspect --tests "$build" | /usr/bin/python3 -c '
import json, re, sys
for t in json.load(sys.stdin):
    if re.match(r"(?!hub_crowd|proto_ws_deflate)(base|proto|hub|api)_|fuzz_(envelope|http1|json|proxy|query|utf8|ws)$", t["name"]):
        print(t["name"], t["cmd"][0])')
# shellcheck disable=SC2046 # names of this project have no blanks
ninja -C "$build" --quiet $(echo "$tests" | cut -d' ' -f2 | sed "s|^.*/tests/|tests/|")
# shellcheck disable=SC2046
MSAN_OPTIONS=halt_on_error=1 exec meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 10 \
	$(echo "$tests" | cut -d' ' -f1)
