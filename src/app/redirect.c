/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redirect.c: GET /<code>: to where the link points.
 */
#include <errno.h>
#include <string.h>

#include "app/app.h"
#include "base/log.h"
#include "links/code.h"
#include "links/url.h"

/* Whoever can write to the database must not be able to write our header fields. */
static void answer_damaged(struct request *r)
{
	log_error("link %s: its row is damaged, or its URL holds bytes that can't be sent; delete or mend it",
	          r->link.code);
	app_answer_error(r, 500, "The stored URL is damaged", 0);
}

static void answer_missing(struct request *r)
{
	static const char text[] = "URL not found";

	app_answer(r, 404, "text/plain; charset=utf-8", text, sizeof text - 1);
}

void redirect_run(struct request *r)
{
	const char *code = r->http.target + 1;
	size_t len = r->http.path_len - 1;

	if (!code_valid(code, len)) {
		answer_missing(r);
		return;
	}
	r->link.verb = LINKS_RESOLVE;
	memcpy(r->link.code, code, len);
	r->link.code[len] = '\0';
	r->link.url = r->url;
	r->link.url_len = 0;
	app_submit_link(r);
}

void redirect_resume(struct request *r)
{
	struct http_response response = { .status = 302, .body = "", .body_static = true };

	switch (r->link.outcome) {
	case LINKS_FOUND:
		break;
	case LINKS_MISSING:
		answer_missing(r);
		return;
	default:
		if (r->link.error == -EBADMSG)
			answer_damaged(r);
		else
			app_answer_error(r, 503, "Links are not available now", 1);
		return;
	}
	if (!url_bytes_ok(r->link.url, r->link.url_len)) { /* checked on the way in, and again here */
		answer_damaged(r);
		return;
	}
	response.fields[response.fields_n].name = "Location";
	response.fields[response.fields_n++].value = r->link.url;
	app_answer_fields(r, &response);
	/* The http floor answers 431 instead when this head and the request's don't fit together. */
	if (r->http.method == HTTP_GET && r->http.status == 302)
		links_click(r->worker->app->links, r->link.code, r->worker->wall_us);
}
