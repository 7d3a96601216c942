/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conformance.h: the same questions for everything that takes decisions.
 *
 * A backend is something that decides at a time that the test sets: the core itself, the in-process
 * store, a script or a module in a Redis. Two sets of questions are put to it:
 *
 *   vectors  a file of hand-computed cases (vectors.txt, which describes its format)
 *   traces   random takes, peeks, refunds and steps of the clock, each answer checked against an
 *            oracle that remembers every admitted unit (oracle.h)
 *
 * What is wrong is printed on standard error.
 */
#ifndef SLUICE_TESTS_CONFORMANCE_H
#define SLUICE_TESTS_CONFORMANCE_H

#include "sluice/limiter.h"

/** One thread at a time. The functions return 0, or a negative number, which fails the test. */
struct backend {
	const char *name;

	/* As the functions of limiter.h. `key` ends in 0. */
	int (*take)(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
	            uint32_t cost, struct sluice_decision *out);
	int (*peek)(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
	            uint32_t cost, struct sluice_decision *out);
	int (*refund)(struct backend *backend, const struct sluice_policy *policy, const char *key, uint64_t now_us,
	              uint32_t cost, uint64_t at_us, struct sluice_decision *out);

	/* Forgets the state of a key; one that does not exist is fine. */
	int (*reset)(struct backend *backend, const char *key);

	/**
	 * The bytes of a key's state, to see that a denied take changes none. May be NULL: not checked.
	 *
	 * @param bytes  out: valid until the next call of any function.
	 * @return their number, 0 when there is no state.
	 */
	size_t (*state)(struct backend *backend, const char *key, const uint8_t **bytes);

	/**
	 * The backend drops states whose time has come by its own clock. Traces then neither ask what will
	 * be (the answer would make it drop what is) nor turn the clock back by as much as a state lives.
	 */
	bool expires;

	void (*close)(struct backend *backend);
};

/**
 * Replays a file of vectors.
 *
 * @param base_us  what the times of the file are counted from; made a multiple of the ticks of all
 *                 its policies, so that what is rounded is rounded as the file says.
 * @return the number of answers that were wrong, or -1 when the file can't be read or understood.
 */
int vectors_replay(struct backend *backend, const char *path, uint64_t base_us);

struct trace_options {
	uint64_t seed;
	uint64_t steps; /* over all traces */
	int64_t only;   /* run this trace alone; -1: all */
};

/** @return the number of traces in which an answer was wrong; each stops at its first. */
int traces_run(struct backend *backend, const struct trace_options *options);

/* The backends. Each returns NULL when memory is short; to be closed with backend->close(). */

/** The core, over states in exactly as many bytes as they need. */
struct backend *backend_core_open(void);

/** The core, over states that are rewritten before use as another writer might have left them: the ring
 *  turned, in fewer bytes than its modulus, or in more. */
struct backend *backend_disguised_open(uint64_t seed);

/** The in-process store. */
struct backend *backend_memory_open(void);

/** The Lua script in a Redis that is started for it. */
struct backend *backend_redis_open(void);

/** Our module in a Redis that is started for it: see module_client.h. */
struct backend *backend_module_open(uint64_t seed);

/** Both, by chance one or the other, on the same keys. */
struct backend *backend_mixed_open(uint64_t seed);

#endif
