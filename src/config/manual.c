/* SPDX-License-Identifier: Apache-2.0 */
#include "config/manual.h"

#include <stdbool.h>
#include <string.h>

#include "config/env.h"
#include "config/schema.h"

static const char head[] =
	".\\\" Written at build from src/config/schema.c.\n"
	".Dd November 24, 2026\n"
	".Dt SLUICE.YAML 5\n"
	".Os\n"
	".nh\n" /* names are to be copied */
	".Sh NAME\n"
	".Nm sluice.yaml\n"
	".Nd settings of sluice\n"
	".Sh DESCRIPTION\n"
	"Sluice starts without any configuration.\n"
	"What you set comes from four places, and each wins over the one before it: the defaults below, a YAML file\n"
	".Pq Ql sluice serve --config FILE ,\n"
	"environment variables, flags.\n"
	"The service reads\n"
	".Pa /etc/sluice/sluice.yaml .\n"
	".Pp\n"
	".Ql sluice check-config FILE\n"
	"lists what is wrong with a file.\n"
	"A server that is told to reload\n"
	".Pq Dv SIGHUP\n"
	"a file with an error keeps what it has; only\n"
	".Ic limits\n"
	"take effect without a restart.\n"
	".Pp\n"
	"Durations have a unit: 500us, 50ms, 60s, 5m, 1h, 30d.\n"
	"Sizes may have one: 64KiB, 1MiB, 2GiB.\n"
	"Networks are 10.0.0.0/8, 2001:db8::/32, or one address.\n"
	"A value that ends in a colon needs quotes.\n"
	".Pp\n"
	"Every setting but\n"
	".Ic limits\n"
	"has a variable, which is named below with it.\n"
	"Lists have commas or blanks between their items there.\n"
	"An empty variable counts as not set, and one that begins with\n"
	".Ev SLUICE_\n"
	"and names no setting is an error.\n";

static const char limits_head[] =
	".Ss Each limit\n"
	"A request is counted under all limits together: it passes when every one of them admits "
	"it, and otherwise none\n"
	"of them counts it.\n"
	".Bl -tag -width Ds\n";

static const char tail[] = ".El\n"
			   ".Sh FILES\n"
			   ".Bl -tag -width Ds\n"
			   ".It Pa /etc/sluice/sluice.yaml\n"
			   "The settings of the service.\n"
			   ".It Pa /usr/share/doc/sluice/sluice.yaml\n"
			   "Every setting at its default.\n"
			   ".El\n"
			   ".Sh EXAMPLES\n"
			   "Ten requests a minute for each client, and a thousand a second, two thousand at once, for "
			   "all of them together:\n"
			   ".Bd -literal -offset indent\n"
			   "listen: 0.0.0.0:5000\n"
			   "trusted_proxies: [10.0.0.100]\n"
			   "limiter:\n"
			   "  store: redis://10.0.0.130\n"
			   "links:\n"
			   "  store: postgresql://sluice@10.0.0.200/urldb\n"
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
			   ".Ed\n"
			   ".Sh SEE ALSO\n"
			   ".Xr sluice 1\n";

/* A text of the table, its `words` in bold. Dots and quotes at the beginning of a line would be requests to troff: an
 * empty character goes before each text. */
static void write_text(FILE *out, const char *text)
{
	bool bold = false;

	fputs("\\&", out);
	for (; *text != '\0'; text++) {
		if (*text == '`') {
			bold = !bold;
			fputs(bold ? "\\fB" : "\\fR", out);
		} else if (*text == '\\') {
			fputs("\\e", out);
		} else if (*text == '-') {
			fputs("\\-", out); /* not a hyphen: it is to be copied */
		} else {
			fputc(*text, out);
		}
	}
	fputc('\n', out);
}

static void write_names(FILE *out, const struct schema_key *key)
{
	char name[ENV_NAME_MAX];

	if (key->type != SCHEMA_LIMITS)
		fprintf(out, "; \\fB%s\\fR", env_name(key, name));
	if (key->env != NULL)
		fprintf(out, "%s \\fB%s\\fR", key->type != SCHEMA_LIMITS ? "," : ";", key->env);
	if (key->flag != NULL)
		fprintf(out, ", \\fB\\-\\-%s\\fR", key->flag);
}

/* @param whole  with variable and flag; items of `limits` have none. */
static void write_key(FILE *out, const struct schema_key *key, bool whole)
{
	char allowed[SCHEMA_ALLOWED_MAX];

	fprintf(out, ".It Ic %s\n", key->path);
	write_text(out, key->doc);
	fprintf(out, ".br\n");
	write_text(out, schema_allowed(key, allowed, sizeof allowed));
	if (key->initial == NULL)
		fprintf(out, "(must be given)");
	else
		fprintf(out, "(default: %s)", *key->initial != '\0' ? key->initial : "none");
	if (whole)
		write_names(out, key);
	fputc('\n', out);
}

void manual_write(FILE *out)
{
	fputs(head, out);
	fputs(".Sh SETTINGS\n.Bl -tag -width Ds\n", out);
	for (size_t i = 0; i < schema_keys_n; i++)
		write_key(out, &schema_keys[i], true);
	fputs(".El\n", out);
	fputs(limits_head, out);
	for (size_t i = 0; i < schema_limit_keys_n; i++)
		write_key(out, &schema_limit_keys[i], false);
	fputs(tail, out);
}
