/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres_array.h: one-dimensional arrays in PostgreSQL's binary wire format, so that one statement carries many rows
 * and nothing needs quoting.
 *
 * Layout, all big-endian (PostgreSQL source, array_recv()): int32 dimensions (1, or 0 when empty), int32 has-nulls,
 * int32 element type, then int32 length, int32 lower bound (1), and for each element int32 bytes (-1: null) and the
 * bytes.
 */
#ifndef SLUICE_LINKS_POSTGRES_ARRAY_H
#define SLUICE_LINKS_POSTGRES_ARRAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Types by their fixed numbers (pg_type.dat). */
#define PG_BYTEA 17
#define PG_INT8 20
#define PG_TEXT 25
#define PG_TIMESTAMPTZ 1184

/* PostgreSQL counts time from 2000-01-01 UTC: microseconds between 1970 and then. */
#define PG_EPOCH_US INT64_C(946684800000000)

struct pg_array {
	unsigned char *bytes;
	size_t used, room;
	uint32_t n;
	bool failed; /* memory was short: the array is not whole */
};

/** Empties the array, which keeps its memory, and starts one of that element type. A zeroed struct is fine. */
void pg_array_begin(struct pg_array *array, uint32_t type);

/** Adds an element. When memory is short or the array exceeds what a message can hold, `failed` is set. */
void pg_array_add(struct pg_array *array, const void *bytes, size_t len);
void pg_array_add_null(struct pg_array *array);
void pg_array_add_int8(struct pg_array *array, int64_t value);

/** Adds a timestamptz. @param us  since 1970. */
void pg_array_add_time(struct pg_array *array, uint64_t us);

/** Writes the number of elements into the head. @return false when it failed. */
bool pg_array_end(struct pg_array *array);

void pg_array_free(struct pg_array *array);

/** Reads the int8 of a binary result. @param bytes  8 of them. */
int64_t pg_read_int8(const char *bytes);

/** Reads the timestamptz of a binary result. @return us since 1970; 0 for a time before that, infinity included. */
uint64_t pg_read_time(const char *bytes);

#endif
