/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shorten.c: what group commit gives, and what a cached redirect costs in the link store.
 *
 * 64 clients that each wait for their answer create new URLs through the store; beside it, in turns on the same disk, a
 * program commits each URL by itself with the same schema and the same settings of SQLite. Then single-thread times of
 * a cache hit and of counting a click.
 *
 * usage: bench_shorten [FOLDER]   (default: the current one; the disk under it is what is measured)
 */
#include <fcntl.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "links/links.h"
#include "links/sqlite.h"
#include "links/sqlite_db.h"

#define CLIENTS 64
#define ROUNDS 5
#define ROUND_US UINT64_C(1000000)
#define HOT_LINKS 10000
#define HITS 5000000

struct bench {
	uv_loop_t loop;
	struct mailbox box;
	struct links *links;
	uint64_t until_us;
	uint64_t created;
	unsigned active;
	uint64_t serial; /* makes each URL new */
};

struct client {
	struct links_op op; /* first */
	struct bench *bench;
	char url[LINK_URL_MAX + 1];
};

static void die(const char *what)
{
	fprintf(stderr, "bench_shorten: %s\n", what);
	exit(1);
}

static size_t new_url(struct bench *bench, char *url)
{
	return (size_t)sprintf(url,
	                       "https://www.example.com/articles/2026/01/a-title-of-some-length-%" PRIu64 "?ref=bench",
	                       bench->serial++);
}

static void submit(struct client *client);

static void on_done(struct links_op *op)
{
	struct client *client = (struct client *)op;

	if (op->outcome != LINKS_CREATED)
		die("a create failed");
	client->bench->created++;
	submit(client);
}

static void submit(struct client *client)
{
	struct bench *bench = client->bench;

	if (clock_mono_us() >= bench->until_us) {
		if (--bench->active == 0)
			uv_stop(&bench->loop);
		return;
	}
	client->op = (struct links_op){ .verb = LINKS_CREATE, .mailbox = &bench->box, .done = on_done };
	client->op.url = client->url;
	client->op.url_len = new_url(bench, client->url);
	if (links_submit(bench->links, &client->op) != LINKS_PENDING)
		die("a create was refused");
}

/* @return URLs a second. */
static double run_grouped(struct bench *bench, struct client *clients)
{
	uint64_t start_us = clock_mono_us();

	bench->created = 0;
	bench->active = CLIENTS;
	bench->until_us = start_us + ROUND_US;
	for (int i = 0; i < CLIENTS; i++) {
		clients[i].bench = bench;
		submit(&clients[i]);
	}
	uv_run(&bench->loop, UV_RUN_DEFAULT);
	return (double)bench->created * 1e6 / (double)(clock_mono_us() - start_us);
}

static double run_single(struct bench *bench, struct db *db)
{
	uint64_t start_us = clock_mono_us(), created = 0;

	while (clock_mono_us() - start_us < ROUND_US) {
		char url[LINK_URL_MAX + 1];
		unsigned char sha256[32];
		struct link_record record = { .url = url,
			                      .url_len = new_url(bench, url),
			                      .created_us = clock_wall_us() };
		enum db_put result;

		crypto_hash_sha256(sha256, (const unsigned char *)url, record.url_len);
		if (db_run(db, DB_BEGIN_WRITE) != SQLITE_OK || db_put(db, &record, sha256, &result) != SQLITE_OK ||
		    db_run(db, DB_COMMIT) != SQLITE_OK)
			die("a commit failed");
		created++;
	}
	return (double)created * 1e6 / (double)(clock_mono_us() - start_us);
}

/* What the disk asks for one small durable write: the fewer microseconds, the less there is to gain by sharing it. */
static double sync_us(const char *folder)
{
	enum { SYNCS = 200 };
	static const char block[4096];
	char path[4200];
	uint64_t start_us;
	int fd;

	snprintf(path, sizeof path, "%s/sync", folder);
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		die("can't make a file");
	start_us = clock_mono_us();
	for (int i = 0; i < SYNCS; i++) {
		if (pwrite(fd, block, sizeof block, 0) != (ssize_t)sizeof block || fdatasync(fd) != 0)
			die("can't write");
	}
	close(fd);
	return (double)(clock_mono_us() - start_us) / SYNCS;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *values)
{
	qsort(values, ROUNDS, sizeof *values, by_size);
	return values[ROUNDS / 2];
}

