/* SPDX-License-Identifier: Apache-2.0 */
/*
 * home.c: GET /: a line for machines, the page for people.
 */
#include <string.h>
#include <strings.h>

#include "app/app.h"
#include "page.h" /* made from web/ at build: page_html, page_html_len, page_csp */

static bool wants_html(const struct request *r)
{
	const char *accept = http_header(&r->http, "Accept");

	return accept != NULL && strcasestr(accept, "text/html") != NULL;
}

void home_run(struct request *r)
{
	static const char text[] = "URL Shortener is running!\n";
	struct http_response response = { .status = 200, .body_static = true };

	if (wants_html(r)) {
		response.content_type = "text/html; charset=utf-8";
		response.body = page_html;
		response.body_len = page_html_len;
		response.fields[response.fields_n].name = "Content-Security-Policy";
		response.fields[response.fields_n++].value = page_csp;
		response.fields[response.fields_n].name = "X-Content-Type-Options";
		response.fields[response.fields_n++].value = "nosniff";
	} else {
		response.content_type = "text/plain; charset=utf-8";
		response.body = text;
		response.body_len = sizeof text - 1;
	}
	response.fields[response.fields_n].name = "Vary";
	response.fields[response.fields_n++].value = "Accept";
	app_answer_fields(r, &response);
}
