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
#include "cli/flags.h"
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

static const char usage[] =
	"usage: sluice serve [flags]\n"
	"\n"
	"  --config FILE        the YAML file with the settings (default none)\n"
	"  --listen ADDR:PORT   where to listen; port 0 takes any free one (default 0.0.0.0:5000)\n"
	"  --limiter URL        where the states of limits are kept (default memory:)\n"
	"  --links URL          where links are kept (default sqlite:sluice.db)\n"
	"  --limit SPEC         requests/window of each client, or off (default 10/60s)\n"
	"  --threads N          threads that serve; 0 for one a processor (default 0)\n"
	"  --log-level LEVEL    error, warn, info or debug (default info)\n"
	"\n"
	"Flags win over environment variables, which win over the file. docs/config.md has every setting.\n";

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

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, &index)) != -1) {
		if (option == 'h')
			return fputs(usage, stdout) < 0 ? 2 : 1;
		if (option == '?' || option == ':')
			return flags_complain("serve", option, argv, options) + 1;
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
