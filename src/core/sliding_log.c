/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sliding_log.c: the exact limit, a ring of the times of the units that were admitted.
 *
 * Time in the ring. An entry made at time t is the tick T = ceil(t / tick), of which the ring keeps
 * the low 32 bits. What is lost comes back from the newest time: with N = ceil(newest / tick) and
 * age = (N - T) modulo 2^32, T is N - age, because everything that was kept when the state was last
 * written was within one window, 2^31 ticks, of the newest. The entry counts until T * tick + window,
 * which is never before t + window and less than one tick after it; with a tick of 1 us (windows up to
 * 35 minutes) nothing is rounded.
 *
 * An entry counts while its age is below `live_age`, a number that depends on the time only, so the
 * search for the oldest that counts compares 32-bit numbers and divides nothing.
 *
 * The newest entry of a ring that was just written is known without being stored: its tick is that of the newest time.
 * A writer may leave it out and say so (LOG_LEFT_OUT); that spares a Redis string of ten entries 16 bytes of memory.
 * What is written here stores it, but in a compact state: one whose string ends one entry short of a small limit. Its
 * entries are laid from the front at every take, as they are few.
 *
 * The entries that count no longer are the oldest. They are dropped when a take is admitted, never by
 * a denied one. The ring may be smaller than the limit and grows by doubling (room); it may stand in
 * fewer bytes than its modulus asks for (a Redis string grows as it is written), and in more (a
 * caller that has lengthened the bytes in place), and take() copes with both.
 */
#include "core/state.h"

enum { LOG_START = 16 }; /* entries that a new ring has room for */

struct log {
	uint64_t newest_us;
	uint64_t newest_tick; /* all 64 bits of it */
	uint32_t head;
	uint32_t count;
	uint32_t capacity;
	uint32_t slots;    /* entries that the bytes of the state have room for */
	uint32_t left_out; /* 1: the newest entry is not stored */
	/* Only after log_look(). */
	struct moment moment;
	uint32_t live_age; /* an entry counts while its age in ticks is below this */
	uint32_t expired;  /* entries at the head that count no longer */
};

/* A compact state leaves the newest entry out when the ring is full. */
static inline bool is_compact(size_t len, const struct sluice_policy *policy)
{
	return policy->limit <= LOG_START && len == LOG_RING + (size_t)LOG_ENTRY * (policy->limit - 1);
}

static inline uint32_t min32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

static inline uint32_t slots_in(size_t len)
{
	size_t slots = len > LOG_RING ? (len - LOG_RING) / LOG_ENTRY : 0;

	return slots < SLUICE_LIMIT_MAX ? (uint32_t)slots : SLUICE_LIMIT_MAX;
}

static inline uint64_t tick_of(uint64_t time_us, uint32_t tick_us)
{
	/* The common tick spares the division. */
	return tick_us == 1 ? time_us : div_ceil(time_us, tick_us);
}

/* The index in the ring of the i-th entry from the oldest; i is at most the capacity. */
static inline uint32_t ring_index(const struct log *log, uint32_t i)
{
	uint32_t index = log->head + i;

	return index < log->capacity ? index : index - log->capacity;
}

static inline uint8_t *ring_at(uint8_t *state, const struct log *log, uint32_t i)
{
	return state + LOG_RING + (size_t)LOG_ENTRY * ring_index(log, i);
}

static inline uint32_t age_of(const uint8_t *state, const struct log *log, uint32_t i)
{
	if (i + log->left_out == log->count)
		return 0;
	return (uint32_t)log->newest_tick - load32(state + LOG_RING + (size_t)LOG_ENTRY * ring_index(log, i));
}

/* What is wrong with the body of a state, if anything. */
static inline bool log_sound(const struct log *log, size_t len)
{
	if (log->newest_us > SLUICE_TIME_MAX_US)
		return false;
	if (log->capacity == 0 || log->capacity > SLUICE_LIMIT_MAX)
		return false;
	if (log->head >= log->capacity || log->count > log->capacity || log->count < log->left_out)
		return false;
	/* In a string that is shorter than the ring the entries lie in one piece, within it. */
	return log->slots >= log->capacity ||
	       (log->head + log->count - log->left_out <= log->slots && len % LOG_ENTRY == 0);
}

