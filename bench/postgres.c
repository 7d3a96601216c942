/* SPDX-License-Identifier: Apache-2.0 */
/*
 * postgres.c: what a new link and a link outside the cache cost with PostgreSQL, beside SQLite and beside a plain
 * client.
 *
 * 64 clients that each wait for their answer ask through the store, on one loop thread with one connection. The plain
 * client has one connection, too, and one round trip a request: prepared INSERT ... ON CONFLICT ... RETURNING,
 * committed by itself, and prepared SELECT. SQLite is our own store. All in turns, on the same disk. CPU time is that
 * of this process, all its threads, without the database (but SQLite is in the process).
 *
 * usage: bench_postgres URI [FOLDER]   (bench/postgres.py starts a PostgreSQL and runs this)
 */
#include <inttypes.h>
#include <libpq-fe.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "links/code.h"
#include "links/links.h"
#include "links/postgres.h"
#include "links/sqlite.h"

#define CLIENTS 64
#define ROUNDS 5
#define ROUND_US UINT64_C(1000000)
#define CODES 4096
#define HITS 5000000

enum contender { POSTGRES, SQLITE, PLAIN, CONTENDERS };

static const char *const names[] = { "PostgreSQL", "SQLite", "plain client" };

struct bench {
	uv_loop_t loop;
	struct mailbox box;
	struct links *links; /* that is asked now */
	enum links_verb verb;
	uint64_t until_us, done;
	unsigned active;
	char (*codes)[LINK_CODE_MAX + 1];
};

struct client {
	struct links_op op; /* first */
	struct bench *bench;
	char url[LINK_URL_MAX + 1];
};

struct figures {
	double per_second[ROUNDS], cpu_us[ROUNDS];
};

static uint64_t serial; /* makes each URL new */

static void die(const char *what)
{
	fprintf(stderr, "bench_postgres: %s\n", what);
	exit(1);
}

static size_t new_url(char *url)
{
	return (size_t)sprintf(
		url, "https://www.example.com/articles/2026/01/a-title-of-some-length-%" PRIu64 "?ref=bench", serial++);
}

static uint64_t cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
	       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void submit(struct client *client);

static void on_done(struct links_op *op)
{
	struct client *client = (struct client *)op;

	if (op->outcome != (op->verb == LINKS_CREATE ? LINKS_CREATED : LINKS_FOUND))
		die("an operation failed");
	client->bench->done++;
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
	client->op = (struct links_op){ .verb = bench->verb, .mailbox = &bench->box, .done = on_done };
	client->op.url = client->url;
	if (bench->verb == LINKS_CREATE)
		client->op.url_len = new_url(client->url);
	else
		strcpy(client->op.code, bench->codes[serial++ % CODES]);
	if (links_submit(bench->links, &client->op) != LINKS_PENDING)
		die("an operation did not go to the database");
}

static void run_store(struct bench *bench, struct client *clients)
{
	bench->done = 0;
	bench->active = CLIENTS;
	for (int i = 0; i < CLIENTS; i++) {
		clients[i].bench = bench;
		submit(&clients[i]);
	}
	uv_run(&bench->loop, UV_RUN_DEFAULT);
}

static PGconn *open_plain(const char *uri)
{
	PGconn *conn = PQconnectdb(uri);
	PGresult *result =
		PQexec(conn, "PREPARE new_link (text, text, bytea) AS INSERT INTO links (code, url, url_sha256)"
	                     " VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING code;"
	                     "PREPARE find (text) AS SELECT url FROM links WHERE code = $1");

	if (PQresultStatus(result) != PGRES_COMMAND_OK)
		die(PQerrorMessage(conn));
	PQclear(result);
	return conn;
}

static void plain_one(struct bench *bench, PGconn *conn)
{
	unsigned char sha256[32];
	char url[LINK_URL_MAX + 1], code[LINK_CODE_MAX + 1];
	const char *values[] = { code, url, (const char *)sha256 };
	const int formats[] = { 0, 0, 1 };
	PGresult *result;

	if (bench->verb == LINKS_CREATE) {
		int lengths[] = { 0, 0, 32 };

		crypto_hash_sha256(sha256, (const unsigned char *)url, new_url(url));
		code_draw(code);
		result = PQexecPrepared(conn, "new_link", 3, values, lengths, formats, 0);
	} else {
		strcpy(code, bench->codes[serial++ % CODES]);
		result = PQexecPrepared(conn, "find", 1, values, NULL, NULL, 0);
	}
	if (PQntuples(result) != 1)
		die(PQerrorMessage(conn));
	PQclear(result);
}

