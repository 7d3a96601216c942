/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_module_packed.c: any bytes as the packed requests of SLUICE.MTAKE.
 *
 * The first two bytes say how many keys there are; the rest are the requests.
 *
 * Holds: what is understood covers the keys exactly, with costs and policies that can be decided by, and says with each
 * byte what the layout in docs/redis-module.md tells; what is refused has a reason that can be shown; and an answer
 * says what was decided.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redis-module/packed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEYS_MAX 1024
#define POLICIES_MAX 255

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

static uint64_t number(const uint8_t *at, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

static double number_double(const char *at)
{
	uint64_t bits = number((const uint8_t *)at, 8);
	double value;

	memcpy(&value, &bits, sizeof value);
	return value;
}

/* Reads the policies by the layout, as somebody who trusts it. */
static const uint8_t *check_policies(const struct sluice_policy *policies, const uint8_t *at)
{
	size_t n = at[1];

	MUST(at[0] == PACKED_FORMAT && n > 0);
	at += 2;
	for (size_t i = 0; i < n; i++, at += PACKED_POLICY_LEN) {
		struct sluice_policy again;

		MUST(sluice_policy_init(&again, (enum sluice_algorithm)at[0], (uint32_t)number(at + 1, 4),
		                        number(at + 9, 8), (uint32_t)number(at + 5, 4), NULL) == 0);
		MUST(again.algorithm == policies[i].algorithm && again.limit == policies[i].limit &&
		     again.burst == policies[i].burst && again.window_us == policies[i].window_us &&
		     again.tick_us == policies[i].tick_us && again.drain == policies[i].drain &&
		     again.unit_debt == policies[i].unit_debt);
	}
	return at;
}

static void check_takes(const struct take *takes, size_t keys, const struct sluice_policy *policies, const uint8_t *at,
                        const uint8_t *end)
{
	for (size_t i = 0; i < keys;) {
		size_t together = *at++;

		MUST(together > 0 && together <= keys - i && takes[i].together == together);
		for (size_t j = 0; j < together; j++, at += 5) {
			const struct take *take = &takes[i + j];

			MUST(j == 0 || take->together == 0);
			MUST(take->policy == &policies[at[0]] && take->cost == number(at + 1, 4) && take->cost > 0);
		}
		i += together;
	}
	MUST(at == end);
}

/* A decision of its policy, on an empty state, and the answer that tells it. */
static void check_answer(const struct take *take)
{
	struct sluice_decision decision;
	char answer[PACKED_ANSWER_LEN + 1];

	MUST(sluice_peek(NULL, 0, take->policy, UINT64_C(1700000000000000), take->cost, &decision) == 0);
	answer[PACKED_ANSWER_LEN] = 'x';
	packed_answer(answer, &decision);
	MUST(answer[PACKED_ANSWER_LEN] == 'x');
	MUST((answer[0] == PACKED_ALLOWED) == decision.allowed && (answer[0] == 0) == !decision.allowed);
	MUST(number((const uint8_t *)answer + 1, 4) == decision.remaining);
	MUST(number_double(answer + 5) ==
	     (decision.retry_after_us == SLUICE_NEVER ? -1.0 : (double)decision.retry_after_us));
	MUST(number_double(answer + 13) == (double)decision.reset_after_us);
	MUST(number_double(answer + 21) == (double)decision.at_us);
}

/* For an answer of one line. */
static void check_why(const struct why *why)
{
	size_t len = strnlen(why->text, sizeof why->text);

	MUST(len > 0 && len < sizeof why->text);
	for (size_t i = 0; i < len; i++)
		MUST((unsigned char)why->text[i] >= ' ' && why->text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct take takes[KEYS_MAX];
	static struct sluice_policy policies[POLICIES_MAX];
	struct why why = { "" };
	size_t keys, len;
	char *bytes;
	int result;

	if (size < 2)
		return 0;
	keys = 1 + number(data, 2) % KEYS_MAX;
	len = size - 2;
	bytes = malloc(len > 0 ? len : 1); /* of its own, so that a sanitizer sees the first byte past it */
	MUST(bytes != NULL);
	memcpy(bytes, data + 2, len);
	result = packed_read(takes, keys, policies, bytes, len, &why);
	MUST(result == 0 || result == -1);
	if (result == 0) {
		const uint8_t *at = check_policies(policies, (const uint8_t *)bytes);

		check_takes(takes, keys, policies, at, (const uint8_t *)bytes + len);
		check_answer(&takes[keys - 1]);
	} else {
		check_why(&why);
	}
	free(bytes);
	return 0;
}
