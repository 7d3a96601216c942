/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_state.c: arbitrary bytes as a state, under arbitrary policies and times.
 *
 * A state comes from a server that others write to, so any bytes may stand in it. Input:
 *
 *   0     algorithm
 *   1-3   limit, of which the top four bits say how far the whole is shifted down
 *   4-11  window, us
 *   12-15 burst
 *   16-23 now, us
 *   24-27 cost
 *   28-   a program; its first byte says how many bytes it has, and each of the others with its low bits
 *         picks peek, refund, move, or a take into a state that was moved, made compact or lengthened for
 *         it, and with its high bits how time goes on
 *   rest  the state
 *
 * Whatever comes, nothing may crash, a malformed state stays malformed for everyone, a denied take
 * changes no byte, and what room() asked for suffices.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "sluice/limiter.h"

enum { STATE_MOST = 1 << 20 };

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

struct input {
	const uint8_t *bytes;
	size_t left;
};

static uint64_t next(struct input *input, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes && input->left > 0; i++, input->bytes++, input->left--)
		value |= (uint64_t)*input->bytes << 8 * i;
	return value;
}

/* A state in a block of its own, so that a sanitizer sees the first byte past it. */
struct subject {
	uint8_t *state;
	size_t len;
	struct sluice_policy policy;
	uint64_t now_us;
	uint32_t cost;
	uint64_t taken_at_us;
};

static uint8_t *copy_of(const struct subject *subject)
{
	uint8_t *copy = malloc(subject->len + 1);

	MUST(copy != NULL);
	if (subject->len > 0)
		memcpy(copy, subject->state, subject->len);
	return copy;
}

static uint64_t number(const uint8_t *at, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)at[i] << 8 * i;
	return value;
}

/* Whether a state that is well-formed is also one that could have come about: the ring of a sliding-log in
 * the order of time. That takes reading all of it, so the limiter does not know. */
static bool orderly(const struct subject *subject)
{
	const uint8_t *state = subject->state;
	uint64_t tick_us, newest_tick;
	uint32_t head, count, capacity, last_age = UINT32_MAX;

	if (subject->policy.algorithm != SLUICE_SLIDING_LOG || subject->len < 24 || state[1] != SLUICE_SLIDING_LOG)
		return true;
	tick_us = number(state + 2, 2);
	if (tick_us != subject->policy.tick_us)
		return true;
	newest_tick = (number(state + 4, 8) + tick_us - 1) / tick_us;
	head = (uint32_t)number(state + 12, 4);
	count = (uint32_t)number(state + 16, 4);
	capacity = (uint32_t)number(state + 20, 4);
	if (count >> 31 != 0) /* the newest is not stored: its age is 0 */
		count = (count & INT32_MAX) - 1;
	for (uint32_t i = 0; i < count; i++) {
		uint32_t age = (uint32_t)newest_tick - (uint32_t)number(state + 24 + 4 * ((head + i) % capacity), 4);

		if (age > last_age)
			return false;
		last_age = age;
	}
	return true;
}

static bool same(const struct sluice_decision *a, const struct sluice_decision *b)
{
	return a->allowed == b->allowed && a->limit == b->limit && a->remaining == b->remaining &&
	       a->retry_after_us == b->retry_after_us && a->reset_after_us == b->reset_after_us && a->at_us == b->at_us;
}

static void check_decision(const struct subject *subject, uint32_t cost, const struct sluice_decision *decision)
{
	uint32_t most =
		subject->policy.algorithm == SLUICE_TOKEN_BUCKET ? subject->policy.burst : subject->policy.limit;

	MUST(decision->limit == most);
	MUST(decision->remaining <= most);
	MUST(decision->allowed == (decision->retry_after_us == 0));
	MUST((decision->retry_after_us == SLUICE_NEVER) == (cost > most));
	MUST(decision->at_us <= SLUICE_TIME_MAX_US);
	MUST(subject->now_us >= SLUICE_TIME_MAX_US || decision->at_us >= subject->now_us);
	MUST(decision->remaining == most || decision->reset_after_us > 0);
	/* A state may have been written under the longest window, or owe as much as a state can say. */
	MUST(decision->reset_after_us <= 2 * (UINT64_C(1) << 53));
}

/* How a caller makes room. */
enum room { LENGTHENED, MOVED, COMPACT /* moved to the length that spares the last entry's bytes */ };

