/* SPDX-License-Identifier: Apache-2.0 */
/*
 * limiter.h: rate-limiting decisions as pure functions over a packed state.
 *
 * The caller owns the memory of the state, keeps it wherever it likes (a hash
 * table, a Redis string, a file) and passes the time in. Nothing here allocates,
 * locks, reads a clock or does I/O.
 *
 * Conventions
 *  - All times and durations are unsigned microseconds and say so: `_us`. The
 *    origin of time is the caller's; only differences matter.
 *  - Time that steps back is treated as standing still at the newest time that
 *    the state has admitted something.
 *  - Rounding always errs on the strict side: never over-admit.
 *  - A denied take changes no byte of the state.
 *  - Functions are reentrant. Two threads may work on two states at once; calls
 *    on one state must be serialised by the caller.
 *  - A state is a string of bytes with no alignment. Integers in it are
 *    little-endian, so that a state written by one process is read by another.
 *
 * State layout (format 1)
 *
 *   offset size  all algorithms
 *        0    1  format, 1
 *        1    1  algorithm, enum sluice_algorithm
 *        2    2  sliding-log: tick in us, else 0
 *        4    8  newest: time of the newest admitted take, us
 *
 *   sliding-log (24 + 4 * capacity bytes, of which only those up to the highest
 *   index ever written need exist)
 *       12    4  head: index of the oldest entry in the ring
 *       16    4  count: entries in the ring; the highest bit: the newest of them is not stored, because it
 *                is the tick of `newest` (its place in the ring may hold anything, or not exist)
 *       20    4  capacity: the ring's modulus, at most the limit that it was written under
 *       24  4*n  ring of 32-bit ticks: ceil(time / tick) modulo 2^32
 *
 *   sliding-counter (28 bytes)
 *       12    4  units admitted in the current window
 *       16    4  units admitted in the window before it
 *       20    8  start of the current window, us
 *
 *   fixed-window (24 bytes)
 *       12    4  units admitted in the window
 *       16    8  start of the window, us
 *
 *   token-bucket (24 bytes)
 *       12    4  drain: how much of the debt one microsecond pays back
 *       16    8  debt at `newest`; one unit of cost owes window_us / gcd(window_us, limit),
 *                and drain is limit / gcd(window_us, limit), so nothing is rounded
 *
 * A state of length 0 is an empty state: nothing was admitted yet. Bytes after the end of a state
 * are ignored.
 */
#ifndef SLUICE_LIMITER_H
#define SLUICE_LIMITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define SLUICE_API __attribute__((visibility("default")))
#else
#define SLUICE_API
#endif

/** Version of the state layout written by this library. */
#define SLUICE_STATE_FORMAT 1

/** The largest limit and burst of a policy, in units of cost. */
#define SLUICE_LIMIT_MAX UINT32_C(16777216)

/** The longest window of a policy: 366 days. The shortest is 1 ms. */
#define SLUICE_WINDOW_MAX_US (UINT64_C(366) * 86400 * 1000000)
#define SLUICE_WINDOW_MIN_US UINT64_C(1000)

/** The latest time that may be passed in: what a Lua number holds exactly, less the longest
 *  window twice. Later times are treated as this one. */
#define SLUICE_TIME_MAX_US ((UINT64_C(1) << 53) - 2 * SLUICE_WINDOW_MAX_US)

/** `retry_after_us` of a take that no waiting will make possible (cost above limit or burst). */
#define SLUICE_NEVER UINT64_MAX

/** How a policy counts. The values are stored in states and never change. */
enum sluice_algorithm {
	/** Exact: a ring of the times of the last `limit` units. In every interval of one window
	 *  at most `limit` units pass. */
	SLUICE_SLIDING_LOG = 1,
	/** Two counters; the older is weighted by how much of its window the sliding one still
	 *  covers. Constant memory; assumes that the older window's units were spread evenly. */
	SLUICE_SLIDING_COUNTER = 2,
	/** One counter for windows that follow one another, the first starting with the first
	 *  take of an idle key. At a border of windows up to twice the limit can pass. */
	SLUICE_FIXED_WINDOW = 3,
	/** Generic cell rate algorithm (ITU-T I.371) as a leaky-bucket meter: `limit` units per
	 *  window flow back evenly, at most `burst` units pass at once. */
	SLUICE_TOKEN_BUCKET = 4,
};

