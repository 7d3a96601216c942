/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_gather.c: takes that leave together for a server with our module, a server of the test that answers as it is
 * told: who goes with whom, and that each op ends once, with its own answer, whatever happens on the way.
 *
 * What a real module decides is tested in tests/integration/test_redis_module.py.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "base/clock.h"
#include "base/log.h"
#include "store/redis/decision.h"
#include "store/redis/little.h"
#include "store/redis/redis.h"
#include "store/redis/script.h"
#include "store/redis/test_server.h"
#include "store/test_alloc.h"

#define SECOND UINT64_C(1000000)
#define LEN REDIS_DECISION_LEN
#define KEYS_MAX 128

#define OOM "-OOM command not allowed when used memory > 'maxmemory'.\r\n"

/* What the server does with takes. */
enum manner {
	WELL,      /* the n-th key of a command has n units left */
	ABSENT,    /* it has no module */
	FORGOTTEN, /* it has one until the first take comes after the greeting */
	FORBIDDEN, /* its user may ask for the module, but not call it */
	FULL,      /* OOM, also to the script, but to denials */
	BUSY,      /* by a script of another program */
	SILENT,    /* no answer */
	FAULTY,    /* the second key of each command has another type, the third a malformed state */
	SHORT,     /* an answer for one key less */
	NONSENSE,  /* the second key's answer can be none */
	INTEGER,   /* an answer of another kind */
	DENYING,   /* denied */
	ENDING,    /* the right answer, and then what is no reply */
};

struct plan {
	enum manner manner;    /* atomic */
	unsigned mtakes, keys; /* atomic: commands; keys in all of them. Those of the greeting count */
	unsigned largest;      /* atomic: keys of one command */
	unsigned evalshas;     /* atomic */
};

static unsigned get(const unsigned *figure)
{
	return __atomic_load_n(figure, __ATOMIC_ACQUIRE);
}

static void add(unsigned *figure, unsigned n)
{
	__atomic_add_fetch(figure, n, __ATOMIC_ACQ_REL);
}

static bool say(int fd, const char *words)
{
	return test_peer_write(fd, words, strlen(words));
}

static void put_answer(uint8_t *at, unsigned flags, unsigned remaining)
{
	memset(at, 0, LEN);
	at[0] = (uint8_t)flags;
	if (flags <= 1)
		put_double(put_double(put_double(put32(at + 1, remaining), flags == 1 ? 0 : 1e6), 60e6), 1.7e15);
}

/* In one write: the kernel waits with a second one. */
static bool answer_takes(int fd, enum manner manner, unsigned n)
{
	uint8_t reply[LEN * KEYS_MAX + 64];
	size_t len;

	len = (size_t)sprintf((char *)reply, "$%u\r\n", (n - (manner == SHORT)) * LEN);
	for (unsigned i = 0; i < n - (manner == SHORT); i++, len += LEN)
		put_answer(reply + len,
		           manner == DENYING            ? 0
		           : manner == FAULTY && i == 1 ? 8
		           : manner == FAULTY && i == 2 ? 4
		                                        : 1,
		           i);
	if (manner == NONSENSE)
		reply[len - (size_t)(n - 1) * LEN] = 0xff;
	len += (size_t)sprintf((char *)reply + len, manner == ENDING ? "\r\nnonsense\r\n" : "\r\n");
	return test_peer_write(fd, reply, len);
}

/* A connection, as the server sees it. */
struct client {
	bool greeting; /* the next take belongs to it */
	bool silent;   /* for ever */
};

static bool on_mtake(struct plan *plan, int fd, unsigned n, struct client *client)
{
	bool greeting = client->greeting;
	enum manner manner = __atomic_load_n(&plan->manner, __ATOMIC_ACQUIRE);

	client->greeting = false;
	add(&plan->mtakes, 1);
	add(&plan->keys, n);
	if (n > get(&plan->largest))
		__atomic_store_n(&plan->largest, n, __ATOMIC_RELEASE);
	if (manner == FORBIDDEN)
		return say(fd, "-NOPERM User default has no permissions to run the 'sluice.mtake' command\r\n");
	if (greeting)
		return answer_takes(fd, WELL, n);
	if (manner == FORGOTTEN)
		return say(fd, "-ERR unknown command 'SLUICE.MTAKE', with args beginning with: 'EACH' '1' \r\n");
	if (manner == FULL)
		return say(fd, OOM);
	if (manner == BUSY)
		return say(fd, "-BUSY Redis is busy running a script.\r\n");
	if (manner == INTEGER)
		return say(fd, ":29\r\n");
	client->silent = manner == SILENT;
	return client->silent || answer_takes(fd, manner, n);
}

