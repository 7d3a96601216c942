/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buffer.h: bytes on their way to Redis, and how a command is spelled in them (RESP arrays of bulk strings).
 *
 * A buffer that could not grow remembers it: `failed` is set, what is added afterwards is dropped, and who sends the
 * buffer looks once at the end instead of after each word.
 *
 * Leaves out: replies (hiredis's reader), sockets (conn.h). Not for several threads at once.
 */
#ifndef SLUICE_STORE_REDIS_BUFFER_H
#define SLUICE_STORE_REDIS_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* All zero is an empty buffer. */
struct redis_buffer {
	char *bytes; /* owned */
	size_t len, room;
	bool failed; /* out of memory: what is inside is not whole */
};

/** Adds bytes as they are. */
void redis_buffer_add(struct redis_buffer *buffer, const void *bytes, size_t len);

/** Begins a command of `words` words; exactly so many must follow. */
void redis_command_begin(struct redis_buffer *buffer, unsigned words);

/** Adds a word. */
void redis_command_word(struct redis_buffer *buffer, const void *bytes, size_t len);

/** Adds a word of two parts: a prefix and a key. */
void redis_command_word2(struct redis_buffer *buffer, const void *first, size_t first_len, const void *second,
                         size_t second_len);

/** Adds a NUL-terminated word. */
void redis_command_text(struct redis_buffer *buffer, const char *text);

/** Adds a number in decimal. */
void redis_command_number(struct redis_buffer *buffer, uint64_t number);

/** Cuts it back to a length that it had, `failed` too. */
void redis_buffer_cut(struct redis_buffer *buffer, size_t len);

/** Empties it; keeps the memory up to `keep` bytes of room. */
void redis_buffer_clear(struct redis_buffer *buffer, size_t keep);

void redis_buffer_free(struct redis_buffer *buffer);

#endif
