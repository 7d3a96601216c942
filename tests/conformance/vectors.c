/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vectors.c: replays a file of hand-computed decisions; vectors.txt describes the format.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conformance.h"

enum { NAME_LEN = 32, POLICIES_MAX = 64, KEYS_MAX = 64, WORDS_MAX = 12, LINE_LEN = 256 };

struct vectors {
	struct backend *backend;
	const char *path;
	unsigned line;
	uint64_t base_us;
	struct {
		char name[NAME_LEN];
		struct sluice_policy policy;
	} policies[POLICIES_MAX];
	unsigned policies_count;
	char keys[KEYS_MAX][NAME_LEN]; /* named so far */
	unsigned keys_count;
	char *words[WORDS_MAX];
	unsigned words_count;
	int wrong;
	bool bad; /* the file is not understood */
};

__attribute__((format(printf, 2, 3))) static void bad(struct vectors *vectors, const char *format, ...)
{
	va_list arguments;

	vectors->bad = true;
	fprintf(stderr, "%s:%u: ", vectors->path, vectors->line);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
}

static uint64_t unit_us(const char *unit, size_t len)
{
	static const struct {
		const char *name;
		uint64_t us;
	} units[] = {
		{ "us", 1 },
		{ "ms", 1000 },
		{ "s", 1000000 },
		{ "m", UINT64_C(60000000) },
		{ "h", UINT64_C(3600000000) },
		{ "d", UINT64_C(86400000000) },
	};

	for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
		if (strlen(units[i].name) == len && strncmp(units[i].name, unit, len) == 0)
			return units[i].us;
	}
	return 0;
}

/* A sum such as 1h+2us. */
static uint64_t duration(struct vectors *vectors, const char *text)
{
	const char *at = text;
	uint64_t sum_us = 0;
	int sign = 1;

	if (strcmp(text, "0") == 0)
		return 0;
	for (;;) {
		char *unit;
		uint64_t number = strtoull(at, &unit, 10);
		size_t len = strspn(unit, "usmhd");
		uint64_t scale = unit_us(unit, len);

		if (unit == at || scale == 0) {
			bad(vectors, "'%s' is not a duration", text);
			return 0;
		}
		sum_us += number * scale * (uint64_t)sign;
		at = unit + len;
		if (*at == '\0')
			return sum_us;
		sign = *at++ == '-' ? -1 : 1;
	}
}

static uint32_t number(struct vectors *vectors, const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (end == text || *end != '\0' || value > UINT32_MAX)
		bad(vectors, "'%s' is not a number", text);
	return (uint32_t)value;
}

static void define_policy(struct vectors *vectors)
{
	char **words = vectors->words;
	const char *why = "";
	unsigned slot = vectors->policies_count;

	if (vectors->words_count < 5 || vectors->words_count > 6 || slot == POLICIES_MAX ||
	    strlen(words[1]) >= NAME_LEN) {
		bad(vectors, "policy NAME ALGORITHM LIMIT WINDOW [BURST]");
		return;
	}
	strcpy(vectors->policies[slot].name, words[1]);
	if (sluice_policy_init(&vectors->policies[slot].policy, sluice_algorithm_parse(words[2]),
	                       number(vectors, words[3]), duration(vectors, words[4]),
	                       vectors->words_count > 5 ? number(vectors, words[5]) : 0, &why) != 0)
		bad(vectors, "%s", why);
	vectors->policies_count++;
}

static const struct sluice_policy *find_policy(struct vectors *vectors, const char *name)
{
	for (unsigned i = 0; i < vectors->policies_count; i++) {
		if (strcmp(vectors->policies[i].name, name) == 0)
			return &vectors->policies[i].policy;
	}
	bad(vectors, "no policy '%s' is defined above", name);
	return NULL;
}

/* Whatever the backend knows of a key from elsewhere is forgotten when it is first named. */
static void meet_key(struct vectors *vectors, const char *key)
{
	for (unsigned i = 0; i < vectors->keys_count; i++) {
		if (strcmp(vectors->keys[i], key) == 0)
			return;
	}
	if (vectors->keys_count == KEYS_MAX || strlen(key) >= NAME_LEN) {
		bad(vectors, "too many keys, or too long a one");
		return;
	}
	strcpy(vectors->keys[vectors->keys_count++], key);
	if (vectors->backend->reset(vectors->backend, key) != 0)
		bad(vectors, "reset failed");
}

static void compare(struct vectors *vectors, const struct sluice_decision *want, const struct sluice_decision *got)
{
	const struct sluice_decision *both[] = { want, got };

	if (want->allowed == got->allowed && want->remaining == got->remaining &&
	    want->retry_after_us == got->retry_after_us && want->reset_after_us == got->reset_after_us &&
	    want->at_us == got->at_us && want->limit == got->limit)
		return;
	vectors->wrong++;
	fprintf(stderr, "%s:%u: %s, base %llu us\n", vectors->path, vectors->line, vectors->backend->name,
	        (unsigned long long)vectors->base_us);
	for (int i = 0; i < 2; i++)
		fprintf(stderr, "  %s %-7s remaining %u, retry %lld us, reset %lld us, at %llu us, limit %u\n",
		        i == 0 ? "want" : "got ", both[i]->allowed ? "allowed" : "denied", both[i]->remaining,
		        (long long)both[i]->retry_after_us, (long long)both[i]->reset_after_us,
		        (unsigned long long)(both[i]->at_us - vectors->base_us), both[i]->limit);
}

