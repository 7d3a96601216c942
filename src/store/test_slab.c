/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of slab.h: sizes, no two cells overlap, memory is given back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "store/slab.h"
#include "store/test_alloc.h"

static void cells_fit_tightly(void **state)
{
	for (size_t size = 1; size <= SLAB_SIZE_MAX; size++) {
		size_t cell = slab_cell(size);

		assert_true(cell >= size);
		assert_int_equal(cell % 8, 0);
		assert_int_equal(slab_cell(cell), cell);
		if (size <= 128)
			assert_true(cell - size < 8);
		else
			assert_true((cell - size) * 8 <= size);
	}
}

/* Every cell is filled with its own pattern and keeps it. */
static void cells_do_not_overlap(void **state)
{
	enum { N = 20000 };
	uint32_t *refs = malloc(N * sizeof *refs);
	size_t *sizes = malloc(N * sizeof *sizes);
	struct slab slab;
	uint64_t x = 99;

	assert_int_equal(slab_open(&slab), 0);
	memset(refs, 0, N * sizeof *refs);
	for (int step = 0; step < 5 * N; step++) {
		int i;

		x = x * UINT64_C(6364136223846793005) + 1442695040888963407;
		i = (int)((x >> 33) % N);
		if (refs[i] != 0) {
			const unsigned char *cell = slab_at(slab.segments, refs[i]);

			for (size_t k = 0; k < sizes[i]; k++)
				assert_int_equal(cell[k], (i + (int)k) & 0xff);
			slab_free(&slab, refs[i]);
			refs[i] = 0;
		} else {
			unsigned char *cell;

			sizes[i] = step % 16 == 0 ? 1 + (x >> 20) % SLAB_SIZE_MAX : 1 + (x >> 20) % 200;
			refs[i] = slab_alloc(&slab, sizes[i]);
			assert_int_not_equal(refs[i], 0);
			cell = slab_at(slab.segments, refs[i]);
			assert_int_equal((uintptr_t)cell % 8, 0);
			for (size_t k = 0; k < slab_cell(sizes[i]); k++)
				cell[k] = (unsigned char)(i + (int)k);
		}
	}
	assert_true(slab_bytes(&slab) > 0);
	for (int i = 0; i < N; i++)
		if (refs[i] != 0)
			slab_free(&slab, refs[i]);
	assert_int_equal(slab_bytes(&slab), 0);
	slab_close(&slab);
	free(refs);
	free(sizes);
}

/* What one size gave back, another can use; and cells are packed without waste. */
static void chunks_serve_other_classes(void **state)
{
	enum { N = 30000 };
	static const size_t sizes[] = { 104, 40, 2048, 104 };
	uint32_t *refs = malloc(N * sizeof *refs);
	struct slab slab;

	assert_int_equal(slab_open(&slab), 0);
	for (size_t round = 0; round < sizeof sizes / sizeof *sizes; round++) {
		uint32_t n = (uint32_t)(N * 40 / sizes[round]);
		/* A chunk is filled but for its head and less than a cell. */
		uint64_t in_chunk = (SLAB_CHUNK_BYTES - 16) / sizes[round];
		uint64_t expected = (n + in_chunk - 1) / in_chunk * SLAB_CHUNK_BYTES;
		uint32_t kept = slab_alloc(&slab, 8);

		for (uint32_t i = 0; i < n; i++) {
			refs[i] = slab_alloc(&slab, sizes[round]);
			assert_int_not_equal(refs[i], 0);
		}
		assert_true(slab_bytes(&slab) >= expected);
		assert_true(slab_bytes(&slab) <= expected + SLAB_SEGMENT_BYTES);
		for (uint32_t i = 0; i < n; i++)
			slab_free(&slab, refs[i]);
		assert_true(slab_bytes(&slab) <= SLAB_SEGMENT_BYTES);
		slab_free(&slab, kept);
		assert_int_equal(slab_bytes(&slab), 0);
	}
	slab_close(&slab);
	free(refs);
}

static void empty_slab_is_small(void **state)
{
	struct slab slab;
	uint32_t ref;

	assert_int_equal(slab_open(&slab), 0);
	assert_int_equal(slab_bytes(&slab), 0);
	ref = slab_alloc(&slab, 104);
	assert_int_equal(slab_bytes(&slab), SLAB_CHUNK_BYTES);
	slab_free(&slab, ref);
	slab_close(&slab);
}

static void without_memory_no_cell(void **state)
{
	struct slab slab;
	uint32_t ref;

	test_alloc_fail(1);
	assert_int_equal(slab_open(&slab), -ENOMEM);
	assert_int_equal(slab_open(&slab), 0);
	test_alloc_fail(1);
	assert_int_equal(slab_alloc(&slab, 104), 0);
	assert_true(test_alloc_failed());
	ref = slab_alloc(&slab, 104);
	assert_int_not_equal(ref, 0);
	slab_free(&slab, ref);
	assert_int_equal(slab_bytes(&slab), 0);
	slab_close(&slab);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cells_fit_tightly),          cmocka_unit_test(cells_do_not_overlap),
		cmocka_unit_test(chunks_serve_other_classes), cmocka_unit_test(empty_slab_is_small),
		cmocka_unit_test(without_memory_no_cell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
