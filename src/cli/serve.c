/* SPDX-License-Identifier: Apache-2.0 */
/*
 * serve.c: `sluice serve`: settings from file, environment and flags, then the server.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/settings.h"
#include "server/server.h"

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

static int reload(void *context, struct config *config, struct config_error *error)
{
	return settings_load(context, config, error);
}

/* @return 0 to go on, or the exit status + 1. */
static int read_flags(struct settings *settings, int argc, char **argv)
{
	int option, index;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, &index)) != -1) {
		if (option == 'h')
			return fputs(usage, stdout) < 0 ? 2 : 1;
		if (option == '?' || option == ':')
			return flags_complain("serve", option, argv, options) + 1;
		if (option == 'c') {
			settings->file = optarg;
		} else if (settings->flags_n < SETTINGS_FLAGS_MAX) {
			settings->flags[settings->flags_n].name = options[index].name;
			settings->flags[settings->flags_n++].value = optarg;
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
	struct settings settings = { 0 };
	struct config_error error;
	struct config *config;
	int status = read_flags(&settings, argc, argv);

	if (status != 0)
		return status - 1;
	config = malloc(sizeof *config);
	if (config == NULL) {
		fputs("sluice serve: out of memory\n", stderr);
		return 1;
	}
	if (settings_load(&settings, config, &error) != 0) {
		fprintf(stderr, "sluice serve: %s\n", error.text);
		free(config);
		return 2;
	}
	log_set_level((enum log_level)config->log.level);
	status = server_run(&(struct server_options){ .config = config, .reload = reload, .context = &settings });
	free(config);
	return status;
}
