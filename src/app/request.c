/* SPDX-License-Identifier: Apache-2.0 */
/*
 * request.c: the way of a request: who asks, may it pass, which endpoint, answer, log line.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "app/app.h"
#include "base/clock.h"
#include "policy/keys.h"

static void step(struct request *r);

static struct request *request_of(struct http_exchange *exchange)
{
	return (struct request *)exchange;
}

/* The address behind trusted proxies; for everybody else the socket's, whatever the header fields say. */
static void find_client(struct request *r, struct client *client)
{
	const struct config *config = r->worker->app->config;
	const char *name = config->client_header == CLIENT_HEADER_FORWARDED ? "Forwarded" : "X-Forwarded-For";
	char list[1024];

	*client = r->http.peer->client;
	if (r->http.peer->trusted) {
		http_header_joined(&r->http, name, list, sizeof list);
		client_resolve(client, config->client_header, list, config->trusted_proxies, config->trusted_proxies_n);
		r->client_len = client_text(client, r->client);
	} else {
		memcpy(r->client, r->http.peer->text, r->http.peer->text_len + 1);
		r->client_len = r->http.peer->text_len;
	}
}

/* Before the answer goes out, so that who has read it finds it counted. */
static void count_decision(struct request *r)
{
	for (size_t i = 0; i < r->limits->n; i++)
		metrics_decision(r->limits->metrics[i], r->worker->index, r->take.decider,
		                 r->take.takes[i].decision.allowed);
}

static void on_decided(struct store_op *op)
{
	struct request *r = (struct request *)((char *)op - offsetof(struct request, take));

	count_decision(r);
	r->state = REQUEST_DECIDED;
	r->http.busy = false;
	if (r->http.gone)
		http_release(&r->http);
	else
		step(r);
}

static void set_takes(struct request *r, const struct limits *limits, const struct client *client)
{
	char subject[CLIENT_TEXT_MAX];
	size_t subject_len = client_subject(client, r->worker->app->config->limiter.ipv6_prefix, subject);

	r->take.n = (uint8_t)limits->n;
	for (size_t i = 0; i < limits->n; i++) {
		bool global = limits->limits[i].subject == SUBJECT_GLOBAL;
		struct store_take *take = &r->take.takes[i];

		take->policy = &limits->limits[i].policy;
		take->key = r->keys[i];
		take->key_len = (uint16_t)key_write(r->keys[i], limits->limits[i].name, global ? "all" : subject,
		                                    global ? 3 : subject_len);
		take->cost = 1;
	}
}

/* The failure policy stands in front of every store, so a refusal that comes through has no cause that a client could
 * bring about. It is answered as `closed` would. */
static void refuse(struct store_op *op, int error)
{
	op->allowed = false;
	op->error = error;
	op->decider = STORE_BY_CLOSED;
	for (size_t i = 0; i < op->n; i++)
		op->takes[i].decision =
			(struct sluice_decision){ .limit = op->takes[i].policy->limit, .retry_after_us = 1000000 };
}

static void ask_limiter(struct request *r, const struct client *client)
{
	int result;

	r->limits = limits_hold(r->worker->limits);
	set_takes(r, r->limits, client);
	r->state = REQUEST_DECIDED;
	r->take.allowed = true;
	if (r->take.n == 0)
		return;
	r->take.verb = STORE_TAKE;
	r->take.thread = (uint16_t)r->worker->index;
	r->take.error = 0;
	r->take.decider = STORE_BY_STORE;
	/* From now, not from the first line: a client that is slow with its head must not get away from the store. */
	r->take.deadline_us = clock_mono_us() + r->worker->app->config->limiter.timeout_us;
	r->take.done = on_decided;
	result = store_submit(r->worker->app->store, &r->take);
	if (result == STORE_PENDING) {
		r->state = REQUEST_DECIDING;
		r->http.busy = true;
		return;
	}
	if (result < 0)
		refuse(&r->take, result);
	count_decision(r);
}

void app_answer_fields(struct request *r, const struct http_response *answer)
{
	struct http_response response = *answer;
	char state[FIELDS_TEXT_MAX];

	if (r->limits != NULL && r->limits->n > 0) {
		fields_state(r->limits->limits, &r->take, state);
		response.fields[response.fields_n].name = "RateLimit-Policy";
		response.fields[response.fields_n++].value = r->limits->policy_field;
		response.fields[response.fields_n].name = "RateLimit";
		response.fields[response.fields_n++].value = state;
	}
	r->state = REQUEST_ANSWERED;
	http_respond(&r->http, &response);
}

void app_answer(struct request *r, unsigned status, const char *type, const char *body, size_t len)
{
	struct http_response response = {
		.status = status, .content_type = type, .body = body, .body_len = len, .body_static = true
	};

	app_answer_fields(r, &response);
}

static void add_number(struct http_response *response, const char *name, char text[24], unsigned long long number)
{
	snprintf(text, 24, "%llu", number);
	response->fields[response->fields_n].name = name;
	response->fields[response->fields_n++].value = text;
}

