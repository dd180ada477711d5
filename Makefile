# SPDX-License-Identifier: Apache-2.0
# The commands of this project. Thin: meson.build describes the build, ninja performs it, tools/ does what takes more
# than a line. `make help` lists the commands.

BUILD   := build
MINUTES := 1
PREFIX  := /usr/local
CONFIG  :=
PYTHON  := /usr/bin/python3

GCC_SANITIZE := -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 -Dfaults=true
GCC_TSAN     := -Db_sanitize=thread -Db_lundef=false -Doptimization=1

.PHONY: build run test install bench fuzz format lint sanitize tsan valgrind mutants soak faults chop debug clang clean help

## build: the release build; leaves the program at build/wsc
build:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product

## run: installs missing packages, builds and serves (CONFIG=file.yaml, else the built-in defaults)
run:
	@tools/install-packages.sh build
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) --quiet product
	@exec $(BUILD)/wsc serve $(CONFIG)

## test: installs missing packages, builds and passes every test; the last line counts them all
test:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@$(PYTHON) tools/run-tests $(BUILD)

## install: program, library, headers, man pages below PREFIX (and DESTDIR)
install:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) product
	@meson install -C $(BUILD) --no-rebuild
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

## bench: the figures of docs/performance.md, measured here and now
bench:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@bench/run $(BUILD)

## fuzz: every harness for MINUTES=n (1) minutes, from the corpora of the tree
fuzz:
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C $(BUILD)-fuzz
	@$(PYTHON) tools/run-fuzz $(BUILD)-fuzz $(MINUTES)

## sanitize: the whole suite under AddressSanitizer and UndefinedBehaviorSanitizer, and what happens when memory is out
sanitize:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-asan -Dtests=true $(GCC_SANITIZE)
	@ninja -C $(BUILD)-asan
	@$(PYTHON) tools/run-tests $(BUILD)-asan --slow

## tsan: the whole suite under ThreadSanitizer
tsan:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-tsan -Dtests=true $(GCC_TSAN)
	@ninja -C $(BUILD)-tsan
	@$(PYTHON) tools/run-tests $(BUILD)-tsan --slow

## valgrind: unit and library tests, simulator and replay under valgrind, and a server that stops with connections open
valgrind:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-debug -Dtests=true -Dbuildtype=debug
	@ninja -C $(BUILD)-debug
	@$(PYTHON) tools/run-tests $(BUILD)-debug --valgrind

## mutants: plants one bug after the other in a copy of the hub; the simulator must find each
mutants:
	@tools/install-packages.sh build
	@tests/sim/mutants.sh

## soak: mixed traffic for MINUTES=n (1) minutes; the server must lose nothing and not grow
soak:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product
	@$(PYTHON) tests/soak/soak.py $(BUILD)/wsc $(MINUTES)

## faults: every failure of memory and of system calls at every point of every story, under ASan + UBSan; many minutes
faults:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-asan -Dtests=true $(GCC_SANITIZE)
	@ninja -C $(BUILD)-asan tests/faults/faults
	@ASAN_OPTIONS=allocator_may_return_null=1 $(BUILD)-asan/tests/faults/faults

## chop: the e2e and library suites with reads and writes of one byte
chop:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-chop -Dtests=true -Dfaults=true
	@ninja -C $(BUILD)-chop
	@$(PYTHON) tools/run-tests $(BUILD)-chop --chop

## debug: -O0 -g at build-debug/wsc
debug:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD)-debug -Dbuildtype=debug
	@ninja -C $(BUILD)-debug product

## clang: the product with the second compiler, at build-clang/wsc
clang:
	@tools/install-packages.sh build test
	@CC=clang tools/configure.sh $(BUILD)-clang
	@ninja -C $(BUILD)-clang product

## format: clang-format over every C file
format:
	@tools/install-packages.sh build dev
	@tools/c-files.sh | xargs clang-format -i

## lint: format, clang-tidy, cppcheck, layers; changes nothing
lint:
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-clang
	@tools/lint.sh $(BUILD)-clang

## clean: removes what the commands above have built
clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-debug $(BUILD)-clang $(BUILD)-fuzz $(BUILD)-chop

## help: this list
help:
	@sed -n 's/^## //p' $(firstword $(MAKEFILE_LIST))