static void run_plain(struct bench *bench, PGconn *conn)
{
	for (bench->done = 0; clock_mono_us() < bench->until_us; bench->done++)
		plain_one(bench, conn);
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

static void compare(struct bench *bench, struct links *const *stores, PGconn *plain,
                    char (*codes[2])[LINK_CODE_MAX + 1], const char *title)
{
	static struct client clients[CLIENTS];
	static struct figures figures[CONTENDERS];
	double rate[CONTENDERS], cpu[CONTENDERS];

	for (int round = 0; round < ROUNDS; round++) {
		for (int who = 0; who < CONTENDERS; who++) {
			uint64_t start_us = clock_mono_us(), before_us = cpu_us();

			bench->until_us = start_us + ROUND_US;
			bench->codes = codes[who == SQLITE ? SQLITE : POSTGRES];
			bench->links = stores[who];
			if (who == PLAIN)
				run_plain(bench, plain);
			else
				run_store(bench, clients);
			figures[who].per_second[round] =
				(double)bench->done * 1e6 / (double)(clock_mono_us() - start_us);
			figures[who].cpu_us[round] = (double)(cpu_us() - before_us) / (double)bench->done;
		}
	}
	printf("%s\n", title);
	for (int who = 0; who < CONTENDERS; who++) {
		rate[who] = median(figures[who].per_second);
		cpu[who] = median(figures[who].cpu_us);
		printf("  %-14s %9.0f a second  %6.1f us of CPU each\n", names[who], rate[who], cpu[who]);
	}
	printf("  ratios, PostgreSQL / plain client: %.1f times as many, %.2f of the CPU\n",
	       rate[POSTGRES] / rate[PLAIN], cpu[POSTGRES] / cpu[PLAIN]);
}

/* Makes links that the look-ups ask for. */
static void seed(struct bench *bench, struct links *links, char (*codes)[LINK_CODE_MAX + 1])
{
	static struct client client;

	client.bench = bench;
	bench->links = links;
	bench->until_us = 0; /* on_done() asks for no more */
	for (int i = 0; i < CODES; i++) {
		client.op = (struct links_op){ .verb = LINKS_CREATE, .mailbox = &bench->box, .url = client.url };
		client.op.url_len = new_url(client.url);
		client.op.done = on_done;
		bench->active = 1;
		if (links_submit(links, &client.op) != LINKS_PENDING)
			die("a create was refused");
		uv_run(&bench->loop, UV_RUN_DEFAULT);
		strcpy(codes[i], client.op.code);
	}
}

static void bench_hits(struct bench *bench, struct links *links, char (*codes)[LINK_CODE_MAX + 1], const char *name)
{
	static struct client client;
	uint64_t start_us;

	seed(bench, links, codes);
	client.op = (struct links_op){ .verb = LINKS_RESOLVE, .mailbox = &bench->box, .url = client.url };
	start_us = clock_mono_us();
	for (unsigned i = 0; i < HITS; i++) {
		memcpy(client.op.code, codes[i % CODES], LINK_CODE_LENGTH + 1);
		if (links_submit(links, &client.op) != LINKS_DONE || client.op.outcome != LINKS_FOUND)
			die("a link has left the cache");
	}
	printf("  %-14s %.0f ns\n", name, (double)(clock_mono_us() - start_us) * 1e3 / HITS);
}

static struct links *open_store(struct bench *bench, enum contender who, const char *where, uint64_t cache_bytes)
{
	struct links_postgres_config postgres = { .uri = where,
		                                  .cache_bytes = cache_bytes,
		                                  .queue = 1000,
		                                  .click_interval_ms = 1000,
		                                  .timeout_ms = 10000,
		                                  .threads = 1 };
	struct links_sqlite_config sqlite = {
		.path = where, .cache_bytes = cache_bytes, .queue = 1000, .click_interval_ms = 1000
	};
	char why[1024];
	struct links *links = who == POSTGRES ? links_postgres_open(&postgres, why, sizeof why)
	                                      : links_sqlite_open(&sqlite, why, sizeof why);

	if (links == NULL)
		die(why);
	if (links_attach(links, 0, &bench->loop) != 0)
		die("can't attach");
	return links;
}

static void close_store(struct bench *bench, struct links *links)
{
	links_detach(links, 0);
	uv_run(&bench->loop, UV_RUN_NOWAIT);
	links_close(links);
}

int main(int argc, char **argv)
{
	static char codes[2][CODES][LINK_CODE_MAX + 1];
	char(*both[2])[LINK_CODE_MAX + 1] = { codes[POSTGRES], codes[SQLITE] };
	char folder[4096], path[4200], command[4200];
	struct links *stores[CONTENDERS] = { NULL };
	struct bench bench = { 0 };
	PGconn *plain;

	if (argc < 2)
		die("usage: bench_postgres URI [FOLDER]");
	snprintf(folder, sizeof folder, "%s/sluice-bench-XXXXXX", argc > 2 ? argv[2] : ".");
	if (sodium_init() < 0 || mkdtemp(folder) == NULL)
		die("can't make a folder");
	snprintf(path, sizeof path, "%s/links.db", folder);
	if (uv_loop_init(&bench.loop) != 0 || mailbox_open(&bench.box, &bench.loop) != 0)
		die("can't make a loop");
	stores[POSTGRES] = open_store(&bench, POSTGRES, argv[1], 0);
	stores[SQLITE] = open_store(&bench, SQLITE, path, 0);
	plain = open_plain(argv[1]);
	compare(&bench, stores, plain, both, "new links, 64 clients, durable");
	for (int who = 0; who < 2; who++)
		seed(&bench, stores[who], codes[who]);
	bench.verb = LINKS_RESOLVE;
	compare(&bench, stores, plain, both, "look-ups outside the cache, 64 clients");
	puts("look-up in the cache");
	for (int who = 0; who < 2; who++) {
		close_store(&bench, stores[who]);
		stores[who] = open_store(&bench, (enum contender)who, who == POSTGRES ? argv[1] : path, 64 << 20);
		bench_hits(&bench, stores[who], codes[who], names[who]);
		close_store(&bench, stores[who]);
	}
	PQfinish(plain);
	mailbox_close(&bench.box);
	uv_run(&bench.loop, UV_RUN_DEFAULT);
	uv_loop_close(&bench.loop);
	snprintf(command, sizeof command, "rm -rf '%s'", folder);
	return system(command) == 0 ? 0 : 1;
}
