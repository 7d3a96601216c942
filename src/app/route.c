/* SPDX-License-Identifier: Apache-2.0 */
/*
 * route.c: which path is which endpoint.
 */
#include <string.h>

#include "app/app.h"

#define READ (HTTP_GET | HTTP_HEAD)

static const struct endpoint home = { METRIC_HOME, READ, "GET, HEAD", true, home_run, NULL };
static const struct endpoint shorten = { METRIC_SHORTEN, HTTP_POST, "POST", true, shorten_run, shorten_resume };
static const struct endpoint redirect = { METRIC_REDIRECT, READ, "GET, HEAD", true, redirect_run, redirect_resume };
static const struct endpoint healthz = { METRIC_OPERATIONS, READ, "GET, HEAD", false, healthz_run, NULL };
static const struct endpoint readyz = { METRIC_OPERATIONS, READ, "GET, HEAD", false, readyz_run, NULL };
static const struct endpoint metrics = { METRIC_OPERATIONS, READ, "GET, HEAD", false, metrics_run, NULL };

static const struct {
	const char *path;
	const struct endpoint *endpoint;
} routes[] = {
	{ "/", &home },         { "/shorten", &shorten }, { "/healthz", &healthz },
	{ "/readyz", &readyz }, { "/metrics", &metrics },
};

const struct endpoint *app_route(const char *path, size_t len)
{
	for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
		if (strlen(routes[i].path) == len && memcmp(routes[i].path, path, len) == 0)
			return routes[i].endpoint;
	}
	return &redirect;
}
