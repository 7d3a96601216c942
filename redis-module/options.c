/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.c: reads the arguments of the module.
 */
#include "redis-module/options.h"

static int read_yes_or_no(const char *name, const struct word *word, bool *value, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];

	*value = word_is(word, "yes");
	if (*value || word_is(word, "no"))
		return 0;
	return why_set(why, "%s must be yes or no, not %s", name, word_quote(word, quoted));
}

int options_read(struct options *options, const struct word *words, size_t n, struct why *why)
{
	char quoted[WHY_QUOTED_MAX];
	bool named = false;

	*options = (struct options){ .cl_throttle = true };
	for (size_t i = 0; i < n; i += 2) {
		if (!word_is(&words[i], "cl-throttle"))
			return why_set(why, "%s is no argument of this module; there is one: cl-throttle yes|no",
			               word_quote(&words[i], quoted));
		if (named)
			return why_set(why, "cl-throttle comes twice");
		if (i + 1 == n)
			return why_set(why, "cl-throttle needs a value: yes or no");
		if (read_yes_or_no("cl-throttle", &words[i + 1], &options->cl_throttle, why) != 0)
			return -1;
		named = true;
	}
	return 0;
}
