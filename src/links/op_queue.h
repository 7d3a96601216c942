/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op_queue.h: operations on their way from loop threads to a thread that may block.
 *
 * Bounded, first in first out. The operations are chained through their letters, so pushing allocates nothing.
 * Any function from any thread, save for open and close.
 */
#ifndef SLUICE_LINKS_OP_QUEUE_H
#define SLUICE_LINKS_OP_QUEUE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "links/links.h"

struct op_queue {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	struct letter *first, **last;
	uint32_t n, max;
	uint32_t sleepers; /* threads waiting: nobody is woken needlessly */
	bool stopped;
};

/** @return 0 or a negative errno. */
int op_queue_open(struct op_queue *queue, uint32_t max);

/** @return 0, or -EAGAIN when it is full. */
int op_queue_push(struct op_queue *queue, struct links_op *op);

/** Waits for an operation. @return NULL when the queue is stopped and empty. */
struct links_op *op_queue_take(struct op_queue *queue);

/** Takes all there is, chained by letter.next; waits at most wait_us for the first.
 *  @param stopped  out: nothing more will come. @return NULL when there is nothing. */
struct links_op *op_queue_take_all(struct op_queue *queue, uint64_t wait_us, bool *stopped);

/** Wakes those who wait; what is inside is still handed out. */
void op_queue_stop(struct op_queue *queue);

/** @return operations inside now. */
uint32_t op_queue_length(struct op_queue *queue);

void op_queue_close(struct op_queue *queue);

/** The operation of a letter (NULL for NULL), and the one after it in a chain. */
struct links_op *op_of(struct letter *letter);
struct links_op *op_next(struct links_op *op);

#endif
