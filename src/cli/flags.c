/* SPDX-License-Identifier: Apache-2.0 */
/* flags.c: see flags.h. */
#include "cli/flags.h"

#include <stdio.h>
#include <string.h>

#include "config/why.h"

#define OPTIONS_MAX 16

static const char *nearest(const char *flag, const struct option *options)
{
	const char *names[OPTIONS_MAX];
	char name[64];
	size_t n = 0;

	snprintf(name, sizeof name, "%.*s", (int)strcspn(flag, "="), flag);
	while (n < OPTIONS_MAX && options[n].name != NULL) {
		names[n] = options[n].name;
		n++;
	}
	return why_nearest(name, names, n);
}

int flags_complain(const char *command, int result, char **argv, const struct option *options)
{
	const char *flag = argv[optind - 1], *meant = NULL, *now = argv[optind];
	char letter[] = { '-', (char)optopt, '\0' };

	/* Of letters that stand together getopt is still at the word until it has read the last. */
	if (result == '?' && optopt != 0 && now != NULL && now[0] == '-' && now[1] != '-' &&
	    strchr(now, optopt) != NULL)
		flag = letter;
	if (result == '?' && strncmp(flag, "--", 2) == 0)
		meant = nearest(flag + 2, options);
	fprintf(stderr, "sluice %s: %s%s", command,
	        result == ':' ? "a value is missing after " : "no such flag: ", flag);
	if (meant != NULL)
		fprintf(stderr, "; did you mean --%s?\n", meant);
	else
		fprintf(stderr, "; see sluice %s --help\n", command);
	return 2;
}
