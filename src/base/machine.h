/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: what the system says of memory: how much this process holds, and how much it may hold before the system itself
 * steps in. Figures of others, asked for and passed on: nothing is counted or decided here.
 */
#ifndef WSC_BASE_MACHINE_H
#define WSC_BASE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* A descriptor for machine_memory_held(), to be kept: later there may be none left to open it with. Negative: -errno. */
int machine_memory_open(void);
/* Bytes of memory that this process has resident, all of it: heap, stacks, libraries. 0: cannot be read. One system call. */
uint64_t machine_memory_held(int fd);
/*
 * The least of what the machine has and what the control groups (version 1 or 2) of this process allow; 0: cannot be told.
 * @root stands before the paths of the system, "" for the real ones.
 */
uint64_t machine_memory_allowed(const char *root);

#endif
