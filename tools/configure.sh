#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets up or refreshes a build directory. Fast when nothing has changed; reconfigures when a source file was added or
# removed, or when the directory does not have a requested option yet. An option stays set once it was given.
#
#   tools/configure.sh DIR [-Doption=value...]
set -eu

dir=$1
shift
tools=$(dirname "$0")
options=$(
	{ [ $# = 0 ] || printf '%s\n' "$@"; cat "$dir/wsc-options" 2>/dev/null || :; } |
		awk -F= '!seen[$1]++' | LC_ALL=C sort
)
files=$("$tools/sources.sh" --all)

if [ ! -f "$dir/build.ninja" ]; then
	how=
elif [ "$options" != "$(cat "$dir/wsc-options" 2>/dev/null)" ] ||
	[ "$files" != "$(cat "$dir/wsc-files" 2>/dev/null)" ]; then
	how=--reconfigure
else
	exit 0
fi

# shellcheck disable=SC2086 # options hold no blanks
meson setup $how "$dir" $options
printf '%s\n' "$options" >"$dir/wsc-options"
printf '%s\n' "$files" >"$dir/wsc-files"