/* The words from `->` on. */
static void read_answer(struct vectors *vectors, char **words, unsigned count, struct sluice_decision *want)
{
	if ((count != 5 && count != 7) || strcmp(words[0], "->") != 0 || (count == 7 && strcmp(words[5], "at") != 0) ||
	    (strcmp(words[1], "allowed") != 0 && strcmp(words[1], "denied") != 0)) {
		bad(vectors, "expected -> allowed|denied REMAINING RETRY RESET [at TIME]");
		return;
	}
	want->allowed = strcmp(words[1], "allowed") == 0;
	want->remaining = number(vectors, words[2]);
	want->retry_after_us = strcmp(words[3], "never") == 0 ? SLUICE_NEVER : duration(vectors, words[3]);
	want->reset_after_us = duration(vectors, words[4]);
	if (count == 7)
		want->at_us = vectors->base_us + duration(vectors, words[6]);
}

static void ask(struct vectors *vectors)
{
	struct backend *backend = vectors->backend;
	char **words = vectors->words;
	bool refund = vectors->words_count > 2 && strcmp(words[1], "refund") == 0;
	unsigned arrow = refund ? 6 : 5;
	const struct sluice_policy *policy;
	struct sluice_decision want = { 0 }, got;
	uint64_t now_us, given_us;
	uint32_t cost;
	int result;

	if (vectors->words_count <= arrow) {
		bad(vectors, "expected TIME take|peek|refund POLICY KEY COST [TIME] -> ...");
		return;
	}
	now_us = vectors->base_us + duration(vectors, words[0]);
	want.at_us = now_us;
	read_answer(vectors, words + arrow, vectors->words_count - arrow, &want);
	policy = find_policy(vectors, words[2]);
	cost = number(vectors, words[4]);
	given_us = refund ? vectors->base_us + duration(vectors, words[5]) : 0;
	meet_key(vectors, words[3]);
	if (vectors->bad)
		return;
	want.limit = policy->burst;
	if (refund)
		result = backend->refund(backend, policy, words[3], now_us, cost, given_us, &got);
	else if (strcmp(words[1], "take") == 0)
		result = backend->take(backend, policy, words[3], now_us, cost, &got);
	else if (strcmp(words[1], "peek") == 0)
		result = backend->peek(backend, policy, words[3], now_us, cost, &got);
	else
		result = -1;
	if (result != 0)
		bad(vectors, "%s failed: %d", words[1], result);
	else
		compare(vectors, &want, &got);
}

static void read_line(struct vectors *vectors, char *line)
{
	char *rest = NULL;

	line[strcspn(line, "#\n")] = '\0';
	vectors->words_count = 0;
	for (char *word = strtok_r(line, " \t", &rest); word != NULL; word = strtok_r(NULL, " \t", &rest)) {
		if (vectors->words_count == WORDS_MAX) {
			bad(vectors, "too many words");
			return;
		}
		vectors->words[vectors->words_count++] = word;
	}
	if (vectors->words_count == 0)
		return;
	if (strcmp(vectors->words[0], "policy") == 0)
		define_policy(vectors);
	else if (strcmp(vectors->words[0], "reset") != 0)
		ask(vectors);
	else if (vectors->words_count != 2 || vectors->backend->reset(vectors->backend, vectors->words[1]) != 0)
		bad(vectors, "reset KEY, or it failed");
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
	return b == 0 ? a : gcd(b, a % b);
}

/* Reads the file once for its policies, so that the base can be made to fit them. */
static bool find_base(struct vectors *vectors, FILE *file)
{
	char line[LINE_LEN];
	uint64_t multiple = 1;

	while (!vectors->bad && fgets(line, sizeof line, file) != NULL) {
		vectors->line++;
		if (strncmp(line, "policy ", 7) == 0)
			read_line(vectors, line);
	}
	for (unsigned i = 0; i < vectors->policies_count; i++) {
		uint64_t tick_us = vectors->policies[i].policy.tick_us;

		if (tick_us > 1)
			multiple = multiple / gcd(multiple, tick_us) * tick_us;
	}
	vectors->base_us -= vectors->base_us % multiple;
	vectors->policies_count = 0;
	vectors->line = 0;
	rewind(file);
	return !vectors->bad;
}

int vectors_replay(struct backend *backend, const char *path, uint64_t base_us)
{
	static const struct vectors none;
	struct vectors vectors = none;
	char line[LINE_LEN];
	unsigned asked = 0;
	FILE *file = fopen(path, "r");

	if (file == NULL) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return -1;
	}
	vectors.backend = backend;
	vectors.path = path;
	vectors.base_us = base_us;
	find_base(&vectors, file);
	while (!vectors.bad && fgets(line, sizeof line, file) != NULL) {
		vectors.line++;
		if (strlen(line) == sizeof line - 1)
			bad(&vectors, "the line is too long");
		else
			read_line(&vectors, line);
		asked += vectors.words_count > 2 && strcmp(vectors.words[0], "policy") != 0;
	}
	fclose(file);
	if (asked == 0 && !vectors.bad)
		bad(&vectors, "nothing is asked in this file");
	printf("%s: %u vectors from %llu us, %d wrong\n", backend->name, asked, (unsigned long long)vectors.base_us,
	       vectors.wrong);
	return vectors.bad ? -1 : vectors.wrong;
}
