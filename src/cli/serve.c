/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c: `sluice serve`: settings from file, environment and flags, then the server.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "server/server.h"

#define FLAGS_MAX 32

struct flag {
	const char *name, *value;
};

/* Where settings come from; kept so that SIGHUP can read them again. */
struct sources {
	const char *file;
	struct flag flags[FLAGS_MAX];
	size_t flags_n;
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "listen", required_argument, NULL, 0 },
	{ "limiter", required_argument, NULL, 0 },
	{ "links", required_argument, NULL, 0 },
	{ "limit", required_argument, NULL, 0 },
	{ "threads", required_argument, NULL, 0 },
	{ "log-level", required_argument, NULL, 0 },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

static int load(void *context, struct config *config, struct config_error *error)
{
	const struct sources *sources = context;

	config_defaults(config);
	if (sources->file != NULL && config_load_file(config, sources->file, error) != 0)
		return -1;
	if (config_load_env(config, environ, error) != 0)
		return -1;
	for (size_t i = 0; i < sources->flags_n; i++) {
		if (config_set_flag(config, sources->flags[i].name, sources->flags[i].value, error) != 0)
			return -1;
	}
	return config_check(config, error);
}

/* @return 0 to go on, or the exit status + 1. */
static int read_flags(struct sources *sources, int argc, char **argv)
{
	int option, index;

	while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
		if (option == 'h') {
			puts("sluice serve [--config FILE] [--listen ADDR:PORT] [--limiter URL] [--links URL]\n"
			     "             [--limit SPEC] [--threads N] [--log-level LEVEL]\n\n"
			     "Every flag is described in docs/config.md.");
			return 1;
		}
		if (option == '?')
			return 3; /* getopt has said why */
		if (option == 'c') {
			sources->file = optarg;
		} else if (sources->flags_n < FLAGS_MAX) {
			sources->flags[sources->flags_n++] = (struct flag){ options[index].name, optarg };
		} else {
			fputs("sluice serve: too many flags\n", stderr);
			return 3;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "sluice serve: unexpected \"%s\"; see sluice serve --help\n", argv[optind]);
		return 3;
	}
	return 0;
}

int cli_serve(int argc, char **argv)
{
	struct sources sources = { 0 };
	struct config_error error;
	struct config *config;
	int status = read_flags(&sources, argc, argv);

	if (status != 0)
		return status - 1;
	config = malloc(sizeof *config);
	if (config == NULL) {
		fputs("sluice serve: out of memory\n", stderr);
		return 1;
	}
	if (load(&sources, config, &error) != 0) {
		fprintf(stderr, "sluice serve: %s\n", error.text);
		free(config);
		return 2;
	}
	log_set_level((enum log_level)config->log.level);
	status = server_run(&(struct server_options){ .config = config, .reload = load, .context = &sources });
	free(config);
	return status;
}
