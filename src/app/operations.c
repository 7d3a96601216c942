/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operations.c: /healthz, /readyz, /metrics: for whoever runs the service. Never limited.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "app/app.h"
#include "store/failure.h"

#define TEXT "text/plain; charset=utf-8"

void healthz_run(struct request *r)
{
	app_answer(r, 200, TEXT, "ok\n", 3);
}

/*
 * A server whose limiter store is away still serves, as long as the policy lets anything pass: were it taken out of the
 * load balancer, so would all others be, as they share the store. Then the answer is 200 and says what is amiss.
 */
void readyz_run(struct request *r)
{
	const struct app *app = r->worker->app;
	struct failure_view limiter;
	bool links = links_ready(app->links), decides;
	char text[160] = "ready\n", why[96] = "";
	struct http_response response = { .status = 200, .content_type = TEXT, .body = text, .body_len = 6 };

	failure_store_view(app->store, &limiter);
	decides = limiter.ready || strcmp(limiter.policy, "closed") != 0;
	if (!limiter.ready)
		snprintf(why, sizeof why, "limiter: %s not reachable, policy \"%s\" decides\n", limiter.store,
		         limiter.policy);
	if (!links || !decides)
		response.status = 503;
	if (!links || !limiter.ready)
		response.body_len = (size_t)snprintf(text, sizeof text, "%s%s%s", links && decides ? "ready\n" : "",
		                                     why, links ? "" : "links: not reachable\n");
	app_answer_fields(r, &response);
}

void metrics_run(struct request *r)
{
	char *text = NULL;
	size_t len = metrics_write(r->worker->app->metrics, &text);
	struct http_response response = {
		.status = 200, .content_type = "text/plain; version=0.0.4; charset=utf-8", .body = text, .body_len = len
	};

	if (len == 0) {
		app_answer_error(r, 500, "Out of memory", 0);
		return;
	}
	app_answer_fields(r, &response);
	free(text);
}
