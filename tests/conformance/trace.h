/* SPDX-License-Identifier: Apache-2.0 */
/*
 * trace.h: one random trace: what it is about (trace.c makes it up), and how an answer is judged
 * (trace_check.c).
 */
#ifndef SLUICE_TESTS_TRACE_H
#define SLUICE_TESTS_TRACE_H

#include <stdio.h>

#include "conformance.h"
#include "oracle.h"
#include "random.h"

enum { TRACE_KEYS = 4, TRACE_RECENT = 8 };

/* How much a take costs. A trace keeps to one way, so that large limits are reached too. */
enum trace_costs { COSTS_ONE, COSTS_FEW, COSTS_EIGHTH, COSTS_ANY, COSTS_WAYS };

struct trace_recent {
	int64_t at_us;
	uint32_t units; /* not given back yet */
};

struct trace_key {
	char name[48];
	struct sluice_policy policy;
	uint32_t most; /* the largest limit that this key has had */
	struct oracle oracle;
	struct trace_recent recent[TRACE_RECENT];
	unsigned recent_next;
	uint64_t retry_at_us; /* when the last denied take would pass, the last state be empty */
	uint64_t reset_at_us;
};

struct trace {
	struct backend *backend;
	struct random random;
	uint64_t seed;
	uint64_t number;
	uint64_t step;
	struct sluice_policy policy; /* the keys start with it */
	enum trace_costs costs;
	uint64_t now_us;
	unsigned keys;
	struct trace_key key[TRACE_KEYS];
	bool failed;
};

/** Prints what is wrong, with all that is needed to see it again, and ends the trace. */
void trace_fail(struct trace *trace, const struct trace_key *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/** Take, peek or refund, each judged. */
void trace_take(struct trace *trace, struct trace_key *key, uint32_t cost);
void trace_peek(struct trace *trace, struct trace_key *key, uint32_t cost);
void trace_refund(struct trace *trace, struct trace_key *key, struct trace_recent *recent, uint32_t units);

#endif
