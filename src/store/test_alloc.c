/* SPDX-License-Identifier: Apache-2.0 */
#include "store/test_alloc.h"

#include <errno.h>
#include <stddef.h>
#include <sys/mman.h>

/* Atomic, so that programs with threads may use the wrapped calls while nothing is to fail. */
static uint64_t countdown;
static bool all;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
void *__real_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *memory, size_t size);
void *__wrap_aligned_alloc(size_t alignment, size_t size);
void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset);

void test_alloc_fail(uint64_t n)
{
	__atomic_store_n(&countdown, n, __ATOMIC_RELAXED);
}

void test_alloc_fail_all(bool fail)
{
	__atomic_store_n(&all, fail, __ATOMIC_RELAXED);
}

bool test_alloc_failed(void)
{
	return __atomic_load_n(&countdown, __ATOMIC_RELAXED) == 0;
}

static bool fails(void)
{
	uint64_t n = __atomic_load_n(&countdown, __ATOMIC_RELAXED);

	if (__atomic_load_n(&all, __ATOMIC_RELAXED)) {
		errno = ENOMEM;
		return true;
	}
	if (n == 0)
		return false;
	__atomic_store_n(&countdown, n - 1, __ATOMIC_RELAXED);
	if (n > 1)
		return false;
	errno = ENOMEM;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return fails() ? NULL : __real_realloc(memory, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size)
{
	return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

void *__wrap_mmap64(void *at, size_t len, int prot, int flags, int fd, off_t offset)
{
	return fails() ? MAP_FAILED : __real_mmap64(at, len, prot, flags, fd, offset);
}
