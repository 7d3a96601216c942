/* SPDX-License-Identifier: Apache-2.0 */
/* postgres_array.c: see postgres_array.h. */
#include "links/postgres_array.h"

#include <endian.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define HEAD 20

/* @return room for `more` bytes at the end, or NULL with `failed` set. */
static unsigned char *extend(struct pg_array *array, size_t more)
{
	size_t need = array->used + more, room = array->room > 0 ? array->room : 1024;
	unsigned char *bytes;

	if (array->failed || more > INT_MAX || need > INT_MAX) {
		array->failed = true;
		return NULL;
	}
	while (room < need)
		room *= 2;
	if (room > array->room) {
		bytes = realloc(array->bytes, room);
		if (bytes == NULL) {
			array->failed = true;
			return NULL;
		}
		array->bytes = bytes;
		array->room = room;
	}
	bytes = array->bytes + array->used;
	array->used = need;
	return bytes;
}

static void put_int4(unsigned char *to, uint32_t value)
{
	value = htobe32(value);
	memcpy(to, &value, sizeof value);
}

void pg_array_begin(struct pg_array *array, uint32_t type)
{
	unsigned char *head;

	array->used = 0;
	array->n = 0;
	array->failed = false;
	head = extend(array, HEAD);
	if (head == NULL)
		return;
	put_int4(head, 0);
	put_int4(head + 4, 0);
	put_int4(head + 8, type);
	put_int4(head + 12, 0);
	put_int4(head + 16, 1);
}

void pg_array_add(struct pg_array *array, const void *bytes, size_t len)
{
	unsigned char *to = extend(array, 4 + len);

	if (to == NULL)
		return;
	put_int4(to, (uint32_t)len);
	if (len > 0)
		memcpy(to + 4, bytes, len);
	array->n++;
}

void pg_array_add_null(struct pg_array *array)
{
	unsigned char *to = extend(array, 4);

	if (to == NULL)
		return;
	put_int4(to, UINT32_MAX);
	put_int4(array->bytes + 4, 1);
	array->n++;
}

void pg_array_add_int8(struct pg_array *array, int64_t value)
{
	uint64_t wire = htobe64((uint64_t)value);

	pg_array_add(array, &wire, sizeof wire);
}

void pg_array_add_time(struct pg_array *array, uint64_t us)
{
	pg_array_add_int8(array, (int64_t)us - PG_EPOCH_US);
}

bool pg_array_end(struct pg_array *array)
{
	if (array->failed)
		return false;
	if (array->n == 0) { /* an empty array has no dimension, and no length */
		array->used = 12;
		return true;
	}
	put_int4(array->bytes, 1);
	put_int4(array->bytes + 12, array->n);
	return true;
}

void pg_array_free(struct pg_array *array)
{
	free(array->bytes);
	memset(array, 0, sizeof *array);
}

int64_t pg_read_int8(const char *bytes)
{
	uint64_t wire;

	memcpy(&wire, bytes, sizeof wire);
	return (int64_t)be64toh(wire);
}

uint64_t pg_read_time(const char *bytes)
{
	int64_t since_2000 = pg_read_int8(bytes);

	if (since_2000 < -PG_EPOCH_US || since_2000 > INT64_MAX - PG_EPOCH_US - 1)
		return 0;
	return (uint64_t)(since_2000 + PG_EPOCH_US);
}
