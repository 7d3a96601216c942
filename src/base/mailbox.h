/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mailbox.h: how another thread hands finished work back to an event loop.
 *
 * Each loop thread owns one mailbox. Any thread may post a letter; the loop thread gets every
 * letter exactly once, in the order posted, through the letter's own function. Letters are
 * embedded in what they report on, so posting never allocates and never fails.
 *
 * Rules
 *  1. A letter belongs to the mailbox from mailbox_post() until its function is called; its
 *     memory must live that long.
 *  2. The function runs on the loop thread, may post again, and may free the letter.
 *  3. mailbox_close() only after nobody can post any more. Letters still inside are delivered first.
 */
#ifndef SLUICE_BASE_MAILBOX_H
#define SLUICE_BASE_MAILBOX_H

#include <pthread.h>
#include <uv.h>

struct letter {
	struct letter *next;
	void (*deliver)(struct letter *letter);
};

struct mailbox {
	uv_async_t wakeup;
	pthread_mutex_t lock;
	struct letter *first;
	struct letter **last;
};

/** Ties the mailbox to `loop`. @return 0 or a negative errno of libuv. Loop thread only. */
int mailbox_open(struct mailbox *box, uv_loop_t *loop);

/** Hands over `letter`, whose `deliver` is set. Any thread. */
void mailbox_post(struct mailbox *box, struct letter *letter);

/** Delivers what is inside and lets go of the loop; the memory of `box` must live until the loop
 *  has run once more. Loop thread only. */
void mailbox_close(struct mailbox *box);

#endif
