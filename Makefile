# SPDX-License-Identifier: Apache-2.0
# The commands of this project. Each is short: meson.build describes the build, ninja performs it, tools/ has everything
# longer than a line. `make help` lists the commands.

BUILD   := build
MINUTES := 1
ONLY    :=
PREFIX  := /usr/local
CONFIG  :=
OLD     :=
HOW     :=
PYTHON  := /usr/bin/python3

GCC_SANITIZE := -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 -Dfaults=true
GCC_TSAN     := -Db_sanitize=thread -Db_lundef=false -Doptimization=1

.PHONY: build run test install bench compare fuzz fuzz-merge coverage format lint analyze sanitize tsan msan valgrind \
	mutants soak pressure conformance oracles faults chop debug clang clean help

## build: build the release; the program is build/wsc
build:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product

## run: install missing packages, build, and start the gateway (CONFIG=file.yaml, else the built-in defaults)
run:
	@tools/install-packages.sh build
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) --quiet product
	@exec $(BUILD)/wsc serve $(CONFIG)

## test: install missing packages, build, and run all tests; the last line counts them
test:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@$(PYTHON) tools/run-tests $(BUILD)

## install: install program, library, headers and man pages below PREFIX (and DESTDIR)
install:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD) -Dprefix=$(PREFIX)
	@ninja -C $(BUILD) product
	@meson install -C $(BUILD) --no-rebuild
	@[ -n "$(DESTDIR)" ] || [ "$$(id -u)" != 0 ] || ldconfig

## bench: measure the figures of docs/performance.md on this machine
bench:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@bench/run $(BUILD)

## compare: compare this build with the wsc binary OLD=path; fail if it is 2 % slower (HOW=--instructions: count them)
compare:
	@$(if $(OLD),,$(error OLD=path of a wsc binary is missing; bench/compare --help tells how to build one))
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD) product bench/bench_load
	@bench/compare --build $(BUILD) $(HOW) $(OLD) $(BUILD)/wsc

## fuzz: run every fuzz harness (or ONLY=ws,json) for MINUTES=n (1), starting from the corpora in tests/fuzz
fuzz:
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C $(BUILD)-fuzz
	@$(PYTHON) tools/run-fuzz $(BUILD)-fuzz $(MINUTES) $(if $(ONLY),--only $(ONLY))

## fuzz-merge: reduce the finds of `make fuzz` (ONLY=...) to the fewest that reach new code; they stay in build-fuzz
fuzz-merge:
	@$(PYTHON) tools/run-fuzz $(BUILD)-fuzz 0 --merge $(if $(ONLY),--only $(ONLY))

## coverage: measure lines and branches that unit tests, library tests and corpora reach; fails if a parser has too few
coverage:
	@tools/install-packages.sh build test dev
	@tools/configure.sh $(BUILD)-coverage -Dtests=true -Dbuildtype=debug -Db_coverage=true -Dfaults=true
	@ninja -C $(BUILD)-coverage
	@$(PYTHON) tools/run-coverage $(BUILD)-coverage

## sanitize: run all tests under AddressSanitizer and UndefinedBehaviorSanitizer, and the tests without memory
sanitize:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-asan -Dtests=true $(GCC_SANITIZE)
	@ninja -C $(BUILD)-asan
	@$(PYTHON) tools/run-tests $(BUILD)-asan --slow

## tsan: run all tests under ThreadSanitizer
tsan:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-tsan -Dtests=true $(GCC_TSAN)
	@ninja -C $(BUILD)-tsan
	@$(PYTHON) tools/run-tests $(BUILD)-tsan --slow

## msan: run unit tests and corpora of the parsers and writers under clang's MemorySanitizer
msan:
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-msan -Dtests=true -Db_sanitize=memory -Db_lundef=false -Doptimization=1
	@tools/msan.sh $(BUILD)-msan

## valgrind: run under valgrind: unit and library tests, simulator, corpora, a server that stops with open connections
valgrind:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-debug -Dtests=true -Dbuildtype=debug
	@ninja -C $(BUILD)-debug
	@$(PYTHON) tools/run-tests $(BUILD)-debug --valgrind

## mutants: put one bug after the other into a copy; the simulator or the corpus of fuzz_connection must find each
mutants:
	@tools/install-packages.sh build
	@tests/sim/mutants.sh
	@tests/fuzz/mutants.sh

## soak: send mixed traffic for MINUTES=n (1); the server must lose no message and not grow
soak:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product
	@$(PYTHON) tests/soak/soak.py $(BUILD)/wsc $(MINUTES)

## conformance: run every WebSocket case with full counts, plain and over TLS; the report is build/conformance/report.md
conformance:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product
	@TEST_BUILD=$(abspath $(BUILD)) $(PYTHON) tests/conformance/run.py $(BUILD)/wsc --full

## pressure: run thousands of slow, stalled, flooding and resetting clients beside two normal ones; takes 6 minutes
pressure:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@TEST_BUILD=$(BUILD) $(PYTHON) tests/pressure/run.py $(BUILD)/wsc

## oracles: compare our codecs with llhttp, h11, wsproto and Python's on generated inputs for MINUTES=n (1)
oracles:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@$(PYTHON) tests/oracles/run.py $(BUILD)/wsc --minutes $(MINUTES)

## faults: let every allocation and system call of every story fail once, under ASan + UBSan; takes many minutes
faults:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-asan -Dtests=true $(GCC_SANITIZE)
	@ninja -C $(BUILD)-asan tests/faults/faults
	@ASAN_OPTIONS=allocator_may_return_null=1 $(BUILD)-asan/tests/faults/faults

## chop: run the e2e and library tests with reads and writes of one byte
chop:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-chop -Dtests=true -Dfaults=true
	@ninja -C $(BUILD)-chop
	@$(PYTHON) tools/run-tests $(BUILD)-chop --chop

## debug: build with -O0 -g; the program is build-debug/wsc
debug:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD)-debug -Dbuildtype=debug
	@ninja -C $(BUILD)-debug product

## clang: build with clang; the program is build-clang/wsc
clang:
	@tools/install-packages.sh build test
	@CC=clang tools/configure.sh $(BUILD)-clang
	@ninja -C $(BUILD)-clang product

## format: run clang-format on every C file
format:
	@tools/install-packages.sh build dev
	@tools/c-files.sh | xargs clang-format -i

## lint: check format, comments, layers, clang-tidy, cppcheck and gcc's analyzer; changes no file
lint: analyze
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-clang
	@tools/lint.sh $(BUILD)-clang

## analyze: run gcc -fanalyzer on src and cmd; every finding is an error unless tools/analyze explains it
analyze:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) --quiet src/assets.c
	@tools/analyze $(BUILD)

## clean: remove everything that the commands above have built
clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-msan $(BUILD)-debug $(BUILD)-clang $(BUILD)-fuzz \
		$(BUILD)-coverage $(BUILD)-chop

## help: print this list
help:
	@sed -n 's/^## \([a-z-]*\): /make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