/* @return STATE_OURS, STATE_EMPTY (`log` is then that of an empty state in `len` bytes) or SLUICE_EFORMAT. */
static inline int log_read(struct log *log, const uint8_t *state, size_t len, const struct sluice_policy *policy)
{
	int kind = state_kind(state, len, policy);

	log->slots = slots_in(len);
	if (kind != STATE_OURS) {
		log->newest_us = 0;
		log->newest_tick = 0;
		log->head = 0;
		log->count = 0;
		log->left_out = 0;
		log->capacity = min32(log->slots, policy->limit);
		return kind;
	}
	if (len < LOG_RING)
		return SLUICE_EFORMAT;
	log->newest_us = load64(state + STATE_NEWEST);
	log->head = load32(state + LOG_HEAD);
	log->count = load32(state + LOG_COUNT);
	log->left_out = log->count >> LOG_LEFT_OUT;
	log->count &= ~(UINT32_C(1) << LOG_LEFT_OUT);
	log->capacity = load32(state + LOG_CAPACITY);
	if (!log_sound(log, len))
		return SLUICE_EFORMAT;
	log->newest_tick = tick_of(log->newest_us, policy->tick_us);
	return STATE_OURS;
}

/*
 * The first entry whose age is below a bound, or count. Ages fall from the oldest to the newest. Most
 * often the answer is one of the first few entries or none of them, so the steps from the head double
 * until they are past it.
 */
static uint32_t first_younger(const uint8_t *state, const struct log *log, uint32_t bound)
{
	uint32_t low = 0; /* known to be too old */
	uint32_t high;
	uint32_t step = 1;

	if (log->count == 0 || age_of(state, log, 0) < bound)
		return 0;
	high = log->count - 1;
	if (age_of(state, log, high) >= bound)
		return log->count;
	while (step < high - low) {
		if (age_of(state, log, low + step) < bound) {
			high = low + step;
			break;
		}
		low += step;
		step *= 2;
	}
	while (high - low > 1) {
		uint32_t middle = low + (high - low) / 2;

		if (age_of(state, log, middle) < bound)
			high = middle;
		else
			low = middle;
	}
	return high;
}

/* What counts at a time. An age a is past when (newest_tick - a) * tick + window <= at. */
static inline void log_look(struct log *log, const uint8_t *state, const struct sluice_policy *policy, uint64_t now_us)
{
	uint64_t newest_ends_us = log->newest_tick * policy->tick_us + policy->window_us;

	log->moment = moment_of(now_us, log->newest_us);
	log->live_age = 0;
	if (newest_ends_us > log->moment.at_us)
		log->live_age = (uint32_t)tick_of(newest_ends_us - log->moment.at_us, policy->tick_us);
	log->expired = first_younger(state, log, log->live_age);
}

/* The wait until the i-th entry, which counts, counts no longer. */
static inline uint64_t wait_for(const uint8_t *state, const struct log *log, const struct sluice_policy *policy,
                                uint32_t i)
{
	uint64_t newest_ends_us = log->newest_tick * policy->tick_us + policy->window_us;
	uint64_t past_us = log->moment.now_us + (uint64_t)age_of(state, log, i) * policy->tick_us;

	/* Never 0 for a sound ring. A ring that is out of order can't be told from a sound one without reading
	 * all of it; it gets an answer of the right kind. */
	return newest_ends_us > past_us ? newest_ends_us - past_us : 1;
}

static inline void log_decide(const struct log *log, const uint8_t *state, const struct sluice_policy *policy,
                              uint32_t cost, struct sluice_decision *out)
{
	uint32_t live = log->count - log->expired;

	out->limit = policy->limit;
	out->remaining = live < policy->limit ? policy->limit - live : 0;
	out->allowed = cost <= out->remaining;
	out->at_us = log->moment.at_us;
	out->reset_after_us = live > 0 ? wait_for(state, log, policy, log->count - 1) : 0;
	if (out->allowed)
		out->retry_after_us = 0;
	else if (cost > policy->limit)
		out->retry_after_us = SLUICE_NEVER;
	else /* so many of the oldest must leave first */
		out->retry_after_us = wait_for(state, log, policy, log->expired + (live - (policy->limit - cost)) - 1);
}

static size_t log_max(const struct sluice_policy *policy)
{
	return LOG_RING + (size_t)LOG_ENTRY * policy->limit;
}

static size_t log_compact(const struct sluice_policy *policy)
{
	return policy->limit <= LOG_START ? LOG_RING + (size_t)LOG_ENTRY * (policy->limit - 1) : 0;
}