static void bench_creates(struct bench *bench, struct db *db)
{
	static struct client clients[CLIENTS];
	double grouped[ROUNDS], single[ROUNDS], g, s;
	struct links_stats stats;

	for (int round = 0; round < ROUNDS; round++) {
		single[round] = run_single(bench, db);
		grouped[round] = run_grouped(bench, clients);
	}
	g = median(grouped);
	s = median(single);
	links_stats(bench->links, &stats);
	printf("durable creates, one commit each:      %8.0f a second\n", s);
	printf("durable creates, %d clients, grouped:  %8.0f a second (%.1f links a commit)\n", CLIENTS, g,
	       (double)stats.creates / (double)stats.commits);
	printf("ratio: %.1f\n", g / s);
}

static void seed_hot(struct bench *bench, struct client *client, char (*codes)[LINK_CODE_MAX + 1])
{
	client->bench = bench;
	for (int i = 0; i < HOT_LINKS; i++) {
		client->op = (struct links_op){ .verb = LINKS_CREATE, .mailbox = &bench->box, .url = client->url };
		client->op.url_len = new_url(bench, client->url);
		client->op.done = on_done;
		bench->until_us = 0; /* on_done() asks for no more */
		bench->active = 1;
		if (links_submit(bench->links, &client->op) != LINKS_PENDING)
			die("a create was refused");
		uv_run(&bench->loop, UV_RUN_DEFAULT);
		strcpy(codes[i], client->op.code);
	}
}

static double ns_each(uint64_t start_us)
{
	return (double)(clock_mono_us() - start_us) * 1e3 / HITS;
}

static void bench_hits(struct bench *bench)
{
	static struct client client;
	static char codes[HOT_LINKS][LINK_CODE_MAX + 1];
	uint64_t start_us, wall_us = clock_wall_us();

	seed_hot(bench, &client, codes);
	client.op.verb = LINKS_RESOLVE;
	start_us = clock_mono_us();
	for (unsigned i = 0; i < HITS; i++) {
		memcpy(client.op.code, codes[i % HOT_LINKS], LINK_CODE_LENGTH + 1);
		if (links_submit(bench->links, &client.op) != LINKS_DONE)
			die("a link has left the cache");
	}
	printf("resolve, cached:  %.0f ns\n", ns_each(start_us));
	start_us = clock_mono_us();
	for (unsigned i = 0; i < HITS; i++)
		links_click(bench->links, codes[i % HOT_LINKS], wall_us);
	printf("click:            %.0f ns\n", ns_each(start_us));
	client.op.verb = LINKS_CREATE;
	client.op.url_len = strlen(client.url);
	start_us = clock_mono_us();
	for (unsigned i = 0; i < HITS; i++) {
		if (links_submit(bench->links, &client.op) != LINKS_DONE)
			die("a URL has left the cache");
	}
	printf("shorten again:    %.0f ns\n", ns_each(start_us));
}

int main(int argc, char **argv)
{
	char folder[4096], grouped_path[4200], single_path[4200], why[512], command[4200];
	struct links_sqlite_config config = {
		.path = grouped_path, .cache_bytes = 64 << 20, .queue = 1000, .click_interval_ms = 1000
	};
	struct bench bench = { 0 };
	struct db db;

	snprintf(folder, sizeof folder, "%s/sluice-bench-XXXXXX", argc > 1 ? argv[1] : ".");
	if (sodium_init() < 0 || mkdtemp(folder) == NULL)
		die("can't make a folder");
	snprintf(grouped_path, sizeof grouped_path, "%s/grouped.db", folder);
	snprintf(single_path, sizeof single_path, "%s/single.db", folder);
	if (uv_loop_init(&bench.loop) != 0 || mailbox_open(&bench.box, &bench.loop) != 0)
		die("can't make a loop");
	if ((bench.links = links_sqlite_open(&config, why, sizeof why)) == NULL ||
	    db_open(&db, single_path, true, why, sizeof why) != 0)
		die(why);
	printf("fdatasync of 4 KiB on this disk:       %8.0f us\n", sync_us(folder));
	bench_creates(&bench, &db);
	bench_hits(&bench);
	db_close(&db);
	links_close(bench.links);
	mailbox_close(&bench.box);
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	uv_loop_close(&bench.loop);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command) == 0 ? 0 : 1;
}
