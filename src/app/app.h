/* SPDX-License-Identifier: Apache-2.0 */
/*
 * app.h: one request's way from its head to its log line.
 *
 * The only floor that maps decisions and links to HTTP. One struct a request, one enum of states, one step function
 * (request.c) that holds the whole way; one file an endpoint.
 *
 * Leaves out: threads and signals (server/), wire format (http/).
 */
#ifndef SLUICE_APP_APP_H
#define SLUICE_APP_APP_H

#include "app/limits.h"
#include "app/metrics.h"
#include "base/mailbox.h"
#include "config/config.h"
#include "http/access_log.h"
#include "http/http.h"
#include "links/links.h"
#include "store/store.h"

/* What all threads share. Read-only while they run. */
struct app {
	const struct config *config;
	struct store *store; /* from failure_store_open() */
	struct links *links;
	struct metrics *metrics;
};

/* What one loop thread owns. */
struct app_worker {
	struct app *app;
	size_t index;
	struct limits *limits; /* in force for requests that begin now */
	struct mailbox *mailbox;
	struct access_writer *access; /* NULL: off */
	uint64_t wall_us;             /* the time of day at the last tick: close enough for clicks */
};

struct request;

struct endpoint {
	enum metric_endpoint metric;
	unsigned methods;  /* of enum http_method */
	const char *allow; /* the same as text */
	bool limited;
	/* Answers, or submits r->link and answers in `resume`. */
	void (*run)(struct request *r);
	void (*resume)(struct request *r); /* the link operation has ended */
};

enum request_state {
	REQUEST_DECIDING, /* the limiter has the question */
	REQUEST_DECIDED,  /* its answer is there; the request perhaps not yet whole */
	REQUEST_LINKING,  /* the link store has a question */
	REQUEST_ANSWERED,
};

struct request {
	struct http_exchange http; /* first: the http floor allocates the whole */
	struct app_worker *worker;
	enum request_state state;
	bool whole;
	const struct endpoint *endpoint;
	struct limits *limits; /* held; NULL when this request is not limited */
	struct store_op take;
	struct links_op link;
	size_t client_len;
	char client[CLIENT_TEXT_MAX];
	char keys[CONFIG_LIMITS_MAX][STORE_KEY_MAX + 1];
	char url[LINK_URL_MAX + 1];
};

/** The http floor's handler for these requests; its context is a struct app_worker. */
extern const struct http_handler app_handler;

/** @return the endpoint of a path. Never NULL: what is no page of ours is taken for a code. */
const struct endpoint *app_route(const char *path, size_t len);

/** Answers with a body that lives for ever. */
void app_answer(struct request *r, unsigned status, const char *type, const char *body, size_t len);

/** Answers with `answer`, to which the fields about the limits are added. */
void app_answer_fields(struct request *r, const struct http_response *answer);

/** Answers with {"error":"<why>"}. `why` has no quotes, backslashes or control characters.
 *  @param retry_after_s  0: no Retry-After field. */
void app_answer_error(struct request *r, unsigned status, const char *why, unsigned retry_after_s);

/** Submits r->link, or answers 503 when the store does not take it. Goes on in endpoint->resume. */
void app_submit_link(struct request *r);

void home_run(struct request *r);
void shorten_run(struct request *r);
void shorten_resume(struct request *r);
void redirect_run(struct request *r);
void redirect_resume(struct request *r);
void healthz_run(struct request *r);
void readyz_run(struct request *r);
void metrics_run(struct request *r);

#endif