static size_t log_room(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                       uint32_t cost)
{
	struct log log;
	uint32_t need = cost;
	uint32_t room;

	if (cost > policy->limit)
		return len; /* will be denied; also keeps the sum below from wrapping */
	if (log_read(&log, state, len, policy) == STATE_OURS) {
		log_look(&log, state, policy, now_us);
		need += log.count - log.expired;
	}
	if (need > policy->limit || need <= log.slots || is_compact(len, policy))
		return len;
	room = log.slots * 2; /* below twice the limit here, so it can't wrap */
	if (room < need)
		room = need;
	if (room < LOG_START)
		room = LOG_START;
	return LOG_RING + (size_t)LOG_ENTRY * min32(room, policy->limit);
}

static void log_save(uint8_t *state, const struct log *log, const struct sluice_policy *policy)
{
	state_save_head(state, policy, log->newest_us);
	save32(state + LOG_HEAD, log->head);
	save32(state + LOG_COUNT, log->count | log->left_out << LOG_LEFT_OUT);
	save32(state + LOG_CAPACITY, log->capacity);
}

static int log_move(uint8_t *to, size_t to_len, const uint8_t *from, size_t from_len,
                    const struct sluice_policy *policy)
{
	struct log log = { 0 }, moved = { 0 };
	int kind = log_read(&log, from, from_len, policy);
	uint32_t keep = kind == STATE_OURS ? min32(log.count, policy->limit) : 0;

	moved.capacity = is_compact(to_len, policy) ? policy->limit : min32(slots_in(to_len), policy->limit);
	if (moved.capacity == 0 || moved.capacity < keep)
		return SLUICE_EROOM;
	memset(to, 0, to_len);
	moved.count = keep;
	moved.left_out = keep > slots_in(to_len);
	if (kind == STATE_OURS)
		moved.newest_us = log.newest_us;
	log_save(to, &moved, policy);
	for (uint32_t i = 0; i < keep - moved.left_out; i++) {
		uint32_t age = age_of(from, &log, log.count - keep + i);

		save32(to + LOG_RING + (size_t)LOG_ENTRY * i, (uint32_t)log.newest_tick - age);
	}
	return kind == SLUICE_EFORMAT ? SLUICE_EFORMAT : SLUICE_OK;
}

/* Raises the modulus of the ring; what lies between the head and the old end goes to the new end. */
static void log_widen(uint8_t *state, struct log *log, uint32_t capacity)
{
	uint8_t *ring = state + LOG_RING;

	if (log->head + log->count > log->capacity) {
		uint32_t shift = capacity - log->capacity;

		memmove(ring + (size_t)LOG_ENTRY * (log->head + shift), ring + (size_t)LOG_ENTRY * log->head,
		        (size_t)LOG_ENTRY * (log->capacity - log->head));
		log->head += shift;
	}
	log->capacity = capacity;
}

/* Stores the newest entry if it was left out. There is room for all that counts; in a string that ends just before the
 * place of the newest, the others move to the front. */
static void log_store_newest(uint8_t *state, struct log *log)
{
	uint8_t *ring = state + LOG_RING;
	uint32_t live = log->count - log->expired;

	if (log->slots < log->capacity && log->head + log->count > log->slots) {
		memmove(ring, ring + (size_t)LOG_ENTRY * (log->head + log->expired), (size_t)LOG_ENTRY * (live - 1));
		log->head = 0;
		log->count = live;
		log->expired = 0;
	}
	save32(ring_at(state, log, log->count - 1), (uint32_t)log->newest_tick);
}

/* Lays the entries that count, of which there are fewer than the limit, at the front of a compact state. */
static void log_lay_compact(uint8_t *state, struct log *log, const struct sluice_policy *policy)
{
	uint8_t *ring = state + LOG_RING;
	uint32_t ticks[LOG_START];
	uint32_t live = log->count - log->expired;

	if (log->head + log->count <= log->capacity) { /* they lie in one piece, most often at the front already */
		uint32_t stored = live - (live > 0 ? log->left_out : 0);

		if (log->head + log->expired > 0)
			memmove(ring, ring + (size_t)LOG_ENTRY * (log->head + log->expired),
			        (size_t)LOG_ENTRY * stored);
		if (stored < live)
			save32(ring + (size_t)LOG_ENTRY * stored, (uint32_t)log->newest_tick);
	} else {
		for (uint32_t i = 0; i < live; i++)
			ticks[i] = (uint32_t)log->newest_tick - age_of(state, log, log->expired + i);
		for (uint32_t i = 0; i < live; i++)
			save32(ring + (size_t)LOG_ENTRY * i, ticks[i]);
	}
	log->head = 0;
	log->count = live;
	log->expired = 0;
	log->left_out = 0;
	log->capacity = policy->limit;
}

