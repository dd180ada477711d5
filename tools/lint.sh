#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Checks the code without changing it: layers, comments, format, cppcheck, clang-tidy. Exit status 1 when one finds a fault.
#
#   tools/lint.sh BUILD      a build directory that was set up with CC=clang
set -u
build=$1
bad=0

check()
{
	echo "== $1"
	shift
	"$@" || bad=1
}

check layers tests/layers
check plain-english tools/plain-english src cmd include
tools/plain-english --count tests
# shellcheck disable=SC2046 # file names of this project have no blanks
check clang-format clang-format --dry-run -Werror $(tools/c-files.sh)
check cppcheck cppcheck --quiet --error-exitcode=1 --inline-suppr --std=c17 --enable=warning,portability \
	-I src -I include --suppress=missingIncludeSystem --suppress=normalCheckLevelMaxBranches --suppress=internalAstError src cmd
ninja -C "$build" --quiet src/assets.c product
check clang-tidy run-clang-tidy -quiet -p "$build" "$PWD/(src|cmd)/.*"
exit $bad
