/* SPDX-License-Identifier: Apache-2.0 */
/*
 * module.h: what the module keeps between two commands, all of it, and its commands.
 *
 * A server runs its modules on one thread.
 */
#ifndef SLUICE_MODULE_MODULE_H
#define SLUICE_MODULE_MODULE_H

#include <stdbool.h>
#include <stdint.h>

#include "redis-module/api.h"
#include "redis-module/arguments.h"

#define MODULE_NAME "sluice"

enum hearing { HEARING_UNKNOWN, HEARD, UNHEARD };

struct module {
	/* Since it was loaded. */
	uint64_t decisions; /* takes and peeks of single keys */
	uint64_t denials;   /* of them */
	uint64_t errors;    /* answers that were an error */
	struct arguments_memo memo;
	/* Whether anybody must be told what changes: effects.c. */
	bool turns_known; /* the server says when what is known may hold no longer */
	enum hearing hearing;
	const RedisModuleCtx *unheard_in; /* a command to which nobody listens, which says no more than that */
	bool set_pxat;                    /* SET knows PXAT */
	RedisModuleString *zero, *pxat;   /* words of replicated commands */
};

/* Functions of commands have no context of ours: see api.h. */
extern struct module module;

/** Answers with "ERR " and the reason, and counts it. @return what a command's function returns. */
int module_error(RedisModuleCtx *ctx, const struct why *why);

/** Answers that a key could not be decided, and counts it. @param result  of key.h, not KEY_OK. */
int module_refuse(RedisModuleCtx *ctx, int result);

/** Counts a decision. */
void module_count(const struct sluice_decision *decision);

/** Words of a command from argv[0] on. @param words  out, room for n. */
void module_words(struct word *words, RedisModuleString **argv, size_t n);

/** Five integers, and the time decided for as a sixth if wanted. */
void module_reply(RedisModuleCtx *ctx, const struct sluice_decision *decision, bool with_time);

/* The commands; docs/redis-module.md tells them. */
redis_command_function take_command, peek_command, refund_command, reset_command, mtake_command, info_command,
	cl_throttle_command;

/* What INFO shows of the module. */
redis_info_function info_section;

#endif
