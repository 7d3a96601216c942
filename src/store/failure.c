/* SPDX-License-Identifier: Apache-2.0 */
#include "store/failure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/memory.h"
#include "store/outage.h"
#include "store/share.h"

#define CLOSED_RETRY_US UINT64_C(1000000)

struct failure {
	struct store store;
	struct store *inner;
	struct share *share; /* FAILURE_LOCAL only */
	enum failure_policy policy;
	bool inner_in_process; /* `inner` is a memory store and deals with being full itself */
	uint64_t (*now_us)(void *context);
	void *context;
	uint32_t servers; /* atomic, relaxed */
	struct outage outage;
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

static const char *policy_name(enum failure_policy policy)
{
	static const char *const names[] = { "local", "open", "closed" };

	return names[policy];
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

static const char *reason(int error)
{
	switch (error) {
	case -ENOTCONN:
		return "no connection";
	case -ETIMEDOUT:
		return "no answer in time";
	default:
		return strerror(-error);
	}
}

static uint32_t servers_of(const struct failure *failure)
{
	return __atomic_load_n(&failure->servers, __ATOMIC_RELAXED);
}

/* Tells the operator: a line a change, or one in a while. */
static void report(struct failure *failure, const struct store_op *op)
{
	uint64_t now_us = failure->now_us(failure->context), n;
	const char *name = failure->inner->class->name;

	if (failure->inner_in_process) {
		n = outage_full(&failure->outage, now_us);
		if (n > 0)
			log_warn("limiter store %s: %s; decided by policy \"%s\" (%llu decisions since the last such "
			         "message)",
			         name, op->error == -ENOSPC ? "full" : strerror(-op->error), decider_name(op->decider),
			         (unsigned long long)n);
		return;
	}
	if (!outage_failed(&failure->outage, now_us))
		return;
	if (failure->share != NULL)
		log_warn("limiter store %s is out of reach (%s): policy \"local\" decides, limits divided by %u", name,
		         reason(op->error), servers_of(failure));
	else
		log_warn("limiter store %s is out of reach (%s): policy \"%s\" decides", name, reason(op->error),
		         policy_name(failure->policy));
}

static void report_return(struct failure *failure)
{
	uint64_t lasted_us, decisions;

	if (!outage_over(&failure->outage, failure->now_us(failure->context), &lasted_us, &decisions))
		return;
	log_info("limiter store %s is back after %llu.%llu s, in which policy \"%s\" decided %llu times",
	         failure->inner->class->name, (unsigned long long)(lasted_us / 1000000),
	         (unsigned long long)(lasted_us / 100000 % 10), policy_name(failure->policy),
	         (unsigned long long)decisions);
}

/* Sees whether the store is away as a whole, or failed over some keys. @return true when it is there. */
static bool notice(struct failure *failure)
{
	bool there = failure->inner_in_process || store_ready(failure->inner);

	if (failure->share != NULL)
		share_notice(failure->share, there || store_partly_ready(failure->inner));
	return there;
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
		if (share_decide(failure->share, op) == STORE_DONE) {
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
	notice(failure);
}

static bool decides(const struct store_op *op)
{
	return op->verb == STORE_TAKE || op->verb == STORE_PEEK;
}

static void release(struct failure *failure, struct store_op *op)
{
	if (op->failure.reserved)
		share_release(failure->share, op);
	op->failure.reserved = false;
}

static void on_done(struct store_op *op)
{
	struct failure *failure = (struct failure *)op->failure.store;

	op->done = op->failure.done;
	if (decides(op)) {
		if (op->error != 0 || !op->allowed)
			release(failure, op);
		if (op->error != 0)
			decide(failure, op, op->error);
		else if (op->verb == STORE_TAKE && failure->share != NULL && op->decider == STORE_BY_STORE)
			share_learn(failure->share, op);
	}
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

/* A key of the op was decided here while the store was away: it must pass this server's share before the store is
 * asked.
 * @return true when the op is decided: denied. */
static bool held_back(struct failure *failure, struct store_op *op)
{
	if (failure->inner_in_process || failure->share == NULL || op->verb != STORE_TAKE ||
	    !share_holds(failure->share, op))
		return false;
	if (share_reserve(failure->share, op) != STORE_DONE) /* no memory: the store alone decides */
		return false;
	op->failure.reserved = op->allowed;
	if (op->allowed)
		return false;
	op->decider = STORE_BY_LOCAL;
	op->error = -ESTALE;
	if (store_ready(failure->inner)) {
		outage_counted(&failure->outage);
	} else {
		/* When all are at their limits nobody else finds out. */
		op->error = -ENOTCONN;
		report(failure, op);
	}
	return true;
}

/* The inner store has refused a take that this server's share admits already. */
static void keep(struct failure *failure, struct store_op *op, int error, const struct sluice_decision *decisions)
{
	share_keep(failure->share, op, decisions);
	op->failure.reserved = false;
	op->allowed = true;
	op->decider = STORE_BY_LOCAL;
	op->error = error;
	report(failure, op);
	notice(failure);
}

static int submit_decision(struct failure *failure, struct store_op *op)
{
	struct sluice_decision decisions[STORE_TAKES_MAX];
	int rc;

	/* What is left of the op's last use must not be taken for an answer. */
	op->decider = STORE_BY_STORE;
	op->error = 0;
	op->failure.reserved = false;
	if (held_back(failure, op))
		return STORE_DONE;
	for (unsigned i = 0; op->failure.reserved && i < op->n; i++)
		decisions[i] = op->takes[i].decision;
	rc = submit_inner(failure, op);
	if (rc == STORE_PENDING)
		return rc;
	if (rc < 0 && rc != -EINVAL && op->failure.reserved) {
		keep(failure, op, rc, decisions);
		return STORE_DONE;
	}
	if (rc < 0 || !op->allowed)
		release(failure, op);
	if (rc == -EINVAL)
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
	if (op->decider == STORE_BY_LOCAL && failure->share != NULL)
		return share_refund(failure->share, op);
	return STORE_DONE;
}

static int submit_reset(struct failure *failure, struct store_op *op)
{
	if (failure->share != NULL) {
		int rc = share_reset(failure->share, op);

		if (rc != STORE_DONE)
			return rc;
	}
	return submit_inner(failure, op);
}

static int submit(struct store *store, struct store_op *op)
{
	struct failure *failure = (struct failure *)store;

	if (op->n == 0 || op->n > STORE_TAKES_MAX)
		return -EINVAL;
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
	if (failure->share != NULL)
		share_tend(failure->share);
	if (notice(failure))
		report_return(failure);
}

static void stats(struct store *store, struct store_stats *out)
{
	struct failure *failure = (struct failure *)store;
	struct store_stats local = { 0 };

	store_stats(failure->inner, out);
	if (failure->share == NULL)
		return;
	share_stats(failure->share, &local);
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

	if (failure->share != NULL)
		share_close(failure->share);
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
	failure->servers = config->servers > 0 ? config->servers : 1;
	if (config->policy == FAILURE_LOCAL) {
		failure->share = share_open(config);
		if (failure->share == NULL) {
			free(failure);
			return NULL;
		}
	}
	rc = set_inner_overflow(inner, config);
	if (rc != 0 && rc != -ENOTSUP) {
		if (failure->share != NULL)
			share_close(failure->share);
		free(failure);
		errno = -rc;
		return NULL;
	}
	failure->inner_in_process = rc == 0;
	return &failure->store;
}

void failure_store_set_servers(struct store *store, uint32_t servers)
{
	struct failure *failure = (struct failure *)store;

	servers = servers > 0 ? servers : 1;
	__atomic_store_n(&failure->servers, servers, __ATOMIC_RELAXED);
	if (failure->share != NULL)
		share_set_servers(failure->share, servers);
}

void failure_store_view(struct store *store, struct failure_view *out)
{
	struct failure *failure = (struct failure *)store;

	*out = (struct failure_view){ .store = failure->inner->class->name,
		                      .policy = policy_name(failure->policy),
		                      .in_process = failure->inner_in_process,
		                      .ready = store_ready(failure->inner),
		                      .servers = servers_of(failure) };
}
