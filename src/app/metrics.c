/* SPDX-License-Identifier: Apache-2.0 */
#include "app/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "store/failure.h"

static const uint64_t bounds_us[METRIC_BUCKETS] = { 25,   50,    100,   250,    500,    1000,    2500,
	                                            5000, 10000, 25000, 100000, 500000, 1000000, 5000000 };

static const char *const endpoint_names[METRIC_ENDPOINTS] = { "home", "shorten", "redirect", "operations", "broken" };
static const char *const status_names[6] = { "none", "1xx", "2xx", "3xx", "4xx", "5xx" };
static const char *const decider_names[4] = { "store", "local", "open", "closed" };

struct metrics {
	size_t threads;
	uint64_t made_us; /* of the wall clock */
	struct worker_metrics *workers;
	_Atomic(struct limit_metrics *) limits; /* only grows */
	struct metrics_sources sources;
};

static uint64_t load(const _Atomic uint64_t *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* One writer a counter: no locked instruction is needed to add. */
static void add(_Atomic uint64_t *counter, uint64_t n)
{
	atomic_store_explicit(counter, load(counter) + n, memory_order_relaxed);
}

struct metrics *metrics_new(size_t threads)
{
	struct metrics *metrics = calloc(1, sizeof *metrics);

	if (metrics == NULL)
		return NULL;
	metrics->threads = threads;
	metrics->made_us = clock_wall_us();
	metrics->workers = aligned_alloc(64, threads * sizeof *metrics->workers);
	if (metrics->workers == NULL) {
		free(metrics);
		return NULL;
	}
	memset(metrics->workers, 0, threads * sizeof *metrics->workers);
	return metrics;
}

void metrics_set_sources(struct metrics *metrics, const struct metrics_sources *sources)
{
	metrics->sources = *sources;
}

struct worker_metrics *metrics_worker(struct metrics *metrics, size_t index)
{
	return &metrics->workers[index];
}

struct limit_metrics *metrics_limit(struct metrics *metrics, const char *name)
{
	struct limit_metrics *first = atomic_load(&metrics->limits), *limit = first;
	size_t size = sizeof *limit + metrics->threads * sizeof limit->cells[0];

	while (limit != NULL && strcmp(limit->name, name) != 0)
		limit = limit->next;
	if (limit != NULL)
		return limit;
	limit = aligned_alloc(64, (size + 63) / 64 * 64);
	if (limit == NULL)
		return NULL;
	memset(limit, 0, size);
	snprintf(limit->name, sizeof limit->name, "%s", name);
	limit->next = first;
	atomic_store(&metrics->limits, limit);
	return limit;
}

void metrics_request(struct worker_metrics *worker, enum metric_endpoint endpoint, unsigned status,
                     uint64_t duration_us)
{
	size_t bucket = 0;

	add(&worker->requests[endpoint][status / 100 < 6 ? status / 100 : 0], 1);
	while (bucket < METRIC_BUCKETS && duration_us > bounds_us[bucket])
		bucket++;
	add(&worker->duration_buckets[bucket], 1);
	add(&worker->duration_sum_us, duration_us);
}

void metrics_decision(struct limit_metrics *limit, size_t thread, enum store_decider decider, bool allowed)
{
	add(allowed ? &limit->cells[thread].allowed[decider] : &limit->cells[thread].denied[decider], 1);
}

static void write_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void write_one(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	write_head(out, name, type, help);
	fprintf(out, "%s %llu\n", name, (unsigned long long)value);
}

static void write_requests(FILE *out, const struct metrics *metrics)
{
	write_head(out, "sluice_requests_total", "counter", "Requests by endpoint and class of status.");
	for (size_t e = 0; e < METRIC_ENDPOINTS; e++) {
		for (size_t s = 0; s < 6; s++) {
			uint64_t sum = 0;

			for (size_t t = 0; t < metrics->threads; t++)
				sum += load(&metrics->workers[t].requests[e][s]);
			fprintf(out, "sluice_requests_total{endpoint=\"%s\",status=\"%s\"} %llu\n", endpoint_names[e],
			        status_names[s], (unsigned long long)sum);
		}
	}
}

static void write_durations(FILE *out, const struct metrics *metrics)
{
	uint64_t sum_us = 0, below = 0;

	write_head(out, "sluice_request_duration_seconds", "histogram",
	           "Time from the request's first line to the end of its answer.");
	for (size_t b = 0; b <= METRIC_BUCKETS; b++) {
		for (size_t t = 0; t < metrics->threads; t++)
			below += load(&metrics->workers[t].duration_buckets[b]);
		if (b < METRIC_BUCKETS)
			fprintf(out, "sluice_request_duration_seconds_bucket{le=\"%g\"} %llu\n",
			        (double)bounds_us[b] / 1e6, (unsigned long long)below);
		else
			fprintf(out, "sluice_request_duration_seconds_bucket{le=\"+Inf\"} %llu\n",
			        (unsigned long long)below);
	}
	for (size_t t = 0; t < metrics->threads; t++)
		sum_us += load(&metrics->workers[t].duration_sum_us);
	fprintf(out, "sluice_request_duration_seconds_sum %.6f\nsluice_request_duration_seconds_count %llu\n",
	        (double)sum_us / 1e6, (unsigned long long)below);
}

static void write_decisions(FILE *out, struct metrics *metrics)
{
	write_head(out, "sluice_decisions_total", "counter",
	           "Decisions by limit, outcome and who decided: the store, or a failure policy in its stead.");
	for (struct limit_metrics *limit = atomic_load(&metrics->limits); limit != NULL; limit = limit->next) {
		for (size_t d = 0; d < 4; d++) {
			uint64_t allowed = 0, denied = 0;

			for (size_t t = 0; t < metrics->threads; t++) {
				allowed += load(&limit->cells[t].allowed[d]);
				denied += load(&limit->cells[t].denied[d]);
			}
			fprintf(out,
			        "sluice_decisions_total{limit=\"%s\",outcome=\"allowed\",by=\"%s\"} %llu\n"
			        "sluice_decisions_total{limit=\"%s\",outcome=\"denied\",by=\"%s\"} %llu\n",
			        limit->name, decider_names[d], (unsigned long long)allowed, limit->name,
			        decider_names[d], (unsigned long long)denied);
		}
	}
}

/* Of a store that other servers share; of one in this process they are constant. */
static void write_shared_store(FILE *out, struct store *store, const struct store_stats *stats)
{
	struct failure_view view;

	failure_store_view(store, &view);
	write_one(out, "sluice_limiter_up", "gauge", "1 while the store can decide, 0 while on_failure does.",
	          view.ready);
	write_one(out, "sluice_limiter_servers", "gauge", "Servers that share the limits, as last seen.", view.servers);
	write_one(out, "sluice_limiter_connections", "gauge", "Connections to the store that are up.",
	          stats->connected);
	write_one(out, "sluice_limiter_module_connections", "gauge",
	          "Of these, to servers of Redis or Valkey that decide by Sluice's module.", stats->by_module);
	write_one(out, "sluice_limiter_commands_total", "counter", "Commands sent to the store.", stats->commands);
	write_one(out, "sluice_limiter_writes_total", "counter", "System calls that sent them.", stats->writes);
	write_one(out, "sluice_limiter_timeouts_total", "counter", "Commands that the store did not answer in time.",
	          stats->timeouts);
	write_one(out, "sluice_limiter_reconnects_total", "counter", "Connections to the store that were lost.",
	          stats->reconnects);
	write_one(out, "sluice_deny_cache_hits_total", "counter", "Denials given without asking the store.",
	          stats->deny_hits);
	write_one(out, "sluice_deny_cache_entries", "gauge",
	          "Denials remembered, also those whose time is up and whose place is free.", stats->deny_entries);
}

static void write_store(FILE *out, struct store *store, uint64_t max_keys)
{
	struct store_stats stats = { 0 };

	store_stats(store, &stats);
	write_one(out, "sluice_limiter_keys", "gauge", "Limiter states held.", stats.keys);
	write_one(out, "sluice_limiter_keys_max", "gauge", "How many may be held: limiter.max_keys.", max_keys);
	write_one(out, "sluice_limiter_bytes", "gauge", "Memory held for limiter states.", stats.bytes);
	write_one(out, "sluice_limiter_refused_total", "counter",
	          "Decisions that the store refused because it was full.", stats.refused);
	write_one(out, "sluice_limiter_expired_total", "counter", "Limiter states that had become empty.",
	          stats.expired);
	write_one(out, "sluice_limiter_errors_total", "counter", "Decisions that the store failed to make.",
	          stats.errors);
	write_shared_store(out, store, &stats);
}

static void write_links(FILE *out, struct links *links)
{
	struct links_stats stats = { 0 };

	links_stats(links, &stats);
	write_one(out, "sluice_links_up", "gauge", "1 while the database takes and gives links, 0 while it does not.",
	          links_ready(links));
	write_one(out, "sluice_link_cache_hits_total", "counter", "Redirects served from the link cache.",
	          stats.cache_hits);
	write_one(out, "sluice_link_cache_misses_total", "counter", "Redirects that asked the database.",
	          stats.cache_misses);
	write_one(out, "sluice_link_cache_entries", "gauge", "Links in the cache.", stats.cache_entries);
	write_one(out, "sluice_link_cache_bytes", "gauge", "Memory held by the link cache.", stats.cache_bytes);
	write_one(out, "sluice_link_reads_queued", "gauge", "Lookups waiting for the database.", stats.reads_queued);
	write_one(out, "sluice_link_writes_queued", "gauge", "New links waiting for the database.",
	          stats.writes_queued);
	write_one(out, "sluice_clicks_pending", "gauge", "Clicks counted and not yet written.", stats.clicks_pending);
	write_one(out, "sluice_clicks_lost_total", "counter", "Clicks dropped because too many were pending.",
	          stats.clicks_lost);
	write_one(out, "sluice_link_commits_total", "counter", "Transactions that wrote new links.", stats.commits);
	write_one(out, "sluice_links_created_total", "counter", "New links.", stats.creates);
	write_one(out, "sluice_link_errors_total", "counter", "Operations that the database failed.", stats.errors);
	write_one(out, "sluice_link_refused_total", "counter", "Operations refused because a queue was full.",
	          stats.refused);
}

static void write_http(FILE *out, const struct metrics *metrics)
{
	uint64_t accepted = 0, refused = 0, open = 0, timed_out = 0, broken = 0;

	for (size_t t = 0; t < metrics->threads; t++) {
		const struct http_stats *http = &metrics->sources.http[t];

		accepted += load(&http->accepted);
		refused += load(&http->refused);
		open += load(&http->open);
		timed_out += load(&http->timed_out);
		broken += load(&http->broken);
	}
	write_one(out, "sluice_connections_accepted_total", "counter", "Connections accepted.", accepted);
	write_one(out, "sluice_connections_refused_total", "counter",
	          "Connections ended at once: their client holds too many.", refused);
	write_one(out, "sluice_connections_open", "gauge", "Connections open.", open);
	write_one(out, "sluice_connections_max", "gauge", "How many may be open: server.max_connections.",
	          metrics->sources.max_connections);
	write_one(out, "sluice_connections_timed_out_total", "counter",
	          "Connections ended because a request did not come in time.", timed_out);
	write_one(out, "sluice_connection_errors_total", "counter", "Broken connections and unreadable requests.",
	          broken);
}

/* By this, and not by counters that begin anew, a restart is seen: those of a server that nobody asks stay where they
 * were. */
static void write_start(FILE *out, const struct metrics *metrics)
{
	write_head(out, "sluice_start_time_seconds", "gauge", "When the server was started, in seconds since 1970.");
	fprintf(out, "sluice_start_time_seconds %llu.%06llu\n", (unsigned long long)(metrics->made_us / 1000000),
	        (unsigned long long)(metrics->made_us % 1000000));
}

size_t metrics_write(struct metrics *metrics, char **text)
{
	size_t len = 0;
	FILE *out = open_memstream(text, &len);

	if (out == NULL)
		return 0;
	write_start(out, metrics);
	write_decisions(out, metrics);
	write_requests(out, metrics);
	write_durations(out, metrics);
	write_store(out, metrics->sources.store, metrics->sources.max_keys);
	write_links(out, metrics->sources.links);
	write_http(out, metrics);
	if (metrics->sources.access_log != NULL)
		write_one(out, "sluice_access_log_dropped_total", "counter",
		          "Log lines dropped because the log file could not keep up, or be written.",
		          access_log_dropped(metrics->sources.access_log));
	if (fclose(out) != 0) {
		free(*text);
		return 0;
	}
	return len;
}

void metrics_free(struct metrics *metrics)
{
	struct limit_metrics *limit = atomic_load(&metrics->limits);

	while (limit != NULL) {
		struct limit_metrics *next = limit->next;

		free(limit);
		limit = next;
	}
	free(metrics->workers);
	free(metrics);
}
