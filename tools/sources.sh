#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints which files belong to the build: every file in its directory counts, so there is no list to edit.
#
#   tools/sources.sh DIR PATTERN   the files below DIR that match, relative to DIR, sorted (none when DIR is missing)
#   tools/sources.sh --all         all files that meson.build uses; tools/configure.sh compares this list between builds
set -eu
LC_ALL=C
export LC_ALL

list()
{
	[ -d "$1" ] || return 0
	find "$1" -type f -name "$2" ! -name '.*' -printf '%P\n' | sort
}

cd "$(dirname "$0")/.."
if [ "$1" = --all ]; then
	for dir in src cmd examples bench tests; do
		list $dir '*.c' | sed "s|^|$dir/|"
	done
	list include/wsc '*.h'
	list web '*'
	list man '*.[1-8]'
else
	list "$1" "$2"
fi
