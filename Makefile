# SPDX-License-Identifier: Apache-2.0
# The commands of this project, each only a few lines: meson.build describes the build, ninja performs it, tools/ has the
# longer scripts. `make help` lists the commands.

BUILD   := build
MINUTES := 1
ONLY    :=
PREFIX  := /usr/local
CONFIG  :=
PYTHON  := /usr/bin/python3

GCC_SANITIZE := -Db_sanitize=address,undefined -Db_lundef=false -Doptimization=1 -Dfaults=true
GCC_TSAN     := -Db_sanitize=thread -Db_lundef=false -Doptimization=1

.PHONY: build run test install bench fuzz fuzz-merge coverage format lint analyze sanitize tsan msan valgrind mutants soak \
	pressure conformance oracles faults chop debug clang clean help

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

## bench: measures the figures of docs/performance.md on this machine
bench:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@bench/run $(BUILD)

## fuzz: every harness, or ONLY=ws,json, for MINUTES=n (1) minutes, from the corpora of the tree
fuzz:
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-fuzz -Dfuzz=true -Db_sanitize=address,undefined -Db_lundef=false
	@ninja -C $(BUILD)-fuzz
	@$(PYTHON) tools/run-fuzz $(BUILD)-fuzz $(MINUTES) $(if $(ONLY),--only $(ONLY))

## fuzz-merge: keeps the fewest inputs of `make fuzz` (ONLY=...) that reach the same code, and prints what is new
fuzz-merge:
	@$(PYTHON) tools/run-fuzz $(BUILD)-fuzz 0 --merge $(if $(ONLY),--only $(ONLY))

## coverage: lines and branches that unit tests, library tests and corpora reach; fails if a parser is below its aim
coverage:
	@tools/install-packages.sh build test dev
	@tools/configure.sh $(BUILD)-coverage -Dtests=true -Dbuildtype=debug -Db_coverage=true -Dfaults=true
	@ninja -C $(BUILD)-coverage
	@$(PYTHON) tools/run-coverage $(BUILD)-coverage

## sanitize: the whole suite under AddressSanitizer and UndefinedBehaviorSanitizer, and the tests of lack of memory
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

## msan: unit tests and replays of the parsers and writers under clang's MemorySanitizer
msan:
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-msan -Dtests=true -Db_sanitize=memory -Db_lundef=false -Doptimization=1
	@tools/msan.sh $(BUILD)-msan

## valgrind: unit and library tests, simulator and replay under valgrind, and a server that stops with connections open
valgrind:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)-debug -Dtests=true -Dbuildtype=debug
	@ninja -C $(BUILD)-debug
	@$(PYTHON) tools/run-tests $(BUILD)-debug --valgrind

## mutants: plants bugs in a copy, one at a time; the simulator or the corpus of the whole connection must find each
mutants:
	@tools/install-packages.sh build
	@tests/sim/mutants.sh
	@tests/fuzz/mutants.sh

## soak: mixed traffic for MINUTES=n (1) minutes; the server must lose nothing and not grow
soak:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product
	@$(PYTHON) tests/soak/soak.py $(BUILD)/wsc $(MINUTES)

## conformance: every WebSocket case with full counts, plain and over TLS; the table is build/conformance/report.md
conformance:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) product
	@TEST_BUILD=$(abspath $(BUILD)) $(PYTHON) tests/conformance/run.py $(BUILD)/wsc --full

## pressure: crowds of thousands of slow, stalled, flooding and resetting clients beside an ordinary pair; 6 minutes
pressure:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@TEST_BUILD=$(BUILD) $(PYTHON) tests/pressure/run.py $(BUILD)/wsc

## oracles: our codecs against llhttp, h11, wsproto and Python's over generated inputs for MINUTES=n (1) minutes
oracles:
	@tools/install-packages.sh build test
	@tools/configure.sh $(BUILD) -Dtests=true
	@ninja -C $(BUILD)
	@$(PYTHON) tests/oracles/run.py $(BUILD)/wsc --minutes $(MINUTES)

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

## lint: format, clang-tidy, cppcheck, gcc's analyzer, layers; changes nothing
lint: analyze
	@tools/install-packages.sh build test dev
	@CC=clang tools/configure.sh $(BUILD)-clang
	@tools/lint.sh $(BUILD)-clang

## analyze: gcc -fanalyzer over src and cmd; every finding is an error unless tools/analyze lists it as false
analyze:
	@tools/install-packages.sh --check build
	@tools/configure.sh $(BUILD)
	@ninja -C $(BUILD) --quiet src/assets.c
	@tools/analyze $(BUILD)

## clean: removes what the commands above have built
clean:
	rm -rf $(BUILD) $(BUILD)-asan $(BUILD)-tsan $(BUILD)-msan $(BUILD)-debug $(BUILD)-clang $(BUILD)-fuzz \
		$(BUILD)-coverage $(BUILD)-chop

## help: this list
help:
	@sed -n 's/^## \([a-z-]*\): /make \1\t/p' $(firstword $(MAKEFILE_LIST)) | expand -t 18
