/* SPDX-License-Identifier: Apache-2.0 */
/*
 * state.h: the bytes of a state, and what the four algorithms share.
 *
 * The layout itself is documented in sluice/limiter.h. Leaves out: what each algorithm keeps in the
 * body, which is its own file's business.
 */
#ifndef SLUICE_CORE_STATE_H
#define SLUICE_CORE_STATE_H

#include <string.h>

#include "sluice/limiter.h"

/* All sums and products that a script must be able to compute in doubles stay below this. */
#define EXACT_MAX (UINT64_C(1) << 53)

enum {
	STATE_ALGORITHM = 1, /* offset of enum sluice_algorithm */
	STATE_NEWEST = 4,    /* offset of the newest time */
	STATE_BODY = 12,     /* offset of what the algorithm keeps */
	/* Of a sliding-log; also for who keeps states and must know which of their bytes changed. */
	LOG_HEAD = 12,
	LOG_COUNT = 16,
	LOG_CAPACITY = 20,
	LOG_RING = 24,
	LOG_ENTRY = 4, /* bytes */
};

#define LOG_LEFT_OUT 31 /* the bit of a sliding-log's count that says that the newest entry is not stored */

/* What state_kind() answers besides SLUICE_EFORMAT. */
enum { STATE_EMPTY = 0, STATE_OURS = 1 };

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LITTLE32(value) __builtin_bswap32(value)
#define LITTLE64(value) __builtin_bswap64(value)
#else
#define LITTLE32(value) (value)
#define LITTLE64(value) (value)
#endif

/*
 * Each field is loaded and stored in one piece. Written as shifts of bytes, which some compilers split,
 * a load that follows the store of only a part of it waits until that has left the store buffer: that
 * tripled the time of a decision.
 */
static inline uint32_t load32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof value);
	return LITTLE32(value);
}

static inline uint64_t load64(const uint8_t *at)
{
	uint64_t value;

	memcpy(&value, at, sizeof value);
	return LITTLE64(value);
}

static inline void save32(uint8_t *at, uint32_t value)
{
	uint32_t stored = LITTLE32(value);

	memcpy(at, &stored, sizeof stored);
}

static inline void save64(uint8_t *at, uint64_t value)
{
	uint64_t stored = LITTLE64(value);

	memcpy(at, &stored, sizeof stored);
}

/* The first four bytes (format, algorithm, tick) of every state of a policy. */
static inline uint32_t state_prefix(const struct sluice_policy *policy)
{
	return SLUICE_STATE_FORMAT | (uint32_t)policy->algorithm << 8 | policy->tick_us << 16;
}

/** @return the answer of state_kind() for a state that does not begin as those of the policy do. */
int state_kind_foreign(const uint8_t *state, const struct sluice_policy *policy);

/**
 * Tells by its first bytes whether the policy's algorithm may read a state.
 *
 * @return STATE_OURS; STATE_EMPTY when there is none, or one of another algorithm or tick, which
 *         counts as none; SLUICE_EFORMAT. The body is not looked at.
 */
static inline int state_kind(const uint8_t *state, size_t len, const struct sluice_policy *policy)
{
	if (len == 0)
		return STATE_EMPTY;
	if (len < STATE_BODY)
		return SLUICE_EFORMAT;
	if (load32(state) == state_prefix(policy))
		return STATE_OURS;
	return state_kind_foreign(state, policy);
}

static inline void state_save_head(uint8_t *state, const struct sluice_policy *policy, uint64_t newest_us)
{
	save32(state, state_prefix(policy));
	save64(state + STATE_NEWEST, newest_us);
}

/* The time of a decision: as it was passed in, and as the state sees it. Waits are counted from the first. */
struct moment {
	uint64_t now_us;
	uint64_t at_us; /* the newest time of the state, when `now` is earlier */
};

static inline struct moment moment_of(uint64_t now_us, uint64_t newest_us)
{
	struct moment moment;

	moment.now_us = now_us < SLUICE_TIME_MAX_US ? now_us : SLUICE_TIME_MAX_US;
	moment.at_us = moment.now_us > newest_us ? moment.now_us : newest_us;
	return moment;
}

static inline uint64_t div_ceil(uint64_t dividend, uint64_t divisor)
{
	return dividend / divisor + (dividend % divisor != 0);
}

/* For the algorithms whose states have one length: the public functions of these names. */
size_t state_room_fixed(size_t len, uint32_t most, uint32_t cost, size_t fixed_len);
int state_move_fixed(uint8_t *to, size_t to_len, const uint8_t *from, int from_kind, size_t fixed_len);

/*
 * An algorithm: functions with the meaning, parameters and results of the public functions of the
 * same names. The policy is known to be of that algorithm and in range, and the cost is not 0.
 */
struct algorithm {
	size_t (*max)(const struct sluice_policy *policy);
	size_t (*compact)(const struct sluice_policy *policy); /* NULL: as max */
	size_t (*room)(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
	               uint32_t cost);
	int (*move)(uint8_t *to, size_t to_len, const uint8_t *from, size_t from_len,
	            const struct sluice_policy *policy);
	int (*take)(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
	            struct sluice_decision *out);
	int (*peek)(const uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
	            uint32_t cost, struct sluice_decision *out);
	int (*refund)(uint8_t *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
	              uint64_t given_us);
};

extern const struct algorithm algorithm_sliding_log;
extern const struct algorithm algorithm_sliding_counter;
extern const struct algorithm algorithm_fixed_window;
extern const struct algorithm algorithm_token_bucket;

#endif
