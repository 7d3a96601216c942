/* SPDX-License-Identifier: Apache-2.0 */
/*
 * work.h: an op on its way, and the calls that carry it, as work.c and gather.c know them.
 */
#ifndef SLUICE_STORE_REDIS_WORK_H
#define SLUICE_STORE_REDIS_WORK_H

#include "store/redis/internal.h"

struct redis_call {
	struct redis_command command; /* first */
	struct redis_command asking;
	struct redis_work *work;
	struct redis_node *node;   /* that was asked last, or will be */
	struct redis_call *behind; /* the next one that is gathered, or in the same command */
	redis_takes takes;         /* 0: this call tells all servers that states were forgotten or given back */
	uint16_t slot;
	uint8_t tries;
	bool asks;      /* parked: ASKING goes first */
	bool by_script; /* whatever the node has */
	uint32_t loads; /* node->loads when it was sent */
};

struct redis_work {
	struct redis_work *next; /* of the free ones */
	struct redis_thread *thread;
	struct store_op *op;
	unsigned pending; /* commands on their way, calls that wait */
	unsigned calls_n;
	redis_takes took;                             /* these took */
	bool denied;                                  /* some call did not allow its takes */
	bool freed;                                   /* what servers remember of denials may be void */
	int error;                                    /* of the first call that failed, or 0 */
	struct redis_call calls[STORE_TAKES_MAX + 1]; /* each take is in one of them; and one that bumps */
};

/*
 * What became of a call that the module was asked. Each may end the op, and with it the call.
 */

/** @param reply  REDIS_DECISION_LEN bytes for each take of the call.
 *  @return 0, or -EPROTO when it can't be an answer: the connection is of no more use then. */
int redis_call_decided(struct redis_call *call, const char *reply);

/** An error reply to the command that carried it. */
void redis_call_refused(struct redis_call *call, const char *words);

/** No reply came, or it was not sent. @param error  negative errno. */
void redis_call_failed(struct redis_call *call, int error);

/* gather.c */

/** Puts a call of takes aside; it leaves with others at the end of this turn of the loop.
 *  @return 0, and one of the above will be called for it, never from within; -EAGAIN: too many are waiting. */
int redis_gather(struct redis_call *call, struct redis_node *node);

/** Sends a call of takes in a command of its own. @return as above; also -ENOMEM. */
int redis_gather_alone(struct redis_call *call, struct redis_node *node);

#endif
