/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/state_text.h"

#include <inttypes.h>

#include "core/state.h"

#define ENTRIES_SHOWN 20u

/* Offsets, as documented in sluice/limiter.h; those of a sliding-log are core/state.h's. */
enum {
	TICK = 2,
	COUNTER_NOW = 12,
	COUNTER_BEFORE = 16,
	COUNTER_START = 20,
	COUNTER_LEN = 28,
	WINDOW_COUNT = 12,
	WINDOW_START = 16,
	BUCKET_DRAIN = 12,
	BUCKET_DEBT = 16,
	OTHERS_LEN = 24,
};

struct view {
	FILE *out;
	const uint8_t *state;
	size_t len;
	uint64_t now_us, newest_us;
};

static void line(const struct view *view, const char *name)
{
	fprintf(view->out, "%-12s", name);
}

/* In seconds, as far as the figure means something. */
static void print_wait(FILE *out, uint64_t wait_us)
{
	fprintf(out, "%" PRIu64 ".%03" PRIu64 " s", wait_us / 1000000, wait_us / 1000 % 1000);
}

static void print_moment(const struct view *view, uint64_t at_us)
{
	if (at_us > view->now_us) {
		fprintf(view->out, "in ");
		print_wait(view->out, at_us - view->now_us);
	} else {
		print_wait(view->out, view->now_us - at_us);
		fprintf(view->out, " ago");
	}
}

#define LEFT_OUT (UINT32_C(1) << LOG_LEFT_OUT)

/* Entries are ticks modulo 2^32, at most one window older than the newest, which may not be stored. */
static uint64_t entry_us(const struct view *view, uint32_t index, uint32_t capacity)
{
	uint32_t tick_us = (uint32_t)view->state[TICK] | (uint32_t)view->state[TICK + 1] << 8;
	uint32_t place = (uint32_t)(((uint64_t)load32(view->state + LOG_HEAD) + index) % capacity);
	uint64_t newest_tick = div_ceil(view->newest_us, tick_us);
	uint32_t count = load32(view->state + LOG_COUNT), age = 0;

	if ((count & LEFT_OUT) == 0 || index + 1 < (count & ~LEFT_OUT))
		age = (uint32_t)newest_tick - load32(view->state + LOG_RING + (size_t)place * 4);
	return newest_tick > age ? (newest_tick - age) * tick_us : 0;
}

static int check_log(const struct view *view)
{
	uint64_t head, count, stored, capacity, slots;

	if (view->len < LOG_RING)
		return -1;
	head = load32(view->state + LOG_HEAD);
	count = load32(view->state + LOG_COUNT) & ~LEFT_OUT;
	stored = count - (load32(view->state + LOG_COUNT) >> LOG_LEFT_OUT);
	capacity = load32(view->state + LOG_CAPACITY);
	slots = (view->len - LOG_RING) / 4;
	if (capacity == 0 || head >= capacity || count > capacity || stored > count)
		return -1;
	/* In a string that is shorter than the ring what is stored lies in one piece, within it. */
	return slots >= capacity || head + stored <= slots ? 0 : -1;
}

static void print_log(const struct view *view)
{
	uint32_t count = load32(view->state + LOG_COUNT) & ~LEFT_OUT, capacity = load32(view->state + LOG_CAPACITY);
	uint32_t first = count > ENTRIES_SHOWN ? count - ENTRIES_SHOWN : 0;

	line(view, "entries");
	fprintf(view->out, "%" PRIu32 ", room for %" PRIu32 "\n", count, capacity);
	for (uint32_t i = count; i > first; i--) {
		line(view, i == count ? "admitted" : "");
		print_moment(view, entry_us(view, i - 1, capacity));
		fputc('\n', view->out);
	}
	if (first > 0)
		fprintf(view->out, "%-12sand %" PRIu32 " before, the first ", "", first);
	if (first > 0) {
		print_moment(view, entry_us(view, 0, capacity));
		fputc('\n', view->out);
	}
}

