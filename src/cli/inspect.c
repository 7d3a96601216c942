/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.c: `sluice inspect KEY`, `sluice reset KEY`: one limiter state, in a store that other programs can reach.
 *
 * Leaves out: the in-process limiter, whose states no other program can reach. It is the only one that this build
 * knows, so that is what both say, once the settings have been read and found right.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/cli.h"
#include "config/config.h"

static const char usage[] =
	"usage: sluice %s KEY [--config FILE] [--limiter URL]\n\n"
	"KEY is <limit name>:{<subject>}, for example per-client:{203.0.113.7}. Works with limiters that other\n"
	"programs can reach; the one inside the server (memory:) is not among them.\n";

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "limiter", required_argument, NULL, 'l' },
	{ "help", no_argument, NULL, 'h' },
	{ NULL, 0, NULL, 0 },
};

/* @return 0, or -1 with `error` set. */
static int load(struct config *config, const char *file, const char *limiter, struct config_error *error)
{
	config_defaults(config);
	if (file != NULL && config_load_file(config, file, error) != 0)
		return -1;
	if (config_load_env(config, environ, error) != 0)
		return -1;
	if (limiter != NULL && config_set_flag(config, "limiter", limiter, error) != 0)
		return -1;
	return config_check(config, error);
}

int cli_inspect(int argc, char **argv)
{
	const char *file = NULL, *limiter = NULL;
	struct config_error error;
	struct config *config;
	int option, failed;

	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'h') {
			printf(usage, argv[0]);
			return 0;
		}
		if (option == '?') {
			fprintf(stderr, "sluice %s: what is \"%s\"? See sluice %s --help\n", argv[0], argv[optind - 1],
			        argv[0]);
			return 2;
		}
		*(option == 'c' ? &file : &limiter) = optarg;
	}
	if (argc - optind != 1) {
		fprintf(stderr, usage, argv[0]);
		return 2;
	}
	config = malloc(sizeof *config);
	if (config == NULL) {
		fprintf(stderr, "sluice %s: out of memory\n", argv[0]);
		return 1;
	}
	failed = load(config, file, limiter, &error);
	if (failed)
		fprintf(stderr, "sluice %s: %s\n", argv[0], error.text);
	else
		fprintf(stderr,
		        "sluice %s: the limiter %s lives inside the running server, where no other program can reach "
		        "it;\n"
		        "its totals are on the server's /metrics page, and a restart forgets them all\n",
		        argv[0], config->limiter.store);
	free(config);
	return failed ? 2 : 1;
}