static bool on_command(struct plan *plan, int fd, const struct test_words *words, struct client *client)
{
	const char *name = words->words[0];

	if (client->silent)
		return true;
	if (strcmp(name, "SLUICE.INFO") == 0) {
		client->greeting = true;
		if (__atomic_load_n(&plan->manner, __ATOMIC_ACQUIRE) == ABSENT)
			return say(fd, "-ERR unknown command 'SLUICE.INFO', with args beginning with: \r\n");
		return say(fd, "*4\r\n$12\r\nstate_format\r\n:1\r\n$13\r\npacked_format\r\n:1\r\n");
	}
	if (strcmp(name, "SLUICE.MTAKE") == 0)
		return on_mtake(plan, fd, (unsigned)atoi(words->words[2]), client);
	if (strcmp(name, "EVALSHA") == 0) {
		add(&plan->evalshas, 1);
		if (__atomic_load_n(&plan->manner, __ATOMIC_ACQUIRE) == FULL)
			return get(&plan->evalshas) == 1 ? answer_takes(fd, DENYING, (unsigned)atoi(words->words[2]))
			                                 : say(fd, OOM);
		return answer_takes(fd, WELL, (unsigned)atoi(words->words[2]));
	}
	if (strcmp(name, "EVAL") == 0) /* the heartbeat: one server, generation 1 */
		return test_peer_write(fd, "$12\r\n\1\0\0\0\0\0\0\0\0\0\xf0\x3f\r\n", 19);
	if (strcmp(name, "SCRIPT") == 0) {
		char sha[64];

		snprintf(sha, sizeof sha, "$40\r\n%s\r\n", redis_script_sha());
		return say(fd, sha);
	}
	return say(fd, strcmp(name, "INFO") == 0 ? "$-1\r\n" : strcmp(name, "ZREM") == 0 ? ":1\r\n" : "+OK\r\n");
}

static void serve(struct test_peer *peer, int fd, unsigned nth)
{
	FILE *from = fdopen(dup(fd), "r");
	struct test_words words;
	struct client client = { 0 };

	(void)nth;
	if (from == NULL)
		return;
	while (test_peer_command(from, &words) && on_command(peer->context, fd, &words, &client))
		;
	fclose(from);
}

/* A store with one thread, on a loop of the test. */
struct rig {
	struct plan plan;
	struct test_peer peer;
	uv_loop_t loop;
	uv_timer_t guard;
	struct store *store;
	uint64_t patience_until_us;
};

struct take {
	struct store_op op; /* first */
	struct rig *rig;
	unsigned ended;
	struct take *then; /* submitted when this one ends, with those after it */
	char keys[STORE_TAKES_MAX][8];
};

static struct sluice_policy policy;

static void on_guard(uv_timer_t *guard)
{
	struct rig *rig = guard->data;

	if (clock_mono_us() >= rig->patience_until_us)
		fail_msg("what was to come did not come");
}

static void run_until(struct rig *rig, bool (*until)(struct rig *rig, const void *context), const void *context)
{
	rig->patience_until_us = clock_mono_us() + 20 * SECOND;
	while (!until(rig, context))
		uv_run(&rig->loop, UV_RUN_ONCE);
}

static bool is_ready(struct rig *rig, const void *context)
{
	(void)context;
	return store_ready(rig->store);
}

static void open_rig(struct rig *rig, enum manner manner)
{
	char url[64], why[256];
	struct redis_store_config config = {
		.url = url, .prefix = "p:", .threads = 1, .timeout_us = 20 * SECOND, .heartbeat = true
	};

	memset(rig, 0, sizeof *rig);
	rig->plan.manner = manner;
	test_peer_start(&rig->peer, serve, &rig->plan);
	snprintf(url, sizeof url, "redis://127.0.0.1:%u", rig->peer.port);
	assert_int_equal(uv_loop_init(&rig->loop), 0);
	uv_timer_init(&rig->loop, &rig->guard);
	rig->guard.data = rig;
	uv_timer_start(&rig->guard, on_guard, 5, 5);
	rig->store = redis_store_open(&config, why, sizeof why);
	assert_non_null(rig->store);
	assert_int_equal(store_attach(rig->store, 0, &rig->loop), 0);
	run_until(rig, is_ready, NULL);
}