/* Forgets the expired entries and sees to it that `cost` more fit; writes nothing when they don't. */
static inline int log_make_room(uint8_t *state, size_t len, struct log *log, const struct sluice_policy *policy,
                                uint32_t cost)
{
	uint32_t live = log->count - log->expired;
	uint32_t need = live + cost;

	if (is_compact(len, policy)) {
		log_lay_compact(state, log, policy);
		return SLUICE_OK;
	}
	if (need > log->slots)
		return SLUICE_EROOM;
	if (log->left_out != 0 && live > 0)
		log_store_newest(state, log);
	log->left_out = 0;
	/* From the start of the ring when nothing is left, so that a string that grows as it is written stays short. */
	log->head = live > 0 ? ring_index(log, log->expired) : 0;
	log->count = live;
	if (need > log->capacity)
		log_widen(state, log, min32(log->slots, policy->limit));
	else if (log->slots < log->capacity && log->head + need > log->slots)
		log->capacity = log->slots; /* the entries lie in one piece: a smaller modulus changes none of them */
	return SLUICE_OK;
}

static void log_append(uint8_t *state, struct log *log, const struct sluice_policy *policy, uint32_t cost)
{
	uint32_t tick;

	log->newest_us = log->moment.at_us;
	log->newest_tick = tick_of(log->newest_us, policy->tick_us);
	tick = (uint32_t)log->newest_tick;
	log->left_out = log->count + cost > log->slots; /* only in a compact state; the others have room */
	for (uint32_t i = 0; i < cost - log->left_out; i++)
		save32(ring_at(state, log, log->count + i), tick);
	log->count += cost;
}

static int log_take(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                    struct sluice_decision *out)
{
	struct log log;

	if (log_read(&log, state, len, policy) == SLUICE_EFORMAT)
		return SLUICE_EFORMAT;
	log_look(&log, state, policy, now_us);
	log_decide(&log, state, policy, cost, out);
	if (!out->allowed)
		return SLUICE_OK;
	if (log_make_room(state, len, &log, policy, cost) != SLUICE_OK)
		return SLUICE_EROOM;
	log_append(state, &log, policy, cost);
	log_save(state, &log, policy);
	out->remaining -= cost;
	out->reset_after_us = log.newest_tick * policy->tick_us + policy->window_us - log.moment.now_us;
	return SLUICE_OK;
}

static int log_peek(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                    uint32_t cost, struct sluice_decision *out)
{
	struct log log;

	if (log_read(&log, state, len, policy) == SLUICE_EFORMAT)
		return SLUICE_EFORMAT;
	log_look(&log, state, policy, now_us);
	log_decide(&log, state, policy, cost, out);
	return SLUICE_OK;
}

static int log_refund(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                      uint64_t given_us)
{
	struct log log;
	uint64_t age;
	uint32_t end, start;
	int kind = log_read(&log, state, len, policy);

	if (kind != STATE_OURS || given_us > log.newest_us)
		return kind == SLUICE_EFORMAT ? SLUICE_EFORMAT : SLUICE_OK;
	log_look(&log, state, policy, now_us);
	age = log.newest_tick - tick_of(given_us, policy->tick_us);
	if (age >= log.live_age)
		return SLUICE_OK; /* has left the window already */

	end = first_younger(state, &log, (uint32_t)age); /* one past the entries of that tick */
	start = end;
	while (start > 0 && end - start < cost && age_of(state, &log, start - 1) == age)
		start--;
	if (start == end)
		return SLUICE_OK;
	for (uint32_t i = end; i < log.count - log.left_out; i++)
		memcpy(ring_at(state, &log, start + i - end), ring_at(state, &log, i), LOG_ENTRY);
	if (end == log.count)
		log.left_out = 0; /* it was given back */
	log.count -= end - start;
	if (log.count == 0)
		log.head = 0;
	log_save(state, &log, policy);
	return SLUICE_OK;
}

const struct algorithm algorithm_sliding_log = {
	.max = log_max,
	.compact = log_compact,
	.room = log_room,
	.move = log_move,
	.take = log_take,
	.peek = log_peek,
	.refund = log_refund,
};
