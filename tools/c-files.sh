#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Every C file of the project that people write, one per line, from the project's root. Tables (.def) are not among
# them: they are laid out by hand.
cd "$(dirname "$0")/.." || exit
exec find src include cmd examples bench tests -name '*.[ch]' -type f
