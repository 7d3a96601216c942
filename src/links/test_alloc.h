/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_alloc.h: makes the n-th allocation of the code under test fail.
 *
 * For programs linked with -Wl,--wrap for malloc, calloc, realloc, aligned_alloc and strdup (see meson.build): it
 * catches our own calls, not those inside shared libraries. Include it in one file of the program.
 */
#ifndef SLUICE_LINKS_TEST_ALLOC_H
#define SLUICE_LINKS_TEST_ALLOC_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Allocations that still succeed; negative: all do. */
static _Atomic long alloc_left = -1;

/* The next `n` allocations succeed and the one after them fails; then all succeed again. */
static inline void alloc_fail_after(long n)
{
	alloc_left = n;
}

/* @return true when the failure that was ordered has happened (or none was). Cancels it. */
static inline bool alloc_failed(void)
{
	return atomic_exchange(&alloc_left, -1) < 0;
}

static inline bool alloc_refuse(void)
{
	if (alloc_left < 0 || atomic_fetch_sub(&alloc_left, 1) > 0)
		return false;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
	return alloc_refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return alloc_refuse() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return alloc_refuse() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return alloc_refuse() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text)
{
	return alloc_refuse() ? NULL : __real_strdup(text);
}

#endif
