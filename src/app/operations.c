/* SPDX-License-Identifier: Apache-2.0 */
/*
 * operations.c: /healthz, /readyz, /metrics: for whoever runs the service. Never limited.
 */
#include <stdlib.h>

#include "app/app.h"

#define TEXT "text/plain; charset=utf-8"

void healthz_run(struct request *r)
{
	app_answer(r, 200, TEXT, "ok\n", 3);
}

void readyz_run(struct request *r)
{
	const struct app *app = r->worker->app;
	bool limiter = store_ready(app->store), links = links_ready(app->links);

	if (limiter && links)
		app_answer(r, 200, TEXT, "ready\n", 6);
	else if (limiter)
		app_answer(r, 503, TEXT, "links: not reachable\n", 21);
	else if (links)
		app_answer(r, 503, TEXT, "limiter: not reachable\n", 23);
	else
		app_answer(r, 503, TEXT, "limiter: not reachable\nlinks: not reachable\n", 44);
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
