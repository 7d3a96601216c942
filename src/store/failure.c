/* SPDX-License-Identifier: Apache-2.0 */
#include "store/failure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/memory.h"

#define CLOSED_RETRY_US UINT64_C(1000000)
#define LOG_INTERVAL_US UINT64_C(10000000)

struct failure {
	struct store store;
	struct store *inner;
	struct store *local; /* FAILURE_LOCAL only */
	enum failure_policy policy;
	bool inner_in_process; /* `inner` is a memory store and deals with being full itself */
	uint64_t (*now_us)(void *context);
	void *context;
	/* Atomic, relaxed. */
	uint32_t servers;
	uint64_t unlogged; /* decisions since the last line in the log */
	uint64_t logged_us;
};

static uint64_t monotonic(void *context)
{
	return clock_mono_us();
}

static const char *decider_name(enum store_decider decider)
{
	static const char *const names[] = { "store", "local", "open", "closed" };

	return names[decider];
}

/* Tells the operator, at most once in LOG_INTERVAL_US. */
static void report(struct failure *failure, const struct store_op *op)
{
	uint64_t last_us = __atomic_load_n(&failure->logged_us, __ATOMIC_RELAXED);
	uint64_t now_us = failure->now_us(failure->context);
	uint64_t n = __atomic_add_fetch(&failure->unlogged, 1, __ATOMIC_RELAXED);

	if (last_us != 0 && now_us < last_us + LOG_INTERVAL_US)
		return;
	/* Of several threads that see the interval end, one writes. */
	if (!__atomic_compare_exchange_n(&failure->logged_us, &last_us, now_us, false, __ATOMIC_RELAXED,
	                                 __ATOMIC_RELAXED))
		return;
	__atomic_sub_fetch(&failure->unlogged, n, __ATOMIC_RELAXED);
	log_warn("limiter store %s: %s; decided by policy \"%s\" (%llu decisions since the last such message)",
	         failure->inner->class->name, op->error == -ENOSPC ? "full" : strerror(-op->error),
	         decider_name(op->decider), (unsigned long long)n);
}

static void decide_open(struct store_op *op)
{
	op->decider = STORE_BY_OPEN;
	op->allowed = true;
	for (unsigned i = 0; i < op->n; i++) {
		struct store_take *take = &op->takes[i];

		take->home = STORE_HOME_NONE;
		take->decision = (struct sluice_decision){
			.allowed = true,
			.limit = take->policy->burst,
			.remaining = take->policy->burst,
		};
	}
}

static void decide_closed(struct store_op *op)
{
	op->decider = STORE_BY_CLOSED;
	op->allowed = false;
	for (unsigned i = 0; i < op->n; i++) {
		struct store_take *take = &op->takes[i];

		take->home = STORE_HOME_NONE;
		take->decision = (struct sluice_decision){
			.limit = take->policy->burst,
			.retry_after_us = CLOSED_RETRY_US,
			.reset_after_us = CLOSED_RETRY_US,
		};
	}
}

/* This server's part of a limit. */
static void divide(struct sluice_policy *part, const struct sluice_policy *whole, uint32_t servers)
{
	uint32_t limit = whole->limit / servers;
	uint32_t burst = whole->burst / servers;

	limit = limit > 0 ? limit : 1;
	burst = burst > 0 ? burst : 1;
	if (whole->algorithm != SLUICE_TOKEN_BUCKET)
		burst = 0;
	/* A smaller limit can make the arithmetic of a token bucket too large; then the whole limit is enforced. */
	if (sluice_policy_init(part, whole->algorithm, limit, whole->window_us, burst, NULL) != SLUICE_OK)
		*part = *whole;
}

/* Submits to the in-process store, under this server's part of the limits. */
static int submit_local(struct failure *failure, struct store_op *op)
{
	const unsigned n = op->n;
	uint32_t servers = __atomic_load_n(&failure->servers, __ATOMIC_RELAXED);
	const struct sluice_policy *wholes[STORE_TAKES_MAX];
	struct sluice_policy parts[STORE_TAKES_MAX];
	int rc;

	if (servers == 1)
		return store_submit(failure->local, op);
	for (unsigned i = 0; i < n; i++) {
		wholes[i] = op->takes[i].policy;
		divide(&parts[i], wholes[i], servers);
		op->takes[i].policy = &parts[i];
	}
	rc = store_submit(failure->local, op);
	for (unsigned i = 0; i < n; i++)
		op->takes[i].policy = wholes[i];
	return rc;
}

/* Decides a take or a peek that the inner store could not, for the reason `error`. */
static void decide(struct failure *failure, struct store_op *op, int error)
{
	switch (failure->policy) {
	case FAILURE_OPEN:
		decide_open(op);
		break;
	case FAILURE_LOCAL:
		/* Only without memory does it refuse. */
		if (submit_local(failure, op) == STORE_DONE) {
			op->decider = STORE_BY_LOCAL;
			break;
		}
		decide_closed(op);
		break;
	case FAILURE_CLOSED:
		decide_closed(op);
		break;
	}
	op->error = error;
	report(failure, op);
}

static bool decides(const struct store_op *op)
{
	return op->verb == STORE_TAKE || op->verb == STORE_PEEK;
}

static void on_done(struct store_op *op)
{
	struct failure *failure = (struct failure *)op->failure.store;

	op->done = op->failure.done;
	if (op->error != 0 && decides(op))
		decide(failure, op, op->error);
	op->done(op);
}

