/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reference.c: the table as pages for people: docs/config.md here, sluice.yaml(5) in manual.c.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "config/env.h"
#include "config/manual.h"
#include "config/schema.h"

static const char introduction[] =
	"# Configuration\n"
	"\n"
	"<!-- Written by `make docs` from src/config/schema.c: change it there. -->\n"
	"\n"
	"Sluice starts without any configuration. What you set comes from four places, and each wins over the one "
	"before\n"
	"it: the defaults below, a YAML file (`sluice serve --config FILE`), environment variables, flags.\n"
	"[`etc/sluice.yaml`](../etc/sluice.yaml) is a complete file with every setting at its default.\n"
	"\n"
	"`sluice check-config FILE` lists what is wrong with a file, up to 20 errors, each as `FILE:LINE: KEY: why`, "
	"and\n"
	"exits with status 2. An error of YAML itself hides what comes after it. Only the file is looked at: not the\n"
	"environment, and whether paths can be opened and addresses be listened on shows when a server starts. A "
	"server that\n"
	"is told to reload (SIGHUP) a file with an error keeps what it has.\n"
	"\n"
	"## Spelling\n"
	"\n"
	"| what | how |\n"
	"| --- | --- |\n"
	"| durations | a whole number and a unit: `500us`, `50ms`, `60s`, `5m`, `1h`, `30d`. A bare number is an error "
	"|\n"
	"| sizes | `64KiB`, `1MiB`, `2GiB`, or bytes: `65536` |\n"
	"| networks | `10.0.0.0/8`, `2001:db8::/32`, or one address |\n"
	"| lists | `[a, b]` in a file; commas or blanks between the items in a variable |\n"
	"| a value that ends in a colon | needs quotes in a file: `store: \"memory:\"` |\n"
	"\n"
	"## Environment\n"
	"\n"
	"Every setting but `limits` has a variable: `SLUICE_` and its name in capitals, dots as underscores\n"
	"(`server.idle_timeout`: `SLUICE_SERVER_IDLE_TIMEOUT`). Some have a short one too; set one of the two. An "
	"empty\n"
	"variable counts as not set. A variable that begins with `SLUICE_` and names no setting is an error, so that "
	"a\n"
	"misspelt one cannot pass for one that works. Left alone are `SLUICE_TEST_…`, `SLUICE_SEED`, `SLUICE_BUILD` "
	"and\n"
	"`SLUICE_STEPS`, which are for tests, and what Kubernetes and Docker set for a service of that name\n"
	"(`…_SERVICE_HOST`, `…_SERVICE_PORT…`, `…_PORT=tcp://…`, `…_PORT_5000_TCP…`).\n";

static const char limits_introduction[] = "\n"
					  "### Each limit\n"
					  "\n"
					  "A request is counted under all limits together: it passes when every one of "
					  "them admits it, and otherwise none\n"
					  "of them counts it.\n"
					  "\n"
					  "```yaml\n"
					  "limits:\n"
					  "  - name: per-client\n"
					  "    algorithm: sliding-log\n"
					  "    limit: 10\n"
					  "    window: 60s\n"
					  "    by: [client-ip]\n"
					  "  - name: everybody\n"
					  "    algorithm: token-bucket\n"
					  "    limit: 1000\n"
					  "    window: 1s\n"
					  "    burst: 2000\n"
					  "    by: [global]\n"
					  "```\n"
					  "\n"
					  "| setting | allowed | default | meaning |\n"
					  "| --- | --- | --- | --- |\n";

static void write_default(FILE *out, const struct schema_key *key)
{
	if (key->initial == NULL)
		fprintf(out, "must be given");
	else if (*key->initial == '\0')
		fprintf(out, "none");
	else
		fprintf(out, "`%s`", key->initial);
}

static void write_row(FILE *out, const struct schema_key *key)
{
	char allowed[SCHEMA_ALLOWED_MAX], name[ENV_NAME_MAX];

	fprintf(out, "| `%s` | %s | ", key->path, schema_allowed(key, allowed, sizeof allowed));
	write_default(out, key);
	fprintf(out, " | ");
	if (key->type != SCHEMA_LIMITS)
		fprintf(out, "`%s`", env_name(key, name));
	if (key->env != NULL)
		fprintf(out, "%s`%s`", key->type != SCHEMA_LIMITS ? ", " : "", key->env);
	fprintf(out, " | ");
	if (key->flag != NULL)
		fprintf(out, "`--%s`", key->flag);
	fprintf(out, " | %s |\n", key->doc);
}

/* The length of `server` in `server.threads`; 0 at the top. */
static size_t section_len(const struct schema_key *key)
{
	const char *dot = strchr(key->path, '.');

	return dot != NULL ? (size_t)(dot - key->path) : 0;
}

static void write_page(FILE *out)
{
	char allowed[SCHEMA_ALLOWED_MAX];

	fputs(introduction, out);
	for (size_t i = 0; i < schema_keys_n; i++) {
		const struct schema_key *key = &schema_keys[i];
		size_t len = section_len(key);
		bool first = i == 0 || section_len(&schema_keys[i - 1]) != len ||
		             strncmp(schema_keys[i - 1].path, key->path, len) != 0;

		if (first && key->type == SCHEMA_LIMITS)
			fprintf(out, "\n## limits\n");
		else if (first)
			fprintf(out, "\n## %.*s\n", len > 0 ? (int)len : 14, len > 0 ? key->path : "At the top");
		if (first)
			fprintf(out, "\n| setting | allowed | default | environment | flag | meaning |\n"
			             "| --- | --- | --- | --- | --- | --- |\n");
		write_row(out, key);
	}
	fputs(limits_introduction, out);
	for (size_t i = 0; i < schema_limit_keys_n; i++) {
		const struct schema_key *key = &schema_limit_keys[i];

		fprintf(out, "| `%s` | %s | ", key->path, schema_allowed(key, allowed, sizeof allowed));
		write_default(out, key);
		fprintf(out, " | %s |\n", key->doc);
	}
}

static int write_all(int fd, const char *bytes, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return -1;
		if (n > 0) {
			bytes += n;
			len -= (size_t)n;
		}
	}
	return 0;
}

/* @return 0 or -1 with errno. */
static int write_whole(int fd, void (*write_it)(FILE *out))
{
	char *page = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&page, &len);
	bool complete;
	int result = -1;

	if (out == NULL)
		return -1;
	write_it(out);
	complete = ferror(out) == 0;
	if (fclose(out) != 0 || !complete)
		errno = ENOMEM;
	else
		result = write_all(fd, page, len);
	free(page);
	return result;
}

int config_write_reference(int fd)
{
	return write_whole(fd, write_page);
}

int config_write_manual(int fd)
{
	return write_whole(fd, manual_write);
}
