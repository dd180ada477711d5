#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints every C file that people write, one per line, relative to the project's root. Tables (.def) are left out
# because they are formatted by hand.
cd "$(dirname "$0")/.." || exit
exec find src include cmd examples bench tests -name '*.[ch]' -type f
