/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/buffer.h"

#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 1024

/* @return where `len` more bytes may be written, or NULL. */
static char *reserve(struct redis_buffer *buffer, size_t len)
{
	size_t room = buffer->room > 0 ? buffer->room : ROOM_FIRST;
	char *bytes;

	if (buffer->failed)
		return NULL;
	if (len <= buffer->room - buffer->len)
		return buffer->bytes + buffer->len;
	while (room - buffer->len < len && room <= SIZE_MAX / 2)
		room *= 2;
	bytes = room - buffer->len >= len ? realloc(buffer->bytes, room) : NULL;
	if (bytes == NULL) {
		buffer->failed = true;
		return NULL;
	}
	buffer->bytes = bytes;
	buffer->room = room;
	return bytes + buffer->len;
}

void redis_buffer_add(struct redis_buffer *buffer, const void *bytes, size_t len)
{
	char *to = reserve(buffer, len);

	if (to == NULL || len == 0)
		return;
	memcpy(to, bytes, len);
	buffer->len += len;
}

#define HEAD_MAX 24 /* bytes of a mark, a number and the end of its line */

/* Writes `<mark><number>\r\n`. @return behind it. */
static char *put_head(char *to, char mark, uint64_t number)
{
	char text[HEAD_MAX], *end = text + sizeof text, *at = end;

	*--at = '\n';
	*--at = '\r';
	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	*--at = mark;
	memcpy(to, at, (size_t)(end - at));
	return to + (end - at);
}

void redis_command_begin(struct redis_buffer *buffer, unsigned words)
{
	char *to = reserve(buffer, HEAD_MAX);

	if (to != NULL)
		buffer->len = (size_t)(put_head(to, '*', words) - buffer->bytes);
}

void redis_command_word(struct redis_buffer *buffer, const void *bytes, size_t len)
{
	redis_command_word2(buffer, bytes, len, "", 0);
}

void redis_command_word2(struct redis_buffer *buffer, const void *first, size_t first_len, const void *second,
                         size_t second_len)
{
	char *to = reserve(buffer, HEAD_MAX + first_len + second_len + 2);

	if (to == NULL)
		return;
	to = put_head(to, '$', (uint64_t)first_len + second_len);
	memcpy(to, first, first_len);
	memcpy(to + first_len, second, second_len);
	memcpy(to + first_len + second_len, "\r\n", 2);
	buffer->len = (size_t)(to - buffer->bytes) + first_len + second_len + 2;
}

void redis_command_text(struct redis_buffer *buffer, const char *text)
{
	redis_command_word(buffer, text, strlen(text));
}

void redis_command_number(struct redis_buffer *buffer, uint64_t number)
{
	char text[20], *end = text + sizeof text, *at = end;

	do {
		*--at = (char)('0' + number % 10);
		number /= 10;
	} while (number > 0);
	redis_command_word(buffer, at, (size_t)(end - at));
}

void redis_buffer_cut(struct redis_buffer *buffer, size_t len)
{
	buffer->len = len;
	buffer->failed = false;
}

void redis_buffer_clear(struct redis_buffer *buffer, size_t keep)
{
	if (buffer->room > keep)
		redis_buffer_free(buffer);
	redis_buffer_cut(buffer, 0);
}

void redis_buffer_free(struct redis_buffer *buffer)
{
	free(buffer->bytes);
	*buffer = (struct redis_buffer){ 0 };
}
