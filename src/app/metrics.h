/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics.h: what is counted, and the page that shows it to Prometheus.
 *
 * Every loop thread counts in cache lines of its own; the page adds them up. No label takes a value that an
 * outsider chooses: limits are named by the operator, endpoints and outcomes by us.
 */
#ifndef SLUICE_APP_METRICS_H
#define SLUICE_APP_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "http/access_log.h"
#include "http/http.h"
#include "links/links.h"
#include "store/store.h"

enum metric_endpoint {
	METRIC_HOME,
	METRIC_SHORTEN,
	METRIC_REDIRECT,
	METRIC_OPERATIONS, /* healthz, readyz, metrics */
	METRIC_BROKEN,     /* heads that could not be read */
	METRIC_ENDPOINTS,
};

#define METRIC_BUCKETS 14 /* bounds are in metrics.c */

/* One thread's. */
struct worker_metrics {
	_Alignas(64) _Atomic uint64_t requests[METRIC_ENDPOINTS][6]; /* by hundreds of the status; 0: no answer */
	_Atomic uint64_t duration_buckets[METRIC_BUCKETS + 1];
	_Atomic uint64_t duration_sum_us;
};

/* One limit's, a cell for each thread. */
struct limit_metrics {
	struct limit_metrics *next;
	char name[32];
	struct {
		_Alignas(64) _Atomic uint64_t allowed[4], denied[4]; /* by enum store_decider */
	} cells[];
};

/* Where the numbers come from that others count. */
struct metrics_sources {
	struct store *store; /* from failure_store_open() */
	struct links *links;
	struct access_log *access_log; /* NULL: off */
	const struct http_stats *http; /* one a thread */
	uint32_t max_connections;      /* server.max_connections: how near the bound is, is seen in one place */
	uint64_t max_keys;             /* limiter.max_keys, likewise */
};

struct metrics;

/** Once, when the server starts: the page tells when that was. @param threads  number of loop threads. @return NULL
 * when memory is short. */
struct metrics *metrics_new(size_t threads);

/** Before the first metrics_write(). `sources` is copied; what it points at outlives the metrics. */
void metrics_set_sources(struct metrics *metrics, const struct metrics_sources *sources);

/** @return the cells of thread `index`. */
struct worker_metrics *metrics_worker(struct metrics *metrics, size_t index);

/** @return the counters of the limit of that name, made when new; they live as long as `metrics`. NULL when memory is
 *  short. One thread at a time; readers may run meanwhile. */
struct limit_metrics *metrics_limit(struct metrics *metrics, const char *name);

/** Counts one ended request. */
void metrics_request(struct worker_metrics *worker, enum metric_endpoint endpoint, unsigned status,
                     uint64_t duration_us);

/** Counts one decision. */
void metrics_decision(struct limit_metrics *limit, size_t thread, enum store_decider decider, bool allowed);

/** Writes the page (Prometheus text format 0.0.4). @param text out: malloc'ed, the caller frees it. @return its length,
 * 0 when memory is short. Any thread. */
size_t metrics_write(struct metrics *metrics, char **text);

void metrics_free(struct metrics *metrics);

#endif
