/* SPDX-License-Identifier: Apache-2.0 */
/*
 * commands.c: creates the commands from a table.
 */
#include "redis-module/commands.h"

#include <errno.h>
#include <stdio.h>

#include "redis-module/module.h"

#define SINCE "0.1.0"
#define OWN_CATEGORY "sluice"
#define GETKEYS " getkeys-api" /* the command's own function tells where its keys are */

/* clang-format off */
#define WORD(word) { .name = (word), .type = REDIS_ARGUMENT_TOKEN, .token = (word) }
#define KEY { .name = "key", .type = REDIS_ARGUMENT_KEY }
#define END { .name = NULL }

/* What the commands take. */

static const struct redis_argument algorithms[] = {
	WORD("sliding-log"), WORD("sliding-counter"), WORD("fixed-window"), WORD("token-bucket"), END,
};

#define POLICY                                                                                                         \
	{ .name = "algorithm", .type = REDIS_ARGUMENT_ONE_OF, .parts = algorithms },                                   \
	{ .name = "limit", .type = REDIS_ARGUMENT_INTEGER, .summary = "units in a window, 1 to 16777216" },            \
	{ .name = "window", .type = REDIS_ARGUMENT_STRING, .summary = "a duration: 500ms, 60s, 5m, 1h, 1d" }
#define BURST                                                                                                          \
	{ .name = "burst", .type = REDIS_ARGUMENT_INTEGER, .token = "BURST", .flags = REDIS_ARGUMENT_OPTIONAL,         \
	  .summary = "of a token-bucket: units that may pass at once" }
#define COST                                                                                                           \
	{ .name = "cost", .type = REDIS_ARGUMENT_INTEGER, .token = "COST", .flags = REDIS_ARGUMENT_OPTIONAL,           \
	  .summary = "units, 1 if left out" }
#define OPTION(word, what)                                                                                             \
	{ .name = (word), .type = REDIS_ARGUMENT_TOKEN, .token = (word), .flags = REDIS_ARGUMENT_OPTIONAL,             \
	  .summary = (what) }
#define NUMBER(word, what) { .name = (word), .type = REDIS_ARGUMENT_INTEGER, .summary = (what) }

static const struct redis_argument take_arguments[] = {
	KEY, POLICY, BURST, COST,
	OPTION("PEEK", "only look"),
	OPTION("WITHTIME", "answer the time that was decided for as well"),
	END,
};
static const struct redis_argument peek_arguments[] = { KEY, POLICY, BURST, COST, END };
static const struct redis_argument refund_arguments[] = {
	KEY, POLICY,
	{ .name = "time", .type = REDIS_ARGUMENT_INTEGER, .token = "AT",
	  .summary = "of the take, as it answered WITHTIME: microseconds since 1970" },
	BURST, COST, END,
};
static const struct redis_argument reset_arguments[] = {
	{ .name = "key", .type = REDIS_ARGUMENT_KEY, .flags = REDIS_ARGUMENT_MULTIPLE }, END,
};
static const struct redis_argument mtake_modes[] = { WORD("ALL"), WORD("EACH"), END };
static const struct redis_argument mtake_policy[] = { POLICY, BURST, COST, END };
static const struct redis_argument mtake_policies[] = {
	{ .name = "policy", .type = REDIS_ARGUMENT_BLOCK, .flags = REDIS_ARGUMENT_MULTIPLE, .parts = mtake_policy,
	  .summary = "one for each key, or one for all" },
	{ .name = "requests", .type = REDIS_ARGUMENT_STRING, .token = "PACKED",
	  .summary = "policies and requests in the bytes that servers of Sluice send" },
	END,
};
static const struct redis_argument mtake_arguments[] = {
	{ .name = "mode", .type = REDIS_ARGUMENT_ONE_OF, .parts = mtake_modes,
	  .summary = "all keys or none, or each for itself" },
	NUMBER("numkeys", "how many keys follow, 1 to 1024"),
	{ .name = "key", .type = REDIS_ARGUMENT_KEY, .flags = REDIS_ARGUMENT_MULTIPLE },
	{ .name = "policies", .type = REDIS_ARGUMENT_ONE_OF, .parts = mtake_policies },
	END,
};
static const struct redis_argument throttle_arguments[] = {
	KEY,
	NUMBER("max_burst", "one less than may pass at once"),
	NUMBER("count_per_period", "units that flow back in a period"),
	NUMBER("period", "in seconds"),
	{ .name = "quantity", .type = REDIS_ARGUMENT_INTEGER, .flags = REDIS_ARGUMENT_OPTIONAL,
	  .summary = "units, 1 if left out; 0 only looks" },
	END,
};

/* Where their keys are. */

static const struct redis_key_spec changed_key[] = {
	{ .flags = REDIS_KEY_READ_WRITE | REDIS_KEY_ACCESS | REDIS_KEY_UPDATE,
	  .begin = REDIS_BEGIN_INDEX, .begins.position = 1, .find = REDIS_FIND_RANGE, .finds.range = { .step = 1 } },
	{ .begin = 0 },
};
static const struct redis_key_spec read_key[] = {
	{ .flags = REDIS_KEY_READ_ONLY | REDIS_KEY_ACCESS,
	  .begin = REDIS_BEGIN_INDEX, .begins.position = 1, .find = REDIS_FIND_RANGE, .finds.range = { .step = 1 } },
	{ .begin = 0 },
};
static const struct redis_key_spec removed_keys[] = {
	{ .flags = REDIS_KEY_REMOVE | REDIS_KEY_DELETE,
	  .begin = REDIS_BEGIN_INDEX, .begins.position = 1, .find = REDIS_FIND_RANGE,
	  .finds.range = { .last_key = -1, .step = 1 } },
	{ .begin = 0 },
};
static const struct redis_key_spec counted_keys[] = {
	{ .flags = REDIS_KEY_READ_WRITE | REDIS_KEY_ACCESS | REDIS_KEY_UPDATE,
	  .begin = REDIS_BEGIN_INDEX, .begins.position = 2, .find = REDIS_FIND_COUNT,
	  .finds.count = { .count_at = 0, .first_key = 1, .step = 1 } },
	{ .begin = 0 },
};

