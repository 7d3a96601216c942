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

#include "cli/cli.h"
#include "cli/flags.h"
#include "cli/settings.h"

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

int cli_inspect(int argc, char **argv)
{
	struct settings settings = { 0 };
	struct config_error error;
	struct config *config;
	int option, failed;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'h')
			return printf(usage, argv[0]) < 0 ? 1 : 0;
		if (option == '?' || option == ':')
			return flags_complain(argv[0], option, argv, options);
		if (option == 'c') {
			settings.file = optarg;
		} else { /* the last one counts */
			settings.flags[0].name = "limiter";
			settings.flags[0].value = optarg;
			settings.flags_n = 1;
		}
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
	failed = settings_load(&settings, config, &error);
	if (failed)
		fprintf(stderr, "sluice %s: %s\n", argv[0], error.text);
	else
		fprintf(stderr,
		        "sluice %s: the limiter memory: lives inside the running server, where no other program can reach "
		        "it;\n"
		        "its totals are on the server's /metrics page, and a restart forgets them all\n",
		        argv[0]);
	free(config);
	return failed ? 2 : 1;
}
