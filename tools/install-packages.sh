#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the missing Debian packages of the given groups of packages.txt (beside it) without asking. When none is
# missing it only reads dpkg's database. When it may not install packages, it prints the missing ones and the command
# that installs them.
#
#   tools/install-packages.sh [--check] group...      exit 0: none is missing; 1: some are missing
set -eu

list=${PACKAGES_LIST:-$(dirname "$0")/packages.txt}
install=yes
if [ "${1:-}" = --check ]; then
	install=no
	shift
fi
[ $# -gt 0 ] || { echo "usage: $0 [--check] group..." >&2; exit 2; }

wanted=$(awk -v groups=" $* " '/^[a-z]/ && index(groups, " " $1 " ") { printf "%s%s", blank, $2; blank = " " }' "$list")
[ -n "$wanted" ] || { echo "$list knows no group of: $*" >&2; exit 2; }

if ! command -v dpkg-query >/dev/null; then
	echo "This is not Debian, so no package was installed. On Debian 12 these packages are needed: $wanted" >&2
	exit 0
fi

missing()
{
	# shellcheck disable=SC2086 # one word per package
	dpkg-query -W -f='${db:Status-Status} ${Package}\n' $wanted 2>/dev/null |
		awk -v wanted="$wanted" '
			$1 == "installed" { have[$2] = 1 }
			END {
				n = split(wanted, w, " ")
				for (i = 1; i <= n; i++)
					if (!(w[i] in have)) { printf "%s%s", blank, w[i]; blank = " " }
			}'
}

lacking=$(missing)
[ -n "$lacking" ] || exit 0

give_up()
{
	echo "Missing Debian packages: $lacking" >&2
	echo "$1 Run this command, then try again:" >&2
	echo "    ${2}apt-get update && ${2}apt-get install --no-install-recommends $lacking" >&2
	exit 1
}

if [ "$(id -u)" = 0 ]; then
	as_root="" hint=""
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
	as_root="sudo" hint="sudo "
else
	as_root="" hint="sudo "
	[ $install = no ] || give_up "Only root can install them." "$hint"
fi
[ $install = yes ] || give_up "This command does not install packages; make run and make test do." "$hint"

echo "Installing Debian packages: $lacking"
apt()
{
	$as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 "$@"
}
# shellcheck disable=SC2086
if ! { apt update && apt install -y --no-install-recommends $lacking; }; then
	lacking=$(missing)
	[ -n "$lacking" ] && give_up "apt-get failed (its message is above)." "$hint"
fi
