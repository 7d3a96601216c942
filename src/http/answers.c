/* SPDX-License-Identifier: Apache-2.0 */
#include "http/answers.h"

#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

#include "http/http.h"

static bool put(struct answer_key *key, const void *bytes, size_t len)
{
	if (key->len + len > sizeof key->bytes)
		return false;
	memcpy(key->bytes + key->len, bytes, len);
	key->len += len;
	return true;
}

/* FNV-1a (Fowler, Noll, Vo), a word at a time. Whoever finds keys of one slot gains nothing: a miss is what every
 * answer cost before. */
static size_t slot_of(const struct answer_key *key)
{
	uint64_t hash = 14695981039346656037u, word;
	size_t i = 0;

	for (; i + sizeof word <= key->len; i += sizeof word) {
		memcpy(&word, key->bytes + i, sizeof word);
		hash = (hash ^ word) * 1099511628211u;
	}
	for (; i < key->len; i++)
		hash = (hash ^ key->bytes[i]) * 1099511628211u;
	return (hash ^ hash >> 32) % ANSWERS_SLOTS;
}

bool answer_key_make(struct answer_key *key, const struct http_response *from, uint64_t date_s)
{
	bool ok = from->body_static && !from->close;

	key->len = 0;
	ok = ok && put(key, &date_s, sizeof date_s) && put(key, &from->status, sizeof from->status) &&
	     put(key, &from->body, sizeof from->body) && put(key, &from->content_type, sizeof from->content_type);
	/* With their final NUL, so that no two lists of fields read alike. */
	for (size_t i = 0; ok && i < from->fields_n; i++)
		ok = put(key, from->fields[i].name, strlen(from->fields[i].name) + 1) &&
		     put(key, from->fields[i].value, strlen(from->fields[i].value) + 1);
	if (ok)
		key->slot = slot_of(key);
	return ok;
}

struct answer *answers_find(struct answers *answers, const struct answer_key *key)
{
	struct answer *answer = answers->slots[key->slot];

	if (answer == NULL || answer->key_len != key->len || memcmp(answer->key, key->bytes, key->len) != 0)
		return NULL;
	answer->holders++;
	return answer;
}

struct answer *answers_keep(struct answers *answers, const struct answer_key *key, struct MHD_Response *response)
{
	struct answer *answer = malloc(sizeof *answer);

	if (answer == NULL)
		return NULL;
	answer->response = response;
	answer->holders = 2;
	answer->key_len = key->len;
	memcpy(answer->key, key->bytes, key->len);
	if (answers->slots[key->slot] != NULL)
		answer_drop(answers->slots[key->slot]);
	answers->slots[key->slot] = answer;
	return answer;
}

void answer_drop(struct answer *answer)
{
	if (--answer->holders > 0)
		return;
	MHD_destroy_response(answer->response);
	free(answer);
}

void answers_clear(struct answers *answers)
{
	for (size_t i = 0; i < ANSWERS_SLOTS; i++) {
		if (answers->slots[i] != NULL)
			answer_drop(answers->slots[i]);
		answers->slots[i] = NULL;
	}
}
