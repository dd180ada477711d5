/* SPDX-License-Identifier: Apache-2.0 */
/*
 * machine: reads from the system how much memory this process holds, and how much it may hold before the system itself
 * steps in. It passes the system's figures on; it counts and decides nothing.
 */
#ifndef WSC_BASE_MACHINE_H
#define WSC_BASE_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

/* Opens the descriptor for machine_memory_held(). Keep it: later no descriptor may be free. Negative: -errno. */
int machine_memory_open(void);
/* The resident memory of this process in bytes: heap, stacks and libraries. 0: cannot be read. One system call. */
uint64_t machine_memory_held(int fd);
/*
 * The lowest of the machine's memory and the limits of this process's control groups (version 1 or 2); 0: unknown.
 * @root is put in front of the system's paths, "" for the real ones.
 */
uint64_t machine_memory_allowed(const char *root);

#endif
