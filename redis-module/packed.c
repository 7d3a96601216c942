/* SPDX-License-Identifier: Apache-2.0 */
/*
 * packed.c: reads packed requests, writes packed answers.
 */
#include "redis-module/packed.h"

#include <string.h>

#include "core/state.h"

struct reader {
	const uint8_t *at;
	size_t left;
};

/* @return NULL when so many bytes are not there. */
static const uint8_t *next(struct reader *reader, size_t len)
{
	const uint8_t *at = reader->at;

	if (len > reader->left)
		return NULL;
	reader->at += len;
	reader->left -= len;
	return at;
}

static int read_policies(struct sluice_policy *policies, size_t n, struct reader *reader, struct why *why)
{
	for (size_t i = 0; i < n; i++) {
		const uint8_t *at = next(reader, PACKED_POLICY_LEN);
		const char *reason = NULL;

		if (at == NULL)
			return why_set(why, "requests end within policy %zu", i);
		if (sluice_policy_init(&policies[i], (enum sluice_algorithm)at[0], load32(at + 1), load64(at + 9),
		                       load32(at + 5), &reason) != SLUICE_OK)
			return why_set(why, "policy %zu of requests: %s", i, reason);
	}
	return 0;
}

static int read_takes(struct take *takes, size_t keys, const struct sluice_policy *policies, size_t n,
                      struct reader *reader, struct why *why)
{
	size_t together = 0; /* keys that this request still has */

	for (size_t i = 0; i < keys; i++) {
		const uint8_t *at;

		takes[i].together = 0;
		if (together == 0) {
			at = next(reader, 1);
			if (at == NULL)
				return why_set(why, "requests end before key %zu", i);
			together = at[0];
			if (together == 0 || together > keys - i)
				return why_set(why, "requests: one has %zu keys, with %zu left", together, keys - i);
			takes[i].together = (uint32_t)together;
		}
		at = next(reader, 5);
		if (at == NULL)
			return why_set(why, "requests end within the take of key %zu", i);
		if (at[0] >= n)
			return why_set(why, "requests: key %zu has policy %u of %zu", i, at[0], n);
		takes[i].policy = &policies[at[0]];
		takes[i].cost = load32(at + 1);
		if (takes[i].cost == 0)
			return why_set(why, "requests: the cost of key %zu is 0", i);
		together--;
	}
	return 0;
}

int packed_read(struct take *takes, size_t keys, struct sluice_policy *policies, const char *bytes, size_t len,
                struct why *why)
{
	struct reader reader = { (const uint8_t *)bytes, len };
	const uint8_t *head = next(&reader, 2);

	if (head == NULL || head[0] != PACKED_FORMAT)
		return why_set(why, "requests are not of format %d", PACKED_FORMAT);
	if (head[1] == 0)
		return why_set(why, "requests have no policy");
	if (read_policies(policies, head[1], &reader, why) != 0 ||
	    read_takes(takes, keys, policies, head[1], &reader, why) != 0)
		return -1;
	if (reader.left > 0)
		return why_set(why, "requests go on after their takes: bytes left: %zu", reader.left);
	return 0;
}

static void put_double(char *to, double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof bits);
	save64((uint8_t *)to, bits);
}

void packed_answer(char *to, const struct sluice_decision *decision)
{
	to[0] = decision->allowed ? PACKED_ALLOWED : 0;
	save32((uint8_t *)to + 1, decision->remaining);
	put_double(to + 5, decision->retry_after_us == SLUICE_NEVER ? -1 : (double)decision->retry_after_us);
	put_double(to + 13, (double)decision->reset_after_us);
	put_double(to + 21, (double)decision->at_us);
}

void packed_failure(char *to, int flag)
{
	memset(to, 0, PACKED_ANSWER_LEN);
	to[0] = (char)flag;
}