void app_answer_error(struct request *r, unsigned status, const char *why, unsigned retry_after_s)
{
	char body[256], number[24];
	struct http_response response = { .status = status, .content_type = "application/json", .body = body };

	response.body_len = (size_t)snprintf(body, sizeof body, "{\"error\":\"%s\"}", why);
	if (retry_after_s > 0)
		add_number(&response, "Retry-After", number, retry_after_s);
	if (status == 405) {
		response.fields[response.fields_n].name = "Allow";
		response.fields[response.fields_n++].value = r->endpoint->allow;
	}
	app_answer_fields(r, &response);
}

static void answer_denied(struct request *r)
{
	static const char body[] = "{\"error\":\"Rate limit exceeded\"}";
	struct http_response response = { .status = 429,
		                          .content_type = "application/json",
		                          .body = body,
		                          .body_len = sizeof body - 1,
		                          .body_static = true,
		                          .repeats = true };
	char number[24];

	add_number(&response, "Retry-After", number, fields_retry_after_s(&r->take));
	app_answer_fields(r, &response);
}

static void answer_fault(struct request *r)
{
	char why[96];

	switch (r->http.fault) {
	case HTTP_BODY_TOO_LARGE:
		snprintf(why, sizeof why, "The body must be at most %llu bytes",
		         (unsigned long long)r->worker->app->config->server.max_body_bytes);
		app_answer_error(r, 413, why, 0);
		break;
	case HTTP_HEADER_TOO_LARGE:
		app_answer_error(r, 431, "The request line and header fields are too large", 0);
		break;
	default:
		app_answer_error(r, 400, "Malformed request", 0);
		break;
	}
}

static void on_linked(struct links_op *op)
{
	struct request *r = (struct request *)((char *)op - offsetof(struct request, link));

	r->http.busy = false;
	if (r->http.gone)
		http_release(&r->http);
	else
		step(r);
}

void app_submit_link(struct request *r)
{
	int result;

	r->link.mailbox = r->worker->mailbox;
	r->link.thread = (uint16_t)r->worker->index;
	r->link.done = on_linked;
	r->state = REQUEST_LINKING;
	result = links_submit(r->worker->app->links, &r->link);
	r->http.busy = result == LINKS_PENDING;
	if (result == LINKS_DONE)
		r->endpoint->resume(r);
	else if (result < 0)
		app_answer_error(r, 503, "Links are not available now", 1);
}

/* Takes the request as far as it can go now. */
static void step(struct request *r)
{
	switch (r->state) {
	case REQUEST_DECIDING:
		return; /* on_decided() */
	case REQUEST_DECIDED:
		if (!r->take.allowed)
			answer_denied(r);
		else if (r->http.fault != HTTP_FINE)
			answer_fault(r);
		else if (!r->whole)
			return; /* on_whole() */
		else if ((r->http.method & r->endpoint->methods) == 0)
			app_answer_error(r, 405, "Method not allowed", 0);
		else
			r->endpoint->run(r);
		return;
	case REQUEST_LINKING:
		r->endpoint->resume(r);
		return;
	case REQUEST_ANSWERED:
		return;
	}
}

static void on_begin(struct http_exchange *exchange)
{
	struct request *r = request_of(exchange);
	struct client client;

	r->worker = http_context(exchange);
	r->whole = false;
	r->limits = NULL;
	r->take.allowed = true;
	r->endpoint = app_route(exchange->target, exchange->path_len);
	find_client(r, &client);
	if (r->endpoint->limited)
		ask_limiter(r, &client);
	else
		r->state = REQUEST_DECIDED;
	step(r);
}

static void on_whole(struct http_exchange *exchange)
{
	struct request *r = request_of(exchange);

	r->whole = true;
	step(r);
}

static const char *decision_text(const struct request *r)
{
	static const char *const texts[4][2] = {
		{ "denied", "allowed" }, { "local-denied", "local-allowed" }, { "open", "open" }, { "closed", "closed" }
	};

	if (r->limits == NULL || r->limits->n == 0)
		return "-";
	return texts[r->take.decider][r->take.allowed];
}

static void on_end(struct http_exchange *exchange, unsigned status, size_t bytes)
{
	struct request *r = request_of(exchange);
	struct app_worker *worker = http_context(exchange);
	uint64_t duration_us = exchange->ended_us - exchange->started_us;
	bool began = exchange->began;

	metrics_request(metrics_worker(worker->app->metrics, worker->index),
	                began ? r->endpoint->metric : METRIC_BROKEN, status, duration_us);
	if (worker->access != NULL) {
		struct access_line line = {
			.wall_us = clock_wall_us(),
			.client = began ? r->client : exchange->peer->text,
			.method = began ? exchange->method_text : "-",
			.target = exchange->target,
			.status = status,
			.bytes = bytes,
			.duration_us = duration_us,
			.decision = began ? decision_text(r) : "-",
		};
		access_log_line(worker->access, &line);
	}
	if (began)
		limits_drop(r->limits);
}

const struct http_handler app_handler = {
	.exchange_size = sizeof(struct request),
	.begin = on_begin,
	.handle = on_whole,
	.end = on_end,
};
