/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_alloc.h: makes the n-th allocation from now on fail, once.
 *
 * For tests only. The test program is linked with --wrap=malloc, --wrap=calloc, --wrap=realloc and --wrap=mmap64 (the
 * name of mmap with 64-bit offsets), so that the store's own calls come by here; the C library's do not. Linker:
 * `store_test_wrap` in src/store/meson.build.
 */
#ifndef SLUICE_STORE_TEST_ALLOC_H
#define SLUICE_STORE_TEST_ALLOC_H

#include <stdbool.h>
#include <stdint.h>

/** The `n`-th allocation from now on fails, those after it do not. 0: none fails. One thread only. */
void test_alloc_fail(uint64_t n);

/** Whether every allocation fails. */
void test_alloc_fail_all(bool fail);

/** @return true when the allocation that was to fail has come; then none is pending any more. */
bool test_alloc_failed(void);

#endif