/** Errors are negative, 0 is success. */
enum sluice_error {
	SLUICE_OK = 0,
	SLUICE_EINVAL = -1,  /**< an argument is out of range (a cost of 0, a policy not initialised) */
	SLUICE_EFORMAT = -2, /**< the bytes are not a state that this library understands */
	SLUICE_EROOM = -3,   /**< the state must be enlarged first: see sluice_state_room() */
};

/**
 * A limit: `limit` units of cost per `window_us`. Fill with sluice_policy_init() and treat as
 * read-only afterwards; the lower half is derived from the upper. A policy may be shared by any
 * number of threads.
 */
struct sluice_policy {
	enum sluice_algorithm algorithm;
	uint32_t limit;     /**< units of cost per window */
	uint32_t burst;     /**< token-bucket: units that may pass at once; other algorithms: limit */
	uint64_t window_us; /**< length of the window */

	uint32_t tick_us;   /**< sliding-log: resolution of the ring, max(1, ceil(window / 2^31)) */
	uint32_t drain;     /**< token-bucket: limit / gcd(limit, window) */
	uint64_t unit_debt; /**< token-bucket: window / gcd(limit, window), owed by one unit */
};

/**
 * What was decided, and what the client may be told. Waits are counted from the `now_us` that was
 * passed in, on the caller's clock: after a step back they include the time that stands still.
 */
struct sluice_decision {
	bool allowed;
	uint32_t limit;          /**< units that may pass at once: the limit, or the burst of a token-bucket */
	uint32_t remaining;      /**< units that would still be admitted at this moment, after this take */
	uint64_t retry_after_us; /**< 0 when allowed; else the shortest wait after which the same take is
	                              admitted if nothing else is taken meanwhile, or SLUICE_NEVER */
	uint64_t reset_after_us; /**< wait until the whole quota is back, which is also when the state is
	                              the same as an empty one and may be dropped */
	uint64_t at_us;          /**< the time that was decided for: `now`, or the newest time of the state
	                              if that is later. Give it to sluice_refund() */
};

/**
 * Fills a policy and checks it.
 *
 * @param policy     out; undefined on failure.
 * @param algorithm  how to count.
 * @param limit      1 to SLUICE_LIMIT_MAX.
 * @param window_us  SLUICE_WINDOW_MIN_US to SLUICE_WINDOW_MAX_US.
 * @param burst      token-bucket: 1 to SLUICE_LIMIT_MAX, or 0 for `limit`; must be 0 or equal to
 *                   limit for the other algorithms.
 * @param why        out, may be NULL: on failure a static English phrase, complete enough for an
 *                   error message ("limit must be from 1 to 16777216").
 * @return 0, or SLUICE_EINVAL. A policy whose arithmetic would not stay below 2^53 is refused.
 */
SLUICE_API int sluice_policy_init(struct sluice_policy *policy, enum sluice_algorithm algorithm, uint32_t limit,
                                  uint64_t window_us, uint32_t burst, const char **why);

/** @return the name used in configuration files ("sliding-log"), or NULL for an unknown value. Static. */
SLUICE_API const char *sluice_algorithm_name(enum sluice_algorithm algorithm);

/** @return the algorithm of that name, or 0 when there is none. */
SLUICE_API enum sluice_algorithm sluice_algorithm_parse(const char *name);

/** @return the bytes of the largest state that this policy can need. */
SLUICE_API size_t sluice_state_max(const struct sluice_policy *policy);

/**
 * For states that are made at their full length at once, where every byte counts.
 *
 * @return the fewest bytes in which every take of the policy has room; 0 for a sliding-log of more than 16, which
 *         should grow with its use: sluice_state_room(). A sliding-log of 16 or less needs four bytes less than
 *         sluice_state_max(): in a state of exactly this length the newest entry is left out when the ring is full.
 */
