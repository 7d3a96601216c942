/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shorten.c: POST /shorten: a URL in, its code out.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "app/app.h"
#include "http/form.h"
#include "links/url.h"

#define SELF_MAX (CONFIG_LIST_MAX + 2)

enum body_kind { BODY_FORM, BODY_JSON, BODY_UNKNOWN };

static enum body_kind body_kind(const struct request *r)
{
	static const char form[] = "application/x-www-form-urlencoded", json[] = "application/json";
	const char *type = http_header(&r->http, "Content-Type");
	size_t len;

	if (type == NULL) /* the shortest of clients */
		return BODY_FORM;
	len = strcspn(type, "; \t");
	if (len == sizeof form - 1 && strncasecmp(type, form, len) == 0)
		return BODY_FORM;
	if (len == sizeof json - 1 && strncasecmp(type, json, len) == 0)
		return BODY_JSON;
	return BODY_UNKNOWN;
}

/* @return NULL, with r->url and r->link.url_len set, or why not. */
static const char *read_form(struct request *r)
{
	switch (form_field(r->http.body, r->http.body_len, "url", r->url, LINK_URL_MAX, &r->link.url_len)) {
	case FORM_OK:
		return NULL;
	case FORM_MISSING:
		return "The field url is missing";
	case FORM_TWICE:
		return "The field url is given more than once";
	case FORM_BAD_ESCAPE:
		return "The field url has a % that is not followed by two hexadecimal digits";
	case FORM_NO_ROOM:
		return url_verdict_text(URL_TOO_LONG);
	}
	return "Malformed form";
}

static const char *read_json(struct request *r)
{
	json_error_t error;
	json_t *root =
		json_loadb(r->http.body != NULL ? r->http.body : "", r->http.body_len, JSON_REJECT_DUPLICATES, &error);
	json_t *url = json_object_get(root, "url");
	const char *why = NULL;

	if (root == NULL)
		why = "The body is not valid JSON";
	else if (!json_is_object(root))
		why = "The body must be a JSON object";
	else if (url == NULL)
		why = "The field url is missing";
	else if (!json_is_string(url))
		why = "The field url must be a string";
	else if (json_string_length(url) > LINK_URL_MAX)
		why = url_verdict_text(URL_TOO_LONG);
	if (why == NULL) {
		r->link.url_len = json_string_length(url);
		memcpy(r->url, json_string_value(url), r->link.url_len);
	}
	json_decref(root);
	return why;
}

static const char *check_url(struct request *r)
{
	const struct config *config = r->worker->app->config;
	const char *self[SELF_MAX];
	char host[CONFIG_TEXT_MAX];
	const char *header = http_header(&r->http, "Host");
	enum url_verdict verdict;
	size_t n = 0;

	for (size_t i = 0; i < config->public_names_n; i++)
		self[n++] = config->public_names[i];
	if (header != NULL && header[0] != '\0' && strlen(header) < sizeof host) {
		size_t i = 0;

		for (; header[i] != '\0'; i++)
			host[i] = header[i] >= 'A' && header[i] <= 'Z' ? (char)(header[i] + 32) : header[i];
		host[i] = '\0';
		self[n++] = host;
	}
	verdict = url_check(r->url, r->link.url_len, self, n);
	return verdict == URL_OK ? NULL : url_verdict_text(verdict);
}

void shorten_run(struct request *r)
{
	enum body_kind kind = body_kind(r);
	const char *why;

	if (kind == BODY_UNKNOWN) {
		app_answer_error(r, 415, "Send application/x-www-form-urlencoded or application/json", 0);
		return;
	}
	why = kind == BODY_FORM ? read_form(r) : read_json(r);
	if (why == NULL)
		why = check_url(r);
	if (why != NULL) {
		app_answer_error(r, 400, why, 0);
		return;
	}
	r->link.verb = LINKS_CREATE;
	r->link.url = r->url;
	app_submit_link(r);
}

void shorten_resume(struct request *r)
{
	char body[LINK_CODE_MAX + 32];
	struct http_response response = { .status = 200, .content_type = "application/json", .body = body };

	if (r->link.outcome != LINKS_CREATED && r->link.outcome != LINKS_FOUND) {
		app_answer_error(r, 503, "Links are not available now", 1);
		return;
	}
	response.body_len = (size_t)snprintf(body, sizeof body, "{\"short_url\":\"/%s\"}", r->link.code);
	app_answer_fields(r, &response);
}
