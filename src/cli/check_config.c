/* SPDX-License-Identifier: Apache-2.0 */
/*
 * check_config.c: says what is wrong with a configuration file, all of it at once, without serving.
 *
 * Looks at the file alone: flags and environment of a later `serve` may still change what it says.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "config/config.h"

/* Both are large for a stack. */
struct check {
	struct config config;
	struct config_errors errors;
};

static int check_file(const char *path, struct check *check)
{
	struct config_error error;

	config_defaults(&check->config);
	if (config_load_file_all(&check->config, path, &check->errors) != 0) {
		for (size_t i = 0; i < check->errors.n; i++)
			fprintf(stderr, "%s\n", check->errors.list[i].text);
		if (check->errors.more)
			fprintf(stderr, "%s: and more: the first %d are shown\n", path, CONFIG_ERRORS_MAX);
		return 2;
	}
	if (config_check(&check->config, &error) != 0) {
		fprintf(stderr, "%s: %s\n", path, error.text);
		return 2;
	}
	printf("%s: ok\n", path);
	return 0;
}

int cli_check_config(int argc, char **argv)
{
	struct check *check;
	int status;

	if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
		printf("usage: sluice %s FILE\n"
		       "Says whether a configuration file is right: `FILE: ok`, or up to 20 errors as FILE:LINE: KEY: "
		       "why\n"
		       "on standard error and exit status 2. Environment and flags are not looked at, paths are not "
		       "tried.\n",
		       argv[0]);
		return 0;
	}
	if (argc == 2 && argv[1][0] == '-' && argv[1][1] != '\0') {
		fprintf(stderr, "sluice %s: no such flag: %s; see sluice %s --help\n", argv[0], argv[1], argv[0]);
		return 2;
	}
	if (argc != 2 || argv[1][0] == '\0') {
		fprintf(stderr, "usage: sluice %s FILE\n", argv[0]);
		return 2;
	}
	check = malloc(sizeof *check);
	if (check == NULL) {
		fprintf(stderr, "sluice %s: out of memory\n", argv[0]);
		return 1;
	}
	status = check_file(argv[1], check);
	free(check);
	/* `sluice check-config FILE >/dev/full` must not succeed. */
	if (fflush(stdout) != 0) {
		perror("standard output");
		return 1;
	}
	return status;
}
