#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Unit tests and replays of what touches no other library, under clang's MemorySanitizer: a byte that was never set and is
# branched on or given to the kernel ends the test. Other libraries are not instrumented, so whatever needs one stays out;
# hub_crowd asks the C library for numbers that the sanitizer has not seen being set, proto_ws_deflate is about zlib.
#
#   tools/msan.sh BUILD      a build directory that was set up with CC=clang -Db_sanitize=memory -Dtests=true
set -eu
build=$1

tests=$(meson introspect --tests "$build" | /usr/bin/python3 -c '
import json, re, sys
for t in json.load(sys.stdin):
    if re.match(r"(?!hub_crowd|proto_ws_deflate)(base|proto|hub|api)_|fuzz_(envelope|http1|json|proxy|query|utf8|ws)$", t["name"]):
        print(t["name"], t["cmd"][0])')
# shellcheck disable=SC2046 # names of this project hold no blanks
ninja -C "$build" --quiet $(echo "$tests" | cut -d' ' -f2 | sed "s|^.*/tests/|tests/|")
# shellcheck disable=SC2046
MSAN_OPTIONS=halt_on_error=1 exec meson test -C "$build" --no-rebuild --print-errorlogs --timeout-multiplier 10 \
	$(echo "$tests" | cut -d' ' -f1)
