/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.c: reads a policy and options from words.
 */
#include "redis-module/arguments.h"

#include <string.h>
#include <strings.h>

#include "config/value.h"

/* Longer than any name, number or duration that has a meaning. */
#define TEXT_MAX 32
#define POLICY_WORDS 3

bool word_is(const struct word *word, const char *name)
{
	return strlen(name) == word->len && strncasecmp(word->at, name, word->len) == 0;
}

/* The readers of single values want a C string. What has a NUL in it or is too long is no value of any kind.
 * @return whether it is a text. */
static bool copy_text(const struct word *word, char text[TEXT_MAX])
{
	if (word->len >= TEXT_MAX || memchr(word->at, '\0', word->len) != NULL)
		return false;
	memcpy(text, word->at, word->len);
	text[word->len] = '\0';
	return true;
}

const char *word_quote(const struct word *word, char out[WHY_QUOTED_MAX])
{
	char text[WHY_QUOTED_MAX];
	size_t len = word->len < sizeof text - 1 ? word->len : sizeof text - 1;

	for (size_t i = 0; i < len; i++) /* a NUL would end it too soon */
		text[i] = word->at[i] != '\0' ? word->at[i] : '\1';
	text[len] = '\0';
	return why_quote(text, out);
}

int word_number(const struct word *word, const char *name, uint64_t least, uint64_t most, uint64_t *number,
                struct why *why)
{
	char text[TEXT_MAX], quoted[WHY_QUOTED_MAX];
	struct why ignored;
	uint64_t value;

	if (!copy_text(word, text) || value_number(text, &value, &ignored) != 0 || value < least || value > most)
		return why_set(why, "%s must be a whole number from %llu to %llu, not %s", name,
		               (unsigned long long)least, (unsigned long long)most, word_quote(word, quoted));
	*number = value;
	return 0;
}

static int read_algorithm(const struct word *word, enum sluice_algorithm *algorithm, struct why *why)
{
	char text[TEXT_MAX], quoted[WHY_QUOTED_MAX];

	if (copy_text(word, text)) {
		for (char *at = text; *at != '\0'; at++) {
			if (*at >= 'A' && *at <= 'Z')
				*at = (char)(*at - 'A' + 'a');
		}
		*algorithm = sluice_algorithm_parse(text);
		if (*algorithm != 0)
			return 0;
	}
	return why_set(why, "algorithm must be sliding-log, sliding-counter, fixed-window or token-bucket, not %s",
	               word_quote(word, quoted));
}

static int read_window(const struct word *word, uint64_t *window_us, struct why *why)
{
	char text[TEXT_MAX], quoted[WHY_QUOTED_MAX];
	struct why reason;

	if (!copy_text(word, text))
		return why_set(why, "window must be a duration such as 500ms, 60s or 1d, not %s",
		               word_quote(word, quoted));
	if (value_duration(text, window_us, &reason) != 0)
		return why_set(why, "window: %s", reason.text);
	return 0;
}

/* @return 1: an option, read; 0: not an option that is allowed; -1. */
static int read_option(struct arguments *out, unsigned allowed, const struct word *words, size_t n, size_t *used,
                       struct why *why)
{
	static const struct {
		const char *name;
		enum argument_option option;
		bool number;
	} options[] = {
		{ "COST", ARGUMENT_COST, true },
		{ "PEEK", ARGUMENT_PEEK, false },
		{ "WITHTIME", ARGUMENT_WITHTIME, false },
		{ "AT", ARGUMENT_AT, true },
	};

	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
		uint64_t number = 0;

		if ((allowed & options[i].option) == 0 || !word_is(&words[0], options[i].name))
			continue;
		if ((out->given & options[i].option) != 0)
			return why_set(why, "%s comes twice", options[i].name);
		if (options[i].number && n < 2)
			return why_set(why, "%s needs a number", options[i].name);
		if (options[i].option == ARGUMENT_COST) {
			if (word_number(&words[1], "COST", 1, UINT32_MAX, &number, why) != 0)
				return -1;
			out->cost = (uint32_t)number;
		} else if (options[i].option == ARGUMENT_AT) {
			if (word_number(&words[1], "AT", 0, SLUICE_TIME_MAX_US, &out->at_us, why) != 0)
				return -1;
		}
		out->given |= options[i].option;
		*used += options[i].number ? 2 : 1;
		return 1;
	}
	return 0;
}

