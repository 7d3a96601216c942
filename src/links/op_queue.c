/* SPDX-License-Identifier: Apache-2.0 */
/* op_queue.c: see op_queue.h. */
#include "links/op_queue.h"

#include <errno.h>
#include <stddef.h>
#include <time.h>

int op_queue_open(struct op_queue *queue, uint32_t max)
{
	pthread_condattr_t attr;
	int err = pthread_condattr_init(&attr);

	if (err != 0)
		return -err;
	*queue = (struct op_queue){ .max = max };
	queue->last = &queue->first;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	err = pthread_cond_init(&queue->filled, &attr);
	pthread_condattr_destroy(&attr);
	if (err != 0)
		return -err;
	err = pthread_mutex_init(&queue->lock, NULL);
	if (err != 0)
		pthread_cond_destroy(&queue->filled);
	return -err;
}

int op_queue_push(struct op_queue *queue, struct links_op *op)
{
	int result = 0;

	pthread_mutex_lock(&queue->lock);
	if (queue->n >= queue->max) {
		result = -EAGAIN;
	} else {
		op->letter.next = NULL;
		*queue->last = &op->letter;
		queue->last = &op->letter.next;
		queue->n++;
		if (queue->sleepers > 0)
			pthread_cond_signal(&queue->filled);
	}
	pthread_mutex_unlock(&queue->lock);
	return result;
}

struct links_op *op_queue_take(struct op_queue *queue)
{
	struct letter *letter;

	pthread_mutex_lock(&queue->lock);
	while (queue->first == NULL && !queue->stopped) {
		queue->sleepers++;
		pthread_cond_wait(&queue->filled, &queue->lock);
		queue->sleepers--;
	}
	letter = queue->first;
	if (letter != NULL) {
		queue->first = letter->next;
		if (queue->first == NULL)
			queue->last = &queue->first;
		queue->n--;
	}
	pthread_mutex_unlock(&queue->lock);
	return op_of(letter);
}

static struct timespec deadline_after(uint64_t wait_us)
{
	struct timespec at;

	clock_gettime(CLOCK_MONOTONIC, &at);
	at.tv_sec += (time_t)(wait_us / 1000000);
	at.tv_nsec += (long)(wait_us % 1000000) * 1000;
	if (at.tv_nsec >= 1000000000) {
		at.tv_nsec -= 1000000000;
		at.tv_sec++;
	}
	return at;
}

struct links_op *op_queue_take_all(struct op_queue *queue, uint64_t wait_us, bool *stopped)
{
	struct timespec deadline = deadline_after(wait_us);
	struct letter *letter;
	int err = 0;

	pthread_mutex_lock(&queue->lock);
	while (queue->first == NULL && !queue->stopped && err == 0 && wait_us > 0) {
		queue->sleepers++;
		err = pthread_cond_timedwait(&queue->filled, &queue->lock, &deadline);
		queue->sleepers--;
	}
	letter = queue->first;
	queue->first = NULL;
	queue->last = &queue->first;
	queue->n = 0;
	*stopped = queue->stopped;
	pthread_mutex_unlock(&queue->lock);
	return op_of(letter);
}

void op_queue_stop(struct op_queue *queue)
{
	pthread_mutex_lock(&queue->lock);
	queue->stopped = true;
	pthread_cond_broadcast(&queue->filled);
	pthread_mutex_unlock(&queue->lock);
}

uint32_t op_queue_length(struct op_queue *queue)
{
	uint32_t n;

	pthread_mutex_lock(&queue->lock);
	n = queue->n;
	pthread_mutex_unlock(&queue->lock);
	return n;
}

void op_queue_close(struct op_queue *queue)
{
	pthread_cond_destroy(&queue->filled);
	pthread_mutex_destroy(&queue->lock);
}

struct links_op *op_of(struct letter *letter)
{
	return letter == NULL ? NULL : (struct links_op *)((char *)letter - offsetof(struct links_op, letter));
}

struct links_op *op_next(struct links_op *op)
{
	return op_of(op->letter.next);
}
