/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_memory_source.h: a source of bytes from memory, in pieces as small as wanted. For tests and fuzzers.
 */
#ifndef SLUICE_LINKS_TEST_MEMORY_SOURCE_H
#define SLUICE_LINKS_TEST_MEMORY_SOURCE_H

#include <string.h>

#include "links/source.h"

struct memory {
	const char *bytes;
	size_t n;
	size_t piece; /* at most this many at a time */
	int error;    /* what comes after them: 0 the end, or a negative errno */
};

static inline ssize_t memory_read(void *context, void *bytes, size_t size)
{
	struct memory *memory = context;
	size_t n = memory->n < size ? memory->n : size;

	if (n > memory->piece)
		n = memory->piece;
	if (n == 0)
		return memory->error;
	memcpy(bytes, memory->bytes, n);
	memory->bytes += n;
	memory->n -= n;
	return (ssize_t)n;
}

#endif