/* Room of each kind, then a take. */
static void take(struct subject *subject, enum room way)
{
	struct sluice_decision decision, peeked;
	size_t room = sluice_state_room(subject->state, subject->len, &subject->policy, subject->now_us, subject->cost);
	size_t most = sluice_state_max(&subject->policy);
	int result =
		sluice_peek(subject->state, subject->len, &subject->policy, subject->now_us, subject->cost, &peeked);
	bool ordered = result == SLUICE_OK && orderly(subject), by_move = way != LENGTHENED;
	size_t compact = sluice_state_compact(&subject->policy);
	uint8_t *before;

	MUST(result == SLUICE_OK || result == SLUICE_EFORMAT);
	MUST(compact <= most && (compact > 0 || subject->policy.limit > 16));
	MUST(room >= subject->len && (room == subject->len || room <= most));
	if (room > STATE_MOST)
		return;
	if (room > subject->len && (by_move || subject->len == 0)) {
		uint8_t *moved;

		if (way == COMPACT && compact > 0)
			room = compact;
		moved = malloc(room);
		MUST(moved != NULL);
		MUST(sluice_state_move(moved, room, subject->state, subject->len, &subject->policy) == result);
		free(subject->state);
		subject->state = moved;
		subject->len = room;
		result = SLUICE_OK;
	} else if (room > subject->len && result == SLUICE_OK) {
		subject->state = realloc(subject->state, room);
		MUST(subject->state != NULL);
		memset(subject->state + subject->len, 0x5a, room - subject->len);
		subject->len = room;
	}
	before = copy_of(subject);
	MUST(sluice_take(subject->state, subject->len, &subject->policy, subject->now_us, subject->cost, &decision) ==
	     result);
	if (result != SLUICE_OK || !decision.allowed)
		MUST(memcmp(before, subject->state, subject->len) == 0);
	free(before);
	if (result != SLUICE_OK)
		return;
	check_decision(subject, subject->cost, &decision);
	MUST(by_move || decision.allowed == peeked.allowed);
	if (decision.allowed && ordered) {
		MUST(orderly(subject));
		MUST(decision.reset_after_us > 0);
		subject->taken_at_us = decision.at_us;
		MUST(sluice_peek(subject->state, subject->len, &subject->policy, subject->now_us, 1, &peeked) ==
		     SLUICE_OK);
		MUST(peeked.remaining == decision.remaining);
		MUST(peeked.reset_after_us == decision.reset_after_us);
	}
}

static void peek(struct subject *subject)
{
	struct sluice_decision decision;
	uint8_t *before = copy_of(subject);

	if (sluice_peek(subject->state, subject->len, &subject->policy, subject->now_us, subject->cost, &decision) ==
	    SLUICE_OK)
		check_decision(subject, subject->cost, &decision);
	MUST(subject->len == 0 || memcmp(before, subject->state, subject->len) == 0);
	free(before);
}

static void refund(struct subject *subject)
{
	struct sluice_decision before, after;
	int result = sluice_peek(subject->state, subject->len, &subject->policy, subject->now_us, 1, &before);
	bool ordered = result == SLUICE_OK && orderly(subject);

	MUST(sluice_refund(subject->state, subject->len, &subject->policy, subject->now_us, subject->cost,
	                   subject->taken_at_us, &after) == result);
	if (result != SLUICE_OK)
		return;
	check_decision(subject, 1, &after);
	if (ordered)
		MUST(orderly(subject) && after.remaining >= before.remaining &&
		     after.remaining - before.remaining <= subject->cost);
}

static void move(struct subject *subject)
{
	struct sluice_decision before, after;
	size_t most = sluice_state_max(&subject->policy);
	int result =
		sluice_peek(subject->state, subject->len, &subject->policy, subject->now_us, subject->cost, &before);
	uint8_t *moved;

	if (most > STATE_MOST)
		return;
	moved = malloc(most);
	MUST(moved != NULL);
	MUST(sluice_state_move(moved, most, subject->state, subject->len, &subject->policy) == result);
	MUST(sluice_peek(moved, most, &subject->policy, subject->now_us, subject->cost, &after) == SLUICE_OK);
	if (result == SLUICE_OK && orderly(subject))
		MUST(same(&before, &after));
	free(subject->state);
	subject->state = moved;
	subject->len = most;
}

static void step(struct subject *subject, uint8_t code)
{
	static const uint32_t parts[] = { 0, 1, 8, 64 };
	uint64_t passed_us = subject->policy.window_us / 32 * parts[code >> 6 & 3];

	if (code & 0x20)
		subject->now_us -= passed_us < subject->now_us ? passed_us : subject->now_us;
	else
		subject->now_us += passed_us < UINT64_MAX - subject->now_us ? passed_us : 0;
	switch (code & 7) {
	case 0:
		peek(subject);
		break;
	case 1:
		refund(subject);
		break;
	case 2:
		move(subject);
		break;
	case 3:
		take(subject, MOVED);
		break;
	case 4:
		take(subject, COMPACT);
		break;
	default:
		take(subject, LENGTHENED);
		break;
	}
}

static bool policy_from(struct sluice_policy *policy, struct input *input)
{
	enum sluice_algorithm algorithm = (enum sluice_algorithm)(next(input, 1) % 5);
	uint32_t limit = (uint32_t)next(input, 3);
	uint64_t window_us = next(input, 8);
	uint32_t burst = (uint32_t)next(input, 4);
	const char *why = NULL;

	limit >>= limit >> 20; /* mostly small ones: the rings of the largest are too large to play with */
	if (algorithm != SLUICE_TOKEN_BUCKET)
		burst = 0;
	if (sluice_policy_init(policy, algorithm, limit, window_us, burst, &why) == SLUICE_OK)
		return true;
	MUST(why != NULL && why[0] != '\0');
	MUST(sluice_state_max(policy) == 0);
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = { data, size };
	struct subject subject = { 0 };
	uint8_t program[16];
	size_t steps;

	if (!policy_from(&subject.policy, &input))
		return 0;
	subject.now_us = next(&input, 8);
	subject.cost = (uint32_t)next(&input, 4);
	subject.cost = subject.cost == 0 ? 1 : subject.cost;
	steps = next(&input, 1) % sizeof program;
	for (size_t i = 0; i < steps; i++)
		program[i] = (uint8_t)next(&input, 1);
	subject.len = input.left;
	subject.state = malloc(subject.len > 0 ? subject.len : 1);
	MUST(subject.state != NULL);
	if (subject.len > 0)
		memcpy(subject.state, input.bytes, subject.len);
	for (size_t i = 0; i < steps; i++)
		step(&subject, program[i]);
	free(subject.state);
	return 0;
}
