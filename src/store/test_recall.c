/* SPDX-License-Identifier: Apache-2.0 */
/* Tests of recall.h: notes that come, change, end, and give way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "store/recall.h"

static void notes_come_and_end(void **state)
{
	struct recall *recall = recall_new(100);
	uint64_t key;
	struct recall_note note;

	assert_non_null(recall);
	key = recall_key(recall, "a:{1}", 5);
	assert_int_not_equal(key, recall_key(recall, "a:{2}", 5));
	note = recall_find(recall, key, 0);
	assert_int_equal(note.used, 0);
	assert_int_equal(note.marked_until_us, 0);
	recall_used(recall, key, 7, 100);
	recall_mark(recall, key, 50);
	recall_mark(recall, key, 40); /* never shorter */
	note = recall_find(recall, key, 49);
	assert_int_equal(note.used, 7);
	assert_int_equal(note.used_until_us, 100);
	assert_int_equal(note.marked_until_us, 50);
	note = recall_find(recall, key, 50);
	assert_int_equal(note.marked_until_us, 0);
	assert_int_equal(note.used, 7);
	note = recall_find(recall, key, 100);
	assert_int_equal(note.used, 0);
	assert_int_equal(note.used_until_us, 0);
	recall_used(recall, key, 3, 90); /* what is newest, not what is most */
	assert_int_equal(recall_find(recall, key, 0).used, 3);
	recall_forget(recall, key);
	assert_int_equal(recall_find(recall, key, 0).used, 0);
	assert_int_equal(recall_find(recall, key, 0).marked_until_us, 0);
	recall_free(recall);
}

/* A full table keeps what lasts longest. */
static void the_table_is_bounded(void **state)
{
	struct recall *recall = recall_new(4);
	size_t bytes = recall_bytes(recall);

	for (uint64_t key = 1; key <= 1000; key++)
		recall_used(recall, key, (uint32_t)key, 10 * key);
	assert_int_equal(recall_bytes(recall), bytes);
	for (uint64_t key = 1; key <= 1000; key++)
		assert_int_equal(recall_find(recall, key, 0).used, key > 996 ? key : 0);
	recall_used(recall, 5000, 1, 9999);
	assert_int_equal(recall_find(recall, 997, 0).used, 0);
	assert_int_equal(recall_find(recall, 1000, 0).used, 1000);
	recall_free(recall);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notes_come_and_end),
		cmocka_unit_test(the_table_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
