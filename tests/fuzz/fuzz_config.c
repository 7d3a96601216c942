/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_config.c: any bytes as a configuration file.
 *
 * Whatever is accepted passes config_check() and has policies that are in range; whatever is refused is refused with a
 * message of one line that names the file; and reading twice gives the same.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_accepted(const struct config *config)
{
	struct config_error error;

	MUST(config_check(config, &error) == 0);
	for (size_t i = 0; i < config->limits_n; i++) {
		const struct sluice_policy *policy = &config->limits[i].policy;
		struct sluice_policy again;

		MUST(sluice_policy_init(&again, policy->algorithm, policy->limit, policy->window_us, policy->burst,
		                        NULL) == 0);
		MUST(policy->limit >= 1 && policy->limit <= SLUICE_LIMIT_MAX);
		MUST(policy->window_us >= SLUICE_WINDOW_MIN_US && policy->window_us <= SLUICE_WINDOW_MAX_US);
		MUST(policy->burst >= 1 && policy->burst <= SLUICE_LIMIT_MAX);
		MUST(strnlen(config->limits[i].name, sizeof config->limits[i].name) < sizeof config->limits[i].name);
	}
	for (size_t i = 0; i < config->trusted_proxies_n; i++)
		MUST(config->trusted_proxies[i].prefix <= 128);
}

static void check_refused(const struct config_errors *errors)
{
	MUST(errors->n >= 1 && errors->n <= CONFIG_ERRORS_MAX);
	for (size_t i = 0; i < errors->n; i++) {
		const char *text = errors->list[i].text;

		MUST(strncmp(text, "fuzz:", 5) == 0);
		MUST(strnlen(text, sizeof errors->list[i].text) < sizeof errors->list[i].text);
		for (; *text != '\0'; text++)
			MUST((unsigned char)*text >= 0x20 && *text != 0x7f);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct config config, again; /* each is 20 KiB */
	static struct config_errors errors;
	int result;

	config_defaults(&config);
	result = config_load_text(&config, "fuzz", (const char *)data, size, &errors);
	MUST(result == 0 || result == -1);
	if (result != 0) {
		check_refused(&errors);
		return 0;
	}
	MUST(errors.n == 0 && !errors.more);
	check_accepted(&config);
	/* Read over itself it says the same: nothing of what was there shines through. */
	memcpy(&again, &config, sizeof again);
	MUST(config_load_text(&again, "fuzz", (const char *)data, size, &errors) == 0);
	MUST(memcmp(&again, &config, sizeof again) == 0);
	return 0;
}
