/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mem: all heap allocation, in one place, so that a build can make the k-th allocation fail.
 * No other module of this project calls malloc() or its relatives. All functions return NULL when there is no memory;
 * the caller then returns -WSC_ENOMEM and undoes what it began. Any thread.
 */
#ifndef WSC_BASE_MEM_H
#define WSC_BASE_MEM_H

#include <stddef.h>

/* Equal to WSC_ENOMEM of the public errors, which base does not include; modules that include both assert it. */
#define MEM_ENOMEM 1

void *mem_alloc(size_t n);
void *mem_zalloc(size_t n);
/* count * size with the overflow checked; zeroed. */
void *mem_calloc(size_t count, size_t size);
/* Keeps the old block when it fails. */
void *mem_realloc(void *p, size_t n);
/* Not zeroed. @align is a power of two and @n a multiple of it. */
void *mem_aligned(size_t align, size_t n);
void mem_free(void *p);
/* Returns to the system the freed memory that the heap still holds. Takes milliseconds when there is much of it. */
void mem_trim(void);
/* NUL-terminated copy of @n bytes. */
char *mem_strndup(const void *s, size_t n);

#ifdef WSC_FAULTS
/* The @k-th allocation from now (1 is the next) fails, and with @ever all later ones too; 0 switches this off. */
void mem_fail_at(unsigned long k, int ever);
#endif

#endif
