/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter.c: passes lines of standard input on, so many per first word and time.
 *
 *   limiter LIMIT SECONDS [ALGORITHM] <in >out
 *
 * As a log that one noisy client shall not fill: each line begins with who wrote it, and at most LIMIT
 * lines of each pass in SECONDS seconds. How many were held back is said at the end.
 *
 * It shows the whole use of sluice-core: a policy, one state a key in memory of one's own, a clock of
 * one's own. Build it with `cc limiter.c $(pkg-config --cflags --libs sluice-core)`.
 */
#define _POSIX_C_SOURCE 200809L /* clock_gettime(), getline(), also under -std=c11 */

#include <sluice/limiter.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUCKETS 1024

struct client {
	struct client *next;
	void *state;
	size_t len;
	uint64_t empty_at_us; /* when its state is worth no more than none */
	size_t word_len;
	char word[];
};

static uint64_t now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void die(const char *why)
{
	fprintf(stderr, "limiter: %s\n", why);
	exit(1);
}

/* FNV-1a. Where words come from strangers, take a keyed hash. */
static size_t bucket_of(const char *word, size_t len)
{
	uint32_t hash = 2166136261u;

	while (len-- > 0)
		hash = (hash ^ (unsigned char)*word++) * 16777619u;
	return hash % BUCKETS;
}

/* Finds a client or makes one, and drops on the way those whose state has become empty. */
static struct client *client_of(struct client **clients, const char *word, size_t len, uint64_t at_us)
{
	struct client **link = &clients[bucket_of(word, len)];
	struct client *client;

	while ((client = *link) != NULL) {
		if (client->word_len == len && memcmp(client->word, word, len) == 0)
			return client;
		if (client->empty_at_us <= at_us) {
			*link = client->next;
			free(client->state);
			free(client);
		} else {
			link = &client->next;
		}
	}
	client = calloc(1, sizeof *client + len + 1);
	if (client == NULL)
		die("out of memory");
	memcpy(client->word, word, len);
	client->word_len = len;
	*link = client;
	return client;
}

/* A state begins as nothing and is enlarged when a take needs it. */
static void make_room(struct client *client, const struct sluice_policy *policy, uint64_t at_us)
{
	size_t room = sluice_state_room(client->state, client->len, policy, at_us, 1);
	void *state;

	if (room == client->len)
		return;
	state = malloc(room);
	if (state == NULL || sluice_state_move(state, room, client->state, client->len, policy) != SLUICE_OK)
		die("out of memory");
	free(client->state);
	client->state = state;
	client->len = room;
}

static bool may_pass(struct client **clients, const struct sluice_policy *policy, const char *line)
{
	size_t len = strcspn(line, " \t\n");
	uint64_t at_us = now_us();
	struct client *client = client_of(clients, line, len, at_us);
	struct sluice_decision decision;

	make_room(client, policy, at_us);
	if (sluice_take(client->state, client->len, policy, at_us, 1, &decision) != SLUICE_OK)
		die("a state was overwritten");
	client->empty_at_us = at_us + decision.reset_after_us;
	return decision.allowed;
}

/* 0, which no policy accepts, for what is no number from 1 to most. */
static uint64_t number(const char *text, uint64_t most)
{
	char *end;
	unsigned long long value = strtoull(text, &end, 10);

	return *end == '\0' && value <= most ? value : 0;
}

int main(int argc, char **argv)
{
	static struct client *clients[BUCKETS];
	struct sluice_policy policy;
	const char *why;
	unsigned long passed = 0, held = 0;
	char *line = NULL;
	size_t size = 0;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: limiter LIMIT SECONDS [ALGORITHM]\n");
		return 2;
	}
	if (sluice_policy_init(&policy, sluice_algorithm_parse(argc > 3 ? argv[3] : "sliding-log"),
	                       (uint32_t)number(argv[1], SLUICE_LIMIT_MAX),
	                       number(argv[2], SLUICE_WINDOW_MAX_US / 1000000) * 1000000, 0, &why) != SLUICE_OK) {
		fprintf(stderr, "limiter: %s\n", why);
		return 2;
	}
	while (getline(&line, &size, stdin) >= 0) {
		if (may_pass(clients, &policy, line)) {
			fputs(line, stdout);
			passed++;
		} else {
			held++;
		}
	}
	free(line);
	fprintf(stderr, "%lu passed, %lu held back\n", passed, held);
	return ferror(stdin) || fflush(stdout) != 0;
}
