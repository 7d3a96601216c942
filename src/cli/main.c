/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: finds the subcommand. Leaves out everything else.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "config/why.h"

static const char usage[] =
	"sluice " SLUICE_VERSION ": a rate limiter and the URL shortener that it keeps standing\n"
	"\n"
	"  sluice serve [--config FILE] [--listen ADDR:PORT] [--limiter URL] [--links URL]\n"
	"               [--limit SPEC] [--threads N] [--log-level LEVEL]\n"
	"  sluice check-config FILE\n"
	"  sluice inspect KEY | reset KEY [--config FILE] [--limiter URL]\n"
	"  sluice links import|export FILE [--links URL] [--format csv|jsonl|urls]\n"
	"  sluice healthcheck [URL]\n"
	"  sluice --version | --help\n"
	"\n"
	"`sluice serve` alone needs nothing else: it limits in this process, keeps links in sluice.db, and listens on\n"
	"port 5000. The manual is in docs/, every setting in docs/config.md.\n";

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
} commands[] = {
	{ "serve", cli_serve },     { "check-config", cli_check_config },
	{ "inspect", cli_inspect }, { "reset", cli_inspect },
	{ "links", cli_links },     { "healthcheck", cli_healthcheck },
};

static int unknown_command(const char *name)
{
	const char *names[sizeof commands / sizeof commands[0]], *nearest;
	char quoted[WHY_QUOTED_MAX];

	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
		names[i] = commands[i].name;
	nearest = why_nearest(name, names, sizeof commands / sizeof commands[0]);
	why_quote(name, quoted);
	if (nearest != NULL)
		fprintf(stderr, "sluice: %s is no command; did you mean sluice %s?\n", quoted, nearest);
	else
		fprintf(stderr, "sluice: %s is no command; see sluice --help\n", quoted);
	return 2;
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "--help";
	char flag[] = "--help", *help_of[] = { argv[0], argc > 2 ? argv[2] : NULL, flag, NULL };

	/* `sluice help serve` is `sluice serve --help`. */
	if (argc == 3 && strcmp(name, "help") == 0) {
		argv = help_of;
		name = argv[1];
	}
	if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0) {
		fputs(usage, argc > 1 ? stdout : stderr);
		return argc > 1 ? 0 : 2;
	}
	if (strcmp(name, "--version") == 0 || strcmp(name, "version") == 0) {
		puts("sluice " SLUICE_VERSION);
		return 0;
	}
	if (sodium_init() < 0) {
		fputs("sluice: the system's random source does not work\n", stderr);
		return 1;
	}
	for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
		if (strcmp(name, commands[i].name) == 0)
			return commands[i].run(argc - 1, argv + 1);
	}
	return unknown_command(name);
}