/* Remembered words stand one after the other, each after its length. @return whether they are these. */
static bool remembers(const struct arguments_memo *memo, const struct word *words, size_t n)
{
	size_t at = 0;

	for (size_t i = 0; i < n; i++) {
		if (memo->len - at < words[i].len + 1 || (unsigned char)memo->words[at] != words[i].len ||
		    memcmp(memo->words + at + 1, words[i].at, words[i].len) != 0)
			return false;
		at += words[i].len + 1;
	}
	return at == memo->len;
}

/* Words that are too long are not remembered. */
static void remember(struct arguments_memo *memo, const struct word *words, size_t n,
                     const struct sluice_policy *policy)
{
	size_t len = 0;

	memo->len = 0;
	for (size_t i = 0; i < n; i++) {
		if (words[i].len + 1 > sizeof memo->words - len)
			return;
		memo->words[len++] = (char)words[i].len;
		memcpy(memo->words + len, words[i].at, words[i].len);
		len += words[i].len;
	}
	memo->len = len;
	memo->policy = *policy;
}

/* @param burst  its word, or NULL. */
static int read_policy(struct arguments *out, const struct word *words, const struct word *burst, struct why *why)
{
	enum sluice_algorithm algorithm = 0;
	uint64_t limit, window_us, units = 0;
	const char *reason = NULL;

	if (read_algorithm(&words[0], &algorithm, why) != 0 ||
	    word_number(&words[1], "limit", 1, SLUICE_LIMIT_MAX, &limit, why) != 0 ||
	    read_window(&words[2], &window_us, why) != 0)
		return -1;
	if (burst != NULL && word_number(burst, "BURST", 1, SLUICE_LIMIT_MAX, &units, why) != 0)
		return -1;
	if (burst != NULL && algorithm != SLUICE_TOKEN_BUCKET)
		return why_set(why, "BURST is for a token-bucket only");
	if (sluice_policy_init(&out->policy, algorithm, (uint32_t)limit, window_us, (uint32_t)units, &reason) != 0)
		return why_set(why, "%s", reason);
	return 0;
}

static int recall_policy(struct arguments *out, struct arguments_memo *memo, const struct word *words,
                         const struct word *burst, struct why *why)
{
	if (memo == NULL || burst != NULL)
		return read_policy(out, words, burst, why);
	if (remembers(memo, words, POLICY_WORDS)) {
		out->policy = memo->policy;
		return 0;
	}
	if (read_policy(out, words, burst, why) != 0)
		return -1;
	remember(memo, words, POLICY_WORDS, &out->policy);
	return 0;
}

int arguments_read(struct arguments *out, struct arguments_memo *memo, unsigned allowed, const struct word *words,
                   size_t n, size_t *used, struct why *why)
{
	const struct word *burst = NULL;
	enum sluice_algorithm algorithm;
	int found = 1;

	/* Too few are often one word too many, after the last policy: then that word is what to name. */
	if (n > 0 && n < POLICY_WORDS && read_algorithm(&words[0], &algorithm, why) != 0)
		return -1;
	if (n < POLICY_WORDS)
		return why_set(why, "a policy is algorithm, limit and window: %s is missing",
		               n == 0   ? "algorithm"
		               : n == 1 ? "limit"
		                        : "window");
	out->cost = 1;
	out->given = 0;
	out->at_us = 0;
	*used = 3;
	while (found == 1 && *used < n) {
		if (word_is(&words[*used], "BURST")) {
			if (burst != NULL)
				return why_set(why, "BURST comes twice");
			if (n - *used < 2)
				return why_set(why, "BURST needs a number");
			burst = &words[*used + 1];
			*used += 2;
		} else {
			found = read_option(out, allowed, words + *used, n - *used, used, why);
		}
	}
	return found < 0 ? -1 : recall_policy(out, memo, words, burst, why);
}

int arguments_read_all(struct arguments *out, struct arguments_memo *memo, unsigned allowed, const struct word *words,
                       size_t n, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	size_t used;

	if (arguments_read(out, memo, allowed, words, n, &used, why) != 0)
		return -1;
	if (used < n)
		return why_set(why, "%s is no option of this command", word_quote(&words[used], quoted));
	return 0;
}