static void close_rig(struct rig *rig)
{
	uv_close((uv_handle_t *)&rig->guard, NULL);
	store_detach(rig->store, 0);
	uv_run(&rig->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&rig->loop), 0);
	store_close(rig->store);
	test_peer_stop(&rig->peer);
}

static void on_done(struct store_op *op)
{
	struct take *take = (struct take *)op, *next = take->then;

	take->ended++;
	take->then = NULL;
	while (next != NULL) {
		take = next;
		next = take->then;
		take->then = NULL;
		assert_int_equal(store_submit(take->rig->store, &take->op), STORE_PENDING);
	}
}

static void make(struct rig *rig, struct take *take, unsigned n, uint64_t timeout_us)
{
	memset(take, 0, sizeof *take);
	take->rig = rig;
	take->op.verb = STORE_TAKE;
	take->op.n = (uint8_t)n;
	take->op.done = on_done;
	take->op.deadline_us = clock_mono_us() + timeout_us;
	for (unsigned i = 0; i < n; i++) {
		snprintf(take->keys[i], sizeof take->keys[i], "%c:{x}", '0' + (int)i);
		take->op.takes[i] =
			(struct store_take){ .policy = &policy, .key = take->keys[i], .key_len = 5, .cost = 1 };
	}
}

static void submit(struct rig *rig, struct take *take, unsigned n)
{
	make(rig, take, n, 20 * SECOND);
	assert_int_equal(store_submit(rig->store, &take->op), STORE_PENDING);
	assert_int_equal(take->ended, 0);
}

struct takes {
	const struct take *first;
	unsigned n;
};

static bool all_ended(struct rig *rig, const void *context)
{
	const struct takes *takes = context;

	(void)rig;
	for (unsigned i = 0; i < takes->n; i++) {
		assert_true(takes->first[i].ended <= 1);
		if (takes->first[i].ended == 0)
			return false;
	}
	return true;
}

static void run_ended(struct rig *rig, const struct take *takes, unsigned n)
{
	run_until(rig, all_ended, &(struct takes){ takes, n });
}

/* Each key has what the server left for the n-th of a command. */
static void check_allowed(const struct take *take, unsigned first)
{
	assert_int_equal(take->op.error, 0);
	assert_true(take->op.allowed);
	for (unsigned i = 0; i < take->op.n; i++)
		assert_int_equal(take->op.takes[i].decision.remaining, first + i);
}

static uint64_t by_module(const struct rig *rig)
{
	struct store_stats stats;

	store_stats(rig->store, &stats);
	assert_int_equal(stats.connected, 1);
	return stats.by_module;
}

static void one_turn_is_one_command(void **state)
{
	static const unsigned sizes[] = { 1, 10, 1, 2, 1, 7, 3 };
	struct take takes[7];
	struct rig rig;
	unsigned at = 0;

	(void)state;
	open_rig(&rig, WELL);
	assert_int_equal(by_module(&rig), 1);
	for (unsigned i = 0; i < 7; i++)
		submit(&rig, &takes[i], sizes[i]);
	run_ended(&rig, takes, 7);
	for (unsigned i = 0; i < 7; at += sizes[i++])
		check_allowed(&takes[i], at);
	assert_int_equal(get(&rig.plan.mtakes), 1 + 1); /* with that of the greeting */
	assert_int_equal(get(&rig.plan.keys), 1 + 25);
	assert_int_equal(get(&rig.plan.evalshas), 0);
	submit(&rig, &takes[0], 1); /* alone in its turn */
	run_ended(&rig, takes, 1);
	check_allowed(&takes[0], 0);
	close_rig(&rig);
}

/* No command has more than so many keys, and none has a part of an op. */
static void many_are_several_commands(void **state)
{
	static struct take takes[300];
	struct rig rig;

	(void)state;
	open_rig(&rig, WELL);
	for (unsigned i = 0; i < 300; i++)
		submit(&rig, &takes[i], 1);
	run_ended(&rig, takes, 300);
	for (unsigned i = 0; i < 300; i++)
		check_allowed(&takes[i], i % KEYS_MAX);
	assert_int_equal(get(&rig.plan.mtakes), 1 + 3);
	assert_int_equal(get(&rig.plan.largest), KEYS_MAX);
	for (unsigned i = 0; i < 26; i++)
		submit(&rig, &takes[i], 10);
	run_ended(&rig, takes, 26);
	for (unsigned i = 0; i < 26; i++)
		check_allowed(&takes[i], i % 12 * 10);
	assert_int_equal(get(&rig.plan.mtakes), 1 + 3 + 3);
	close_rig(&rig);
}