SLUICE_API size_t sluice_state_compact(const struct sluice_policy *policy);

/**
 * How large a state must be before sluice_take() can admit `cost` units into it.
 *
 * A sliding-log may live in a state smaller than sluice_state_max(): its ring grows by doubling, so
 * that a client which uses little of a large limit costs little. Make and enlarge states with
 * sluice_state_move(), or lengthen the bytes of one where they are (the new ones may hold anything):
 * sluice_take() widens the ring.
 *
 * @param state, len  the present state; len 0 for none.
 * @return the bytes needed, `len` when it is large enough (also when the take would be denied),
 *         never above max(len, sluice_state_max(policy)). A state of another format, algorithm or
 *         tick needs what an empty one needs.
 */
SLUICE_API size_t sluice_state_room(const void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                                    uint32_t cost);

/**
 * Writes into `to` a state of exactly `to_len` bytes that decides as `from` does.
 *
 * Serves to enlarge a state, and to adopt one that was written under another limit, burst or
 * window: what it has counted stays counted. When the new ring is smaller, the newest entries are
 * kept. A state of another algorithm, or of a sliding-log with another tick, can't be carried over:
 * the result is an empty state.
 *
 * @param to       out; must not overlap `from`.
 * @param to_len   from sluice_state_room() or sluice_state_max() of the same policy.
 * @param from_len 0 writes an empty state.
 * @return 0; SLUICE_EROOM when to_len is too small for any state of the policy, or for what `from`
 *         counts (`to` is then unchanged); SLUICE_EFORMAT when `from` is malformed (`to` is then an
 *         empty state); SLUICE_EINVAL.
 */
SLUICE_API int sluice_state_move(void *to, size_t to_len, const void *from, size_t from_len,
                                 const struct sluice_policy *policy);

/**
 * Takes `cost` units if the policy admits them now. All of them or none.
 *
 * Sources: sliding-log, the exact log of times with its oldest dropped as it leaves the window;
 * sliding-counter, the weighted pair of counters described by Cloudflare (2017); token-bucket, the
 * continuous-state leaky bucket of ITU-T I.371 annex A, in exact integers.
 *
 * @param state  in and out; changed only when the take is allowed and the result is 0. A state
 *               written under another limit, burst or window of the same algorithm is understood.
 * @param len    its length, at least sluice_state_room().
 * @param cost   1 or more. A cost above the limit (the burst of a token-bucket) is denied, with
 *               SLUICE_NEVER.
 * @param out    out; defined when the result is 0.
 * @return 0 (look at out->allowed), SLUICE_EINVAL, SLUICE_EFORMAT or SLUICE_EROOM.
 */
SLUICE_API int sluice_take(void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
                           struct sluice_decision *out);

/**
 * What sluice_take() would answer, changing nothing: `remaining` and `reset_after_us` are those before
 * the take.
 * A state of length 0 is fine.
 *
 * @return as sluice_take(), never SLUICE_EROOM.
 */
SLUICE_API int sluice_peek(const void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                           uint32_t cost, struct sluice_decision *out);

/**
 * Gives back `cost` units of an earlier take. Never makes room that the take did not use:
 * units that have already flowed back are not given back twice.
 *
 * sliding-log and the two counters find the units by their time, whatever was taken since.
 * A token-bucket keeps no times: it gives back exactly when nothing was taken since, and nothing
 * otherwise (the strict side).
 *
 * @param at_us  `at_us` of the decision that admitted the units.
 * @param out    out, may be NULL: the situation after the refund, as sluice_peek() with cost 1.
 * @return 0, SLUICE_EINVAL or SLUICE_EFORMAT.
 */
SLUICE_API int sluice_refund(void *state, size_t len, const struct sluice_policy *policy, uint64_t now_us,
                             uint32_t cost, uint64_t at_us, struct sluice_decision *out);

#ifdef __cplusplus
}
#endif
#endif