static void print_start(const struct view *view, const char *name, uint64_t start_us)
{
	line(view, name);
	print_moment(view, start_us);
	fputc('\n', view->out);
}

static void print_count(const struct view *view, const char *name, uint32_t count)
{
	line(view, name);
	fprintf(view->out, "%" PRIu32 "\n", count);
}

static void print_bucket(const struct view *view)
{
	uint64_t debt = load64(view->state + BUCKET_DEBT);
	uint32_t drain = load32(view->state + BUCKET_DRAIN);

	line(view, "debt");
	fprintf(view->out, "%" PRIu64 ", %" PRIu32 " are paid back each us: ", debt, drain);
	print_wait(view->out, drain > 0 ? div_ceil(debt, drain) : 0);
	fprintf(view->out, " from the newest take\n");
}

/* The part that the algorithms have each their own of. @return 0; -1 when the bytes can't be. */
static int print_body(const struct view *view, enum sluice_algorithm algorithm)
{
	switch (algorithm) {
	case SLUICE_SLIDING_LOG:
		print_log(view);
		return 0;
	case SLUICE_SLIDING_COUNTER:
		print_count(view, "this window", load32(view->state + COUNTER_NOW));
		print_count(view, "the last", load32(view->state + COUNTER_BEFORE));
		print_start(view, "began", load64(view->state + COUNTER_START));
		return 0;
	case SLUICE_FIXED_WINDOW:
		print_count(view, "this window", load32(view->state + WINDOW_COUNT));
		print_start(view, "began", load64(view->state + WINDOW_START));
		return 0;
	case SLUICE_TOKEN_BUCKET:
		print_bucket(view);
		return 0;
	}
	return -1;
}

static bool is_sound(const struct view *view)
{
	uint32_t tick = view->len >= STATE_BODY ? load32(view->state) >> 16 : 0;

	if (view->len < STATE_BODY || view->state[0] != SLUICE_STATE_FORMAT)
		return false;
	switch (view->state[1]) {
	case SLUICE_SLIDING_LOG:
		return tick != 0 && check_log(view) == 0;
	case SLUICE_SLIDING_COUNTER:
		return tick == 0 && view->len >= COUNTER_LEN;
	case SLUICE_FIXED_WINDOW:
	case SLUICE_TOKEN_BUCKET:
		return tick == 0 && view->len >= OTHERS_LEN;
	}
	return false;
}

static void print_verdict(const struct view *view, const struct config_limit *limit)
{
	struct sluice_decision decision;

	line(view, "a request");
	if (limit == NULL) {
		fprintf(view->out, "the configuration has no limit of this name, so what passes is not known\n");
		return;
	}
	if (sluice_peek(view->state, view->len, &limit->policy, view->now_us, 1, &decision) != SLUICE_OK) {
		fprintf(view->out, "would find a state that can't be understood\n");
		return;
	}
	if (decision.allowed) {
		fprintf(view->out, "passes; %" PRIu32 " of %" PRIu32 " are left, all again in ", decision.remaining,
		        decision.limit);
		print_wait(view->out, decision.reset_after_us);
	} else {
		fprintf(view->out, "is denied; the next passes in ");
		print_wait(view->out, decision.retry_after_us);
	}
	if (view->state[1] != (uint8_t)limit->policy.algorithm)
		fprintf(view->out, " (the limit is now %s, for which this state counts as none)",
		        sluice_algorithm_name(limit->policy.algorithm));
	fputc('\n', view->out);
}

int state_print(FILE *out, const void *state, size_t len, uint64_t now_us, const struct config_limit *limit)
{
	struct view view = { .out = out, .state = state, .len = len, .now_us = now_us };

	if (!is_sound(&view))
		return -1;
	view.newest_us = load64(view.state + STATE_NEWEST);
	line(&view, "algorithm");
	fprintf(out, "%s\n", sluice_algorithm_name(view.state[1]));
	print_start(&view, "newest take", view.newest_us);
	if (print_body(&view, view.state[1]) != 0)
		return -1;
	print_verdict(&view, limit);
	return 0;
}