static void others_go_to_the_script(void **state)
{
	struct take takes[2];
	struct rig rig;

	(void)state;
	open_rig(&rig, WELL);
	make(&rig, &takes[0], 2, 20 * SECOND);
	takes[0].op.verb = STORE_PEEK;
	assert_int_equal(store_submit(rig.store, &takes[0].op), STORE_PENDING);
	submit(&rig, &takes[1], 1);
	run_ended(&rig, takes, 2);
	check_allowed(&takes[0], 0);
	check_allowed(&takes[1], 0);
	assert_int_equal(get(&rig.plan.evalshas), 1);
	assert_int_equal(get(&rig.plan.mtakes), 1 + 1);
	close_rig(&rig);
}

/* The module went away. What had been asked of it was not carried out, and the script decides it: nobody notices. */
static void a_module_that_goes(void **state)
{
	static struct take takes[200];
	struct rig rig;

	(void)state;
	open_rig(&rig, FORGOTTEN);
	assert_int_equal(by_module(&rig), 1);
	for (unsigned i = 0; i < 200; i++)
		submit(&rig, &takes[i], 1 + i % 2);
	run_ended(&rig, takes, 200);
	for (unsigned i = 0; i < 200; i++)
		check_allowed(&takes[i], 0);
	assert_int_equal(get(&rig.plan.evalshas), 200);
	assert_int_equal(by_module(&rig), 0);
	submit(&rig, &takes[0], 1);
	run_ended(&rig, takes, 1);
	assert_int_equal(get(&rig.plan.evalshas), 201);
	assert_int_equal(get(&rig.plan.mtakes), 1 + 3);
	assert_int_equal(get(&rig.peer.accepted), 1);
	close_rig(&rig);
}

static void no_module_or_no_right(void **state)
{
	static const enum manner manners[] = { ABSENT, FORBIDDEN };
	struct take take;
	struct rig rig;

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		open_rig(&rig, manners[i]);
		assert_int_equal(by_module(&rig), 0);
		submit(&rig, &take, 3);
		run_ended(&rig, &take, 1);
		check_allowed(&take, 0);
		assert_int_equal(get(&rig.plan.evalshas), 1 + 1);
		assert_int_equal(get(&rig.plan.mtakes), manners[i] == FORBIDDEN);
		assert_int_equal(get(&rig.peer.accepted), 1);
		close_rig(&rig);
	}
}

static bool has_module(struct rig *rig, const void *context)
{
	struct store_stats stats;

	(void)context;
	store_stats(rig->store, &stats);
	return stats.by_module == 1;
}

/* A module that comes later is found with the next connection. */
static void a_module_that_comes(void **state)
{
	struct take take;
	struct rig rig;

	(void)state;
	open_rig(&rig, ABSENT);
	assert_int_equal(by_module(&rig), 0);
	__atomic_store_n(&rig.plan.manner, WELL, __ATOMIC_RELEASE);
	pthread_mutex_lock(&rig.peer.lock);
	assert_int_equal(shutdown(rig.peer.fd, SHUT_RDWR), 0);
	pthread_mutex_unlock(&rig.peer.lock);
	run_until(&rig, has_module, NULL);
	submit(&rig, &take, 3);
	run_ended(&rig, &take, 1);
	check_allowed(&take, 0);
	assert_int_equal(get(&rig.plan.mtakes), 1 + 1);
	close_rig(&rig);
}

