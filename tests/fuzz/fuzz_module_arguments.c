/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_module_arguments.c: any words of a command of the module, and what it remembers from one command to the next.
 *
 * The first byte says which options are allowed; the rest are lines, a command each, of words with blanks between them.
 * A word may hold any other byte.
 *
 * Holds: what is understood is a policy as sluice_policy_init() makes it, and options that were allowed; what is
 * refused has a reason that can be shown; and what was read before makes no difference.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "redis-module/arguments.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define WORDS_MAX 40

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

/* Words in blocks of their own, so that a sanitizer sees the first byte past each. */
static size_t split(const char *line, size_t len, struct word words[WORDS_MAX])
{
	size_t n = 0;

	while (n < WORDS_MAX) {
		const char *blank = len > 0 ? memchr(line, ' ', len) : NULL;
		size_t word_len = blank != NULL ? (size_t)(blank - line) : len;
		char *copy = malloc(word_len > 0 ? word_len : 1);

		MUST(copy != NULL);
		if (word_len > 0)
			memcpy(copy, line, word_len);
		words[n].at = copy;
		words[n++].len = word_len;
		if (blank == NULL)
			break;
		line += word_len + 1;
		len -= word_len + 1;
	}
	return n;
}

static void check_policy(const struct sluice_policy *policy)
{
	struct sluice_policy again;

	MUST(sluice_policy_init(&again, policy->algorithm, policy->limit, policy->window_us, policy->burst, NULL) == 0);
	MUST(again.tick_us == policy->tick_us && again.drain == policy->drain && again.unit_debt == policy->unit_debt);
}

static bool same(const struct arguments *a, const struct arguments *b)
{
	return a->policy.algorithm == b->policy.algorithm && a->policy.limit == b->policy.limit &&
	       a->policy.burst == b->policy.burst && a->policy.window_us == b->policy.window_us && a->cost == b->cost &&
	       a->given == b->given && a->at_us == b->at_us;
}

/* For an answer of one line. */
static void check_why(const struct why *why)
{
	size_t len = strnlen(why->text, sizeof why->text);

	MUST(len > 0 && len < sizeof why->text);
	for (size_t i = 0; i < len; i++)
		MUST((unsigned char)why->text[i] >= ' ' && why->text[i] != 0x7f);
}

static void read_words(const struct word *words, size_t n, unsigned allowed, struct arguments_memo *memo)
{
	struct arguments with = { 0 }, without = { 0 }, part = { 0 };
	struct why why = { "" }, why_without = { "" }, ignored;
	int result = arguments_read_all(&with, memo, allowed, words, n, &why);
	size_t used = 0;

	MUST(result == arguments_read_all(&without, NULL, allowed, words, n, &why_without));
	MUST(result == 0 || result == -1);
	if (result != 0) {
		check_why(&why);
		MUST(strcmp(why.text, why_without.text) == 0);
	} else {
		MUST(same(&with, &without));
		check_policy(&with.policy);
		MUST((with.given & ~allowed) == 0 && with.cost > 0 && with.at_us <= SLUICE_TIME_MAX_US);
		MUST((with.given & ARGUMENT_COST) != 0 || with.cost == 1);
		MUST((with.given & ARGUMENT_AT) != 0 || with.at_us == 0);
	}
	/* The longest beginning that is one policy is understood by itself. */
	if (arguments_read(&part, memo, allowed, words, n, &used, &ignored) == 0) {
		MUST(used >= 3 && used <= n && (used == n) == (result == 0));
		MUST(arguments_read_all(&with, memo, allowed, words, used, &why) == 0 && same(&with, &part));
	} else {
		MUST(result != 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *at = (const char *)data + 1, *end = (const char *)data + size;
	struct arguments_memo memo = { 0 };

	while (size > 0 && at <= end) {
		const char *stop = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
		struct word words[WORDS_MAX];
		size_t n = split(at, (size_t)((stop != NULL ? stop : end) - at), words);

		read_words(words, n, data[0] & 15, &memo);
		for (size_t i = 0; i < n; i++)
			free((char *)words[i].at);
		if (stop == NULL)
			break;
		at = stop + 1;
	}
	return 0;
}
