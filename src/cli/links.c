/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links.c: `sluice links import|export FILE`: reads what was asked. The work is done in links_import.c, links_export.c.
 */
#include "cli/links.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/flags.h"
#include "config/config.h"
#include "config/why.h"

static const char usage[] =
	"usage: sluice links import|export FILE [--links URL] [--format csv|jsonl|urls]\n"
	"\n"
	"  FILE       - is standard input or output\n"
	"  --links    where links are kept (default sqlite:sluice.db, or SLUICE_LINKS)\n"
	"  --format   csv, jsonl or urls (a URL a line); by default as the name of FILE ends:\n"
	"             .csv, .jsonl .ndjson .json, .txt\n"
	"\n"
	"csv has a header row; code,url,created_at,clicks,last_click_at are the columns, in any order. jsonl has an\n"
	"object with the same names on each line. In urls, blank lines and those that begin with # are passed over.\n"
	"An import needs only url: a code is drawn when there is none. Links that are there already keep their code,\n"
	"rows that are refused are named on standard error, and an import can be run again. Both may run beside a\n"
	"server. Exit status: 0, 1 when it failed or a row was refused, 2 for wrong usage, 130 when interrupted.\n";

void print_escaped(const char *text, size_t len, size_t most)
{
	for (size_t i = 0; i < len && i < most; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c <= 0x7e)
			fputc(c, stderr);
		else
			fprintf(stderr, "\\x%02x", c);
	}
	if (len > most)
		fputs("...", stderr);
}

static int wrong_usage(const char *why, const char *what)
{
	fputs("sluice links: ", stderr);
	print_escaped(why, strlen(why), strlen(why));
	print_escaped(what, strlen(what), strlen(what));
	fputs("; see sluice links --help\n", stderr);
	return 2;
}

static int wrong_action(const char *action)
{
	char quoted[WHY_QUOTED_MAX];

	return wrong_usage(why_quote(action, quoted), " is neither import nor export");
}

/* The two names of the one setting that matters here; the others are none of our business.
 * @return 0, or what is wrong in `error`. */
static int load_variables(struct config *config, struct config_error *error)
{
	static const char *const names[] = { "SLUICE_LINKS=", "SLUICE_LINKS_STORE=" };
	char *found[3] = { NULL };
	size_t n = 0;

	for (size_t i = 0; i < 2; i++) {
		for (char **variable = environ; *variable != NULL; variable++) {
			if (strncmp(*variable, names[i], strlen(names[i])) == 0) {
				found[n++] = *variable;
				break;
			}
		}
	}
	return config_load_env(config, found, error);
}

/* --links wins over the environment, which wins over the default; checked as `sluice serve` checks it.
 * @return 0 or the exit status. */
static int find_store(struct config *config, const char *flag)
{
	struct config_error error;

	config_defaults(config);
	if (flag == NULL && load_variables(config, &error) != 0)
		return wrong_usage(error.text, "");
	if (flag != NULL && config_set_flag(config, "links", flag, &error) != 0)
		return wrong_usage(error.text, "");
	if (strcmp(config->links.store, "sqlite::memory:") == 0)
		return wrong_usage("sqlite::memory: lives inside a running server; name a file with --links", "");
	return 0;
}

static int find_format(struct links_job *job, const char *flag)
{
	int format = flag != NULL ? record_format_parse(flag) : record_format_of_file(job->file);

	if (format < 0 && flag != NULL)
		return wrong_usage("--format must be csv, jsonl or urls, not ", flag);
	if (format < 0)
		return wrong_usage("give --format csv, jsonl or urls: it can't be told from the name ", job->file);
	job->format = (enum record_format)format;
	return 0;
}

static int run(struct links_job *job, bool import, const char *store_flag, const char *format_flag)
{
	struct config *config = malloc(sizeof *config); /* large for a stack */
	int status;

	if (config == NULL) {
		fputs("sluice links: out of memory\n", stderr);
		return 1;
	}
	status = find_store(config, store_flag);
	if (status == 0)
		status = find_format(job, format_flag);
	if (status == 0) {
		job->store = config->links.store;
		status = import ? links_import(job) : links_export(job);
	}
	free(config);
	return status;
}

int cli_links(int argc, char **argv)
{
	static const struct option options[] = {
		{ "links", required_argument, NULL, 'l' },
		{ "format", required_argument, NULL, 'f' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *store = NULL, *format = NULL;
	struct links_job job = { 0 };
	bool import;
	int option;

	opterr = 0;
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option == 'l')
			store = optarg;
		else if (option == 'f')
			format = optarg;
		else if (option == 'h')
			return fputs(usage, stdout) < 0;
		else
			return flags_complain("links", option, argv, options);
	}
	if (argc - optind < 1)
		return wrong_usage("import or export is missing", "");
	import = strcmp(argv[optind], "import") == 0;
	if (!import && strcmp(argv[optind], "export") != 0)
		return wrong_action(argv[optind]);
	if (argc - optind < 2 || argv[optind + 1][0] == '\0')
		return wrong_usage("FILE is missing", "");
	if (argc - optind > 2)
		return wrong_usage("one FILE only, not also ", argv[optind + 2]);
	job.file = argv[optind + 1];
	return run(&job, import, store, format);
}