static void an_error_is_everybody_s(void **state)
{
	struct take takes[3];
	struct rig rig;

	(void)state;
	open_rig(&rig, BUSY);
	for (unsigned i = 0; i < 3; i++)
		submit(&rig, &takes[i], 2);
	run_ended(&rig, takes, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(takes[i].op.error, -EBUSY);
	assert_int_equal(get(&rig.plan.evalshas), 0);
	__atomic_store_n(&rig.plan.manner, WELL, __ATOMIC_RELEASE);
	run_until(&rig, has_module, NULL); /* it had been left */
	assert_int_equal(get(&rig.peer.accepted), 2);
	close_rig(&rig);
}

/* A server that is full refuses the command, denials and all. The script gets them still. */
static void a_full_server_denies(void **state)
{
	struct take takes[3];
	struct rig rig;

	(void)state;
	open_rig(&rig, FULL);
	for (unsigned i = 0; i < 3; i++)
		submit(&rig, &takes[i], 2);
	run_ended(&rig, takes, 3);
	assert_int_equal(takes[0].op.error, 0);
	assert_false(takes[0].op.allowed);
	assert_int_equal(takes[1].op.error, -ENOSPC);
	assert_int_equal(takes[2].op.error, -ENOSPC);
	assert_int_equal(get(&rig.plan.evalshas), 3);
	assert_int_equal(by_module(&rig), 1); /* the next ones go there again */
	close_rig(&rig);
}

static void a_fault_is_its_own_request_s(void **state)
{
	struct take takes[4];
	struct rig rig;

	(void)state;
	open_rig(&rig, FAULTY);
	for (unsigned i = 0; i < 4; i++)
		submit(&rig, &takes[i], 1);
	run_ended(&rig, takes, 4);
	check_allowed(&takes[0], 0);
	assert_int_equal(takes[1].op.error, -EIO);
	assert_int_equal(takes[2].op.error, -EIO);
	check_allowed(&takes[3], 3);
	assert_int_equal(by_module(&rig), 1);
	assert_int_equal(get(&rig.peer.accepted), 1);
	close_rig(&rig);
}

/* The connection is given up; those whose answer came before are answered. */
static void replies_that_can_be_none(void **state)
{
	static const enum manner manners[] = { SHORT, NONSENSE, INTEGER };
	struct take takes[3];
	struct rig rig;

	(void)state;
	for (unsigned m = 0; m < 3; m++) {
		open_rig(&rig, manners[m]);
		for (unsigned i = 0; i < 3; i++)
			submit(&rig, &takes[i], 1);
		run_ended(&rig, takes, 3);
		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(takes[i].op.error, manners[m] == NONSENSE && i == 0 ? 0 : -EPROTO);
		__atomic_store_n(&rig.plan.manner, WELL, __ATOMIC_RELEASE);
		run_until(&rig, has_module, NULL);
		submit(&rig, &takes[0], 1);
		run_ended(&rig, takes, 1);
		check_allowed(&takes[0], 0);
		close_rig(&rig);
	}
}

/* Put aside when the first one ends, and the connection is lost before the turn is over. */
static void lost_before_they_were_sent(void **state)
{
	struct take takes[4];
	struct rig rig;

	(void)state;
	open_rig(&rig, ENDING);
	for (unsigned i = 0; i < 4; i++)
		make(&rig, &takes[i], 1, 20 * SECOND);
	for (unsigned i = 0; i < 3; i++)
		takes[i].then = &takes[i + 1];
	assert_int_equal(store_submit(rig.store, &takes[0].op), STORE_PENDING);
	run_ended(&rig, takes, 4);
	check_allowed(&takes[0], 0);
	for (unsigned i = 1; i < 4; i++)
		assert_int_equal(takes[i].op.error, -EPROTO);
	assert_int_equal(get(&rig.plan.keys), 1 + 1); /* the others never left */
	__atomic_store_n(&rig.plan.manner, WELL, __ATOMIC_RELEASE);
	run_until(&rig, has_module, NULL);
	close_rig(&rig);
}

static void too_late_to_be_asked(void **state)
{
	struct take takes[3];
	struct rig rig;

	(void)state;
	open_rig(&rig, WELL);
	make(&rig, &takes[0], 1, 0);
	assert_int_equal(store_submit(rig.store, &takes[0].op), -ETIMEDOUT);
	submit(&rig, &takes[0], 1);
	make(&rig, &takes[1], 1, 20000);
	assert_int_equal(store_submit(rig.store, &takes[1].op), STORE_PENDING);
	submit(&rig, &takes[2], 1);
	while (clock_mono_us() < takes[1].op.deadline_us)
		; /* this thread is busy with something else */
	run_ended(&rig, takes, 3);
	check_allowed(&takes[0], 0);
	assert_int_equal(takes[1].op.error, -ETIMEDOUT);
	check_allowed(&takes[2], 1);
	assert_int_equal(get(&rig.plan.keys), 1 + 2); /* it was not sent */
	assert_int_equal(get(&rig.peer.accepted), 1); /* and cost nothing */
	close_rig(&rig);
}

/* The earliest of the deadlines is that of the command. */
static void a_server_that_is_silent(void **state)
{
	struct take takes[3];
	struct rig rig;
	uint64_t began_us;

	(void)state;
	open_rig(&rig, SILENT);
	began_us = clock_mono_us();
	submit(&rig, &takes[0], 1);
	make(&rig, &takes[1], 1, 50000);
	assert_int_equal(store_submit(rig.store, &takes[1].op), STORE_PENDING);
	submit(&rig, &takes[2], 1);
	run_ended(&rig, takes, 3);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(takes[i].op.error, -ETIMEDOUT);
	assert_true(clock_mono_us() - began_us < 15 * SECOND);
	__atomic_store_n(&rig.plan.manner, WELL, __ATOMIC_RELEASE);
	run_until(&rig, has_module, NULL);
	close_rig(&rig);
}

static void a_full_queue_refuses(void **state)
{
	enum { MOST = 65536 };
	struct take *takes = calloc(MOST + 1, sizeof *takes);
	struct rig rig;

	(void)state;
	assert_non_null(takes);
	open_rig(&rig, SILENT);
	for (unsigned i = 0; i < MOST; i++) {
		submit(&rig, &takes[i], 1);
		if (i == MOST / 2)
			uv_run(&rig.loop, UV_RUN_NOWAIT); /* on their way, or put aside: both count */
	}
	make(&rig, &takes[MOST], 1, 20 * SECOND);
	assert_int_equal(store_submit(rig.store, &takes[MOST].op), -EAGAIN);
	__atomic_store_n(&rig.plan.manner, WELL, __ATOMIC_RELEASE);
	test_peer_hang_up(&rig.peer);
	run_ended(&rig, takes, MOST);
	run_until(&rig, has_module, NULL);
	submit(&rig, &takes[MOST], 1);
	run_ended(&rig, &takes[MOST], 1);
	check_allowed(&takes[MOST], 0);
	close_rig(&rig);
	free(takes);
}

/* The n-th allocation fails: each op is refused, or ends once. @return whether it came to that. */
static bool live(uint64_t n)
{
	static struct take takes[40];
	unsigned pending = 0;
	struct rig rig;
	bool failed;

	open_rig(&rig, WELL);
	test_alloc_fail(n);
	for (unsigned i = 0; i < 40; i++) {
		int result;

		make(&rig, &takes[pending], 1 + i % 3, 20 * SECOND);
		result = store_submit(rig.store, &takes[pending].op);
		assert_true(result == STORE_PENDING || result == -ENOMEM);
		pending += result == STORE_PENDING;
	}
	run_ended(&rig, takes, pending);
	failed = test_alloc_failed();
	test_alloc_fail(0);
	for (unsigned i = 0; i < pending; i++)
		assert_true(takes[i].op.error == 0 || takes[i].op.error == -ENOMEM);
	close_rig(&rig);
	return failed;
}

static void out_of_memory(void **state)
{
	uint64_t n = 1;

	(void)state;
	while (live(n) && n < 100)
		n++;
	assert_in_range(n, 40, 99); /* an op each, and the output */
}

static int set_up(void **state)
{
	(void)state;
	return sluice_policy_init(&policy, SLUICE_SLIDING_LOG, 1000, 60 * SECOND, 0, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_turn_is_one_command),
		cmocka_unit_test(many_are_several_commands),
		cmocka_unit_test(others_go_to_the_script),
		cmocka_unit_test(a_module_that_goes),
		cmocka_unit_test(no_module_or_no_right),
		cmocka_unit_test(a_module_that_comes),
		cmocka_unit_test(an_error_is_everybody_s),
		cmocka_unit_test(a_full_server_denies),
		cmocka_unit_test(a_fault_is_its_own_request_s),
		cmocka_unit_test(replies_that_can_be_none),
		cmocka_unit_test(lost_before_they_were_sent),
		cmocka_unit_test(too_late_to_be_asked),
		cmocka_unit_test(a_server_that_is_silent),
		cmocka_unit_test(a_full_queue_refuses),
		cmocka_unit_test(out_of_memory),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
