/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_client.h: an event loop with a mailbox that speaks to a store as a loop thread of the server does,
 * and waits. For tests of link stores.
 */
#ifndef SLUICE_LINKS_TEST_CLIENT_H
#define SLUICE_LINKS_TEST_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <uv.h>

#include "links/links.h"

struct client {
	uv_loop_t loop;
	struct mailbox box;
	unsigned ended; /* operations whose done() was called */
};

/* An operation, with room for a URL. */
struct call {
	struct links_op op; /* first */
	struct client *client;
	bool inside_submit; /* done() must not be called from within */
	char url[LINK_URL_MAX + 1];
};

static inline void client_open(struct client *client)
{
	client->ended = 0;
	assert_int_equal(uv_loop_init(&client->loop), 0);
	assert_int_equal(mailbox_open(&client->box, &client->loop), 0);
}

static inline void client_close(struct client *client)
{
	mailbox_close(&client->box);
	uv_run(&client->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&client->loop), 0);
}

static inline void call_done(struct links_op *op)
{
	struct call *call = (struct call *)op;

	assert_false(call->inside_submit);
	call->client->ended++;
}

/* @return what links_submit() returned. */
static inline int call_submit(struct client *client, struct links *links, struct call *call)
{
	int result;

	call->client = client;
	call->op.mailbox = &client->box;
	call->op.done = call_done;
	call->op.url = call->url;
	call->inside_submit = true;
	result = links_submit(links, &call->op);
	call->inside_submit = false;
	return result;
}

static inline void client_wait(struct client *client, unsigned ended)
{
	while (client->ended < ended)
		uv_run(&client->loop, UV_RUN_ONCE);
}

static inline void call_init_create(struct call *call, const char *url)
{
	memset(&call->op, 0, sizeof call->op);
	call->op.verb = LINKS_CREATE;
	call->op.url_len = strlen(url);
	memcpy(call->url, url, call->op.url_len); /* without its NUL: nobody may count on it */
}

static inline void call_init_resolve(struct call *call, const char *code)
{
	memset(&call->op, 0, sizeof call->op);
	call->op.verb = LINKS_RESOLVE;
	strcpy(call->op.code, code);
}

/* Submits and waits for the end. @return the outcome. */
static inline enum links_outcome call_run(struct client *client, struct links *links, struct call *call)
{
	unsigned before = client->ended;
	int result = call_submit(client, links, call);

	assert_true(result == LINKS_DONE || result == LINKS_PENDING);
	if (result == LINKS_PENDING)
		client_wait(client, before + 1);
	return call->op.outcome;
}

#endif
