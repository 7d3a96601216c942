/* SPDX-License-Identifier: Apache-2.0 */
/*
 * source.h: bytes from somewhere, one at a time, read in large pieces.
 *
 * Knows no files: who owns it brings the function that reads, so that a parser can be fed from a file, from a
 * pipe that a signal may interrupt, or from memory in a test.
 */
#ifndef SLUICE_LINKS_SOURCE_H
#define SLUICE_LINKS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/types.h>

#define SOURCE_END (-1)

struct source {
	/* Fills `bytes` with 1 to `size` bytes. @return how many, 0 at the end, or a negative errno. */
	ssize_t (*read)(void *context, void *bytes, size_t size);
	void *context;

	int error;      /* the negative errno that ended it, 0: it has not, or by itself */
	bool ended;     /* nothing more will come */
	uint64_t total; /* bytes read so far */
	size_t at, n;   /* in `bytes` */
	unsigned char bytes[65536];
};

/** Starts anew. The struct is large: not for a stack. */
static inline void source_init(struct source *source, ssize_t (*read)(void *, void *, size_t), void *context)
{
	source->read = read;
	source->context = context;
	source->error = 0;
	source->ended = false;
	source->total = 0;
	source->at = source->n = 0;
}

/** Makes at least `n` bytes (a few) lie ready in `bytes` from `at` on, unless the end comes first. @return false then.
 */
static inline bool source_want(struct source *source, size_t n)
{
	while (source->n - source->at < n) {
		size_t have = source->n - source->at;
		ssize_t got;

		if (source->ended)
			return false;
		memmove(source->bytes, source->bytes + source->at, have);
		got = source->read(source->context, source->bytes + have, sizeof source->bytes - have);
		source->at = 0;
		source->n = have + (got > 0 ? (size_t)got : 0);
		source->total += got > 0 ? (uint64_t)got : 0;
		source->ended = got <= 0;
		source->error = got < 0 ? (int)got : 0;
	}
	return true;
}

/** @return the next byte without taking it, or SOURCE_END (also on an error: see source->error). */
static inline int source_peek(struct source *source)
{
	if (source->at == source->n && !source_want(source, 1))
		return SOURCE_END;
	return source->bytes[source->at];
}

/** @return the next byte, or SOURCE_END. */
static inline int source_get(struct source *source)
{
	int byte = source_peek(source);

	if (byte != SOURCE_END)
		source->at++;
	return byte;
}

/** Skips a UTF-8 byte order mark, if nothing was taken yet and one is there. */
static inline void source_skip_mark(struct source *source)
{
	static const unsigned char mark[] = { 0xef, 0xbb, 0xbf };

	if (source->total == 0 && source_want(source, sizeof mark) && memcmp(source->bytes, mark, sizeof mark) == 0)
		source->at = sizeof mark;
}

#endif