/* @return what the inner store says; a pending op will come by on_done(). */
static int submit_inner(struct failure *failure, struct store_op *op)
{
	int rc;

	op->failure.store = &failure->store;
	op->failure.done = op->done;
	op->done = on_done;
	rc = store_submit(failure->inner, op);
	if (rc != STORE_PENDING)
		op->done = op->failure.done;
	return rc;
}

static int submit_decision(struct failure *failure, struct store_op *op)
{
	int rc;

	/* What is left of the op's last use must not be taken for an answer. */
	op->decider = STORE_BY_STORE;
	op->error = 0;
	rc = submit_inner(failure, op);
	if (rc == -EINVAL || rc == STORE_PENDING)
		return rc;
	if (rc < 0)
		decide(failure, op, rc);
	else if (op->error != 0)
		report(failure, op); /* decided by an inner store that was full */
	return STORE_DONE;
}

/* To whoever counted the take. */
static int submit_refund(struct failure *failure, struct store_op *op)
{
	if (op->decider == STORE_BY_STORE || (failure->inner_in_process && op->error == -ENOSPC))
		return submit_inner(failure, op);
	if (op->decider == STORE_BY_LOCAL && failure->local != NULL)
		return submit_local(failure, op);
	return STORE_DONE;
}

static int submit_reset(struct failure *failure, struct store_op *op)
{
	if (failure->local != NULL) {
		int rc = store_submit(failure->local, op);

		if (rc != STORE_DONE)
			return rc;
	}
	return submit_inner(failure, op);
}

static int submit(struct store *store, struct store_op *op)
{
	struct failure *failure = (struct failure *)store;

	switch (op->verb) {
	case STORE_TAKE:
	case STORE_PEEK:
		return submit_decision(failure, op);
	case STORE_REFUND:
		return submit_refund(failure, op);
	case STORE_RESET:
		return submit_reset(failure, op);
	}
	return -EINVAL;
}

static int attach(struct store *store, unsigned thread, struct uv_loop_s *loop)
{
	return store_attach(((struct failure *)store)->inner, thread, loop);
}

static void detach(struct store *store, unsigned thread)
{
	store_detach(((struct failure *)store)->inner, thread);
}

static void tend(struct store *store)
{
	struct failure *failure = (struct failure *)store;

	store_tend(failure->inner);
	if (failure->local != NULL)
		store_tend(failure->local);
}

static void stats(struct store *store, struct store_stats *out)
{
	struct failure *failure = (struct failure *)store;
	struct store_stats local;

	store_stats(failure->inner, out);
	if (failure->local == NULL)
		return;
	store_stats(failure->local, &local);
	out->keys += local.keys;
	out->bytes += local.bytes;
	out->refused += local.refused;
	out->expired += local.expired;
	out->errors += local.errors;
}

static bool ready(struct store *store)
{
	return store_ready(((struct failure *)store)->inner);
}

static void close_store(struct store *store)
{
	struct failure *failure = (struct failure *)store;

	if (failure->local != NULL)
		store_close(failure->local);
	store_close(failure->inner);
	free(failure);
}

static const struct store_class failure_class = {
	.name = "failure",
	.attach = attach,
	.detach = detach,
	.submit = submit,
	.tend = tend,
	.stats = stats,
	.ready = ready,
	.close = close_store,
};

/* Has an inner store in this process deal with being full. @return 0, -ENOTSUP when it is elsewhere, or an error. */
static int set_inner_overflow(struct store *inner, const struct failure_config *config)
{
	static const enum memory_overflow overflows[] = {
		[FAILURE_LOCAL] = MEMORY_SHARE,
		[FAILURE_OPEN] = MEMORY_OPEN,
		[FAILURE_CLOSED] = MEMORY_REFUSE,
	};

	return memory_store_set_overflow(inner, overflows[config->policy], config->shared_states);
}

static struct store *open_local(const struct failure_config *config)
{
	const struct memory_store_config memory = {
		.max_keys = config->local_max_keys,
		.overflow = MEMORY_SHARE,
		.shared_states = config->shared_states,
		.now_us = config->now_us,
		.context = config->context,
	};

	return memory_store_open(&memory);
}

struct store *failure_store_open(struct store *inner, const struct failure_config *config)
{
	struct failure *failure = calloc(1, sizeof *failure);
	int rc;

	if (failure == NULL)
		return NULL;
	failure->store.class = &failure_class;
	failure->inner = inner;
	failure->policy = config->policy;
	failure->now_us = config->now_us != NULL ? config->now_us : monotonic;
	failure->context = config->context;
	failure->servers = 1;
	if (config->policy == FAILURE_LOCAL) {
		failure->local = open_local(config);
		if (failure->local == NULL) {
			free(failure);
			return NULL;
		}
	}
	rc = set_inner_overflow(inner, config);
	if (rc != 0 && rc != -ENOTSUP) {
		if (failure->local != NULL)
			store_close(failure->local);
		free(failure);
		errno = -rc;
		return NULL;
	}
	failure->inner_in_process = rc == 0;
	return &failure->store;
}

void failure_store_set_servers(struct store *store, uint32_t servers)
{
	__atomic_store_n(&((struct failure *)store)->servers, servers > 0 ? servers : 1, __ATOMIC_RELAXED);
}
