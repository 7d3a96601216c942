/* SPDX-License-Identifier: Apache-2.0 */
/*
 * answers.h: answers that were given a moment ago and can be given again.
 *
 * Building an answer costs the library a dozen allocations. Under attack nearly all answers are denials, and within
 * one second there are few different ones; so those that the handler marks `repeats` are kept, and one object
 * serves any number of connections. One table a loop thread, of fixed size; a newer answer takes an older one's place.
 */
#ifndef SLUICE_HTTP_ANSWERS_H
#define SLUICE_HTTP_ANSWERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ANSWERS_SLOTS 128
#define ANSWERS_KEY_MAX 320

struct MHD_Response;
struct http_response;

/* One answer, held by the table and by each exchange that gives it. */
struct answer {
	struct MHD_Response *response;
	unsigned holders;
	size_t key_len;
	unsigned char key[ANSWERS_KEY_MAX];
};

struct answers {
	struct answer *slots[ANSWERS_SLOTS]; /* NULL: empty */
};

/* What tells an answer from others: its bytes, and the second in its Date field. */
struct answer_key {
	size_t slot, len;
	unsigned char bytes[ANSWERS_KEY_MAX];
};

/** Makes the key. @return false when the answer can't be kept (its body may change, or it is too long). */
bool answer_key_make(struct answer_key *key, const struct http_response *from, uint64_t date_s);

/** @return the answer of that key, held once more for the caller; NULL when there is none. */
struct answer *answers_find(struct answers *answers, const struct answer_key *key);

/** Keeps `response`, whose reference it takes over. @return the answer, held once for the caller; NULL when memory is
 *  short (the reference is still the caller's). */
struct answer *answers_keep(struct answers *answers, const struct answer_key *key, struct MHD_Response *response);

/** Lets go of one hold. */
void answer_drop(struct answer *answer);

/** Lets go of all. */
void answers_clear(struct answers *answers);

#endif
