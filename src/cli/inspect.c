/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inspect.c: `sluice inspect KEY`, `sluice reset KEY`: one limiter state, in a store that other programs can reach.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

int cli_inspect(int argc, char **argv)
{
	if (argc < 2 || strcmp(argv[1], "--help") == 0) {
		fprintf(stderr, "sluice %s KEY   (a key looks like per-client:{203.0.113.7})\n", argv[0]);
		return 2;
	}
	fprintf(stderr,
	        "sluice %s: the limiter memory: lives inside the running server and no other program can reach it;\n"
	        "its totals are on the server's /metrics page, and a restart forgets them all\n",
	        argv[0]);
	return 1;
}
