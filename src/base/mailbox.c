/* SPDX-License-Identifier: Apache-2.0 */
#include "base/mailbox.h"

#include <stddef.h>

static struct letter *take_all(struct mailbox *box)
{
	struct letter *first;

	pthread_mutex_lock(&box->lock);
	first = box->first;
	box->first = NULL;
	box->last = &box->first;
	pthread_mutex_unlock(&box->lock);
	return first;
}

static void deliver_all(struct mailbox *box)
{
	struct letter *letter = take_all(box);

	while (letter != NULL) {
		struct letter *next = letter->next; /* deliver() may free the letter */

		letter->deliver(letter);
		letter = next;
	}
}

static void on_wakeup(uv_async_t *wakeup)
{
	deliver_all(wakeup->data);
}

int mailbox_open(struct mailbox *box, uv_loop_t *loop)
{
	int err = uv_async_init(loop, &box->wakeup, on_wakeup);

	if (err != 0)
		return err;
	box->wakeup.data = box;
	pthread_mutex_init(&box->lock, NULL);
	box->first = NULL;
	box->last = &box->first;
	return 0;
}

void mailbox_post(struct mailbox *box, struct letter *letter)
{
	letter->next = NULL;
	pthread_mutex_lock(&box->lock);
	*box->last = letter;
	box->last = &letter->next;
	/* Inside the lock: after it the loop thread may have delivered, and closed, already. */
	uv_async_send(&box->wakeup);
	pthread_mutex_unlock(&box->lock);
}

static void on_closed(uv_handle_t *handle)
{
	struct mailbox *box = handle->data;

	pthread_mutex_destroy(&box->lock);
}

void mailbox_close(struct mailbox *box)
{
	deliver_all(box);
	uv_close((uv_handle_t *)&box->wakeup, on_closed);
}
