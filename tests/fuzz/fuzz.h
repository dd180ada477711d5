/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz: the form of a harness. fuzz_NAME.c defines LLVMFuzzerTestOneInput(): it gives the bytes to one decoder, once
 * whole and once in parts where that makes sense, checks with assert() and returns 0. It keeps no state between two
 * calls. corpus/NAME/ holds its inputs. clang's libFuzzer drives it in `make fuzz`, replay_main.c in `make test`.
 */
#ifndef WSC_TESTS_FUZZ_H
#define WSC_TESTS_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