struct command {
	const char *name;
	redis_command_function *function;
	const char *flags;
	int first_key, last_key, step; /* for servers that know no key specs; 0: none, or the function tells */
	int arity;                     /* with the name; -n: at least n */
	const char *categories;
	const char *summary, *complexity;
	const struct redis_key_spec *keys;
	const struct redis_argument *arguments;
};

/* INFO is answered while the server loads, or has lost its master: whoever connects finds out what it can do. */
static const struct command commands[] = {
	{ "sluice.take", take_command, "write deny-oom fast", 1, 1, 1, -5, "write fast",
	  "Takes from a rate limit if it admits that now", "O(1), amortised; O(cost) for a sliding-log",
	  changed_key, take_arguments },
	{ "sluice.peek", peek_command, "readonly fast", 1, 1, 1, -5, "read fast",
	  "Tells what SLUICE.TAKE would answer", "O(1); O(log(limit)) for a sliding-log",
	  read_key, peek_arguments },
	{ "sluice.refund", refund_command, "write fast", 1, 1, 1, -7, "write fast",
	  "Gives back what an earlier take took", "O(1); O(limit) for a sliding-log",
	  changed_key, refund_arguments },
	{ "sluice.reset", reset_command, "write", 1, -1, 1, -2, "write slow",
	  "Forgets what was taken", "O(n) with n keys",
	  removed_keys, reset_arguments },
	{ "sluice.mtake", mtake_command, "write deny-oom fast", 0, 0, 0, -6, "write fast",
	  "Takes from many rate limits: from all or none, or from each that admits it",
	  "O(n) with n keys, each as SLUICE.TAKE",
	  counted_keys, mtake_arguments },
	{ "sluice.info", info_command, "fast allow-loading allow-stale", 0, 0, 0, 1, "fast",
	  "Tells the module's version, formats and counters", "O(1)",
	  NULL, NULL },
	{ "cl.throttle", cl_throttle_command, "write deny-oom fast", 1, 1, 1, -5, "write fast",
	  "Takes from a rate limit, as redis-cell does", "O(1)",
	  changed_key, throttle_arguments },
};
/* clang-format on */

static int set_info(RedisModuleCommand *handle, const struct command *command)
{
	static const struct redis_info_version layout = {
		.version = 1,
		.history_len = sizeof(struct redis_history),
		.key_spec_len = sizeof(struct redis_key_spec),
		.argument_len = sizeof(struct redis_argument),
	};
	struct redis_command_info info = {
		.version = &layout,
		.summary = command->summary,
		.complexity = command->complexity,
		.since = SINCE,
		/* The others answer by the clock, or tell what has happened so far. */
		.tips = command->function != reset_command ? "nondeterministic_output" : NULL,
		.arity = command->arity,
		.key_specs = command->keys,
		.arguments = command->arguments,
	};

	return redis.SetCommandInfo(handle, &info);
}

static int create(RedisModuleCtx *ctx, const struct command *command)
{
	bool counted = command->keys == counted_keys;
	char flags[64];

	/* Also to servers that can be told how keys are counted: when they look for the slot of a command of a module,
	 * to redirect it in a Cluster, they ask it, or go by the range in the flags. */
	snprintf(flags, sizeof flags, "%s%s", command->flags, counted ? GETKEYS : "");
	if (redis.CreateCommand(ctx, command->name, command->function, flags, command->first_key, command->last_key,
	                        command->step) == REDIS_OK)
		return REDIS_OK;
	if (command->function == cl_throttle_command)
		redis.Log(ctx, "warning",
		          "not loaded: there is a CL.THROTTLE already, of redis-cell perhaps; load without: "
		          "cl-throttle no");
	else
		redis.Log(ctx, "warning", "not loaded: the server refuses the command %s", command->name);
	return REDIS_ERR;
}

/* @param own  the category of this module exists. */
static int describe(RedisModuleCtx *ctx, const struct command *command, bool own)
{
	RedisModuleCommand *handle = redis.GetCommand != NULL ? redis.GetCommand(ctx, command->name) : NULL;
	char categories[64];

	if (handle == NULL)
		return REDIS_OK; /* a server that is too old */
	snprintf(categories, sizeof categories, "%s%s", command->categories, own ? " " OWN_CATEGORY : "");
	if ((redis.SetCommandInfo == NULL || set_info(handle, command) == REDIS_OK) &&
	    (redis.SetCommandACLCategories == NULL || redis.SetCommandACLCategories(handle, categories) == REDIS_OK))
		return REDIS_OK;
	redis.Log(ctx, "warning", "not loaded: the server refuses the description of %s", command->name);
	return REDIS_ERR;
}

int commands_create(RedisModuleCtx *ctx, bool cl_throttle)
{
	/* A server keeps the category when a module is unloaded, and says then that it is busy. */
	bool own =
		redis.AddACLCategory != NULL && (redis.AddACLCategory(ctx, OWN_CATEGORY) == REDIS_OK || errno == EBUSY);

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (commands[i].function == cl_throttle_command && !cl_throttle)
			continue;
		if (create(ctx, &commands[i]) != REDIS_OK || describe(ctx, &commands[i], own) != REDIS_OK)
			return REDIS_ERR;
	}
	return REDIS_OK;
}
