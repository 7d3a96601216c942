/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_spelling.c: any text as each kind of value, as a variable and as a flag.
 *
 * What is accepted is shown in a spelling that reads back as the same value; what is refused leaves the result alone
 * and gives a reason of one line.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/schema.h"
#include "config/value.h"

#define UNCHANGED UINT64_C(0x5a5a5a5a5a5a5a5a)
#define MUST(condition)                                                                                                \
	do {                                                                                                           \
		if (!(condition))                                                                                      \
			abort();                                                                                       \
	} while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_reason(const struct why *why)
{
	size_t len = strnlen(why->text, sizeof why->text);

	MUST(len > 0 && len < sizeof why->text);
	for (size_t i = 0; i < len; i++)
		MUST((unsigned char)why->text[i] >= 0x20 && why->text[i] != 0x7f);
}

static void try_number(const char *text, int (*read)(const char *, uint64_t *, struct why *),
                       const char *(*show)(uint64_t, char *))
{
	char shown[VALUE_SHOWN_MAX];
	uint64_t value = UNCHANGED, again;
	struct why why;

	if (read(text, &value, &why) != 0) {
		MUST(value == UNCHANGED);
		check_reason(&why);
		return;
	}
	if (show != NULL) {
		MUST(read(show(value, shown), &again, &why) == 0);
		MUST(again == value);
	}
}

static void try_network(const char *text)
{
	struct config_network network;
	struct why why;

	if (value_network(text, &network, &why) != 0) {
		check_reason(&why);
		return;
	}
	MUST(network.prefix <= 128);
	for (unsigned bit = network.prefix; bit < 128; bit++)
		MUST((network.address.s6_addr[bit / 8] >> (7 - bit % 8) & 1) == 0);
}

static void try_address(const char *text)
{
	struct sockaddr_storage address;
	struct why why;
	socklen_t len;

	if (value_address(text, &address, &len, &why) != 0)
		check_reason(&why);
	else
		MUST(len == (address.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6)));
}

static void try_settings(const char *text)
{
	static struct config config;
	static struct config_error error;
	struct why why;

	for (size_t i = 0; i < schema_keys_n; i++) {
		config_defaults(&config);
		/* These two go together. */
		if (strcmp(schema_keys[i].path, "limiter.tls_cert_file") == 0 && *text != '\0')
			strcpy(config.limiter.tls_key_file, "k");
		if (strcmp(schema_keys[i].path, "limiter.tls_key_file") == 0 && *text != '\0')
			strcpy(config.limiter.tls_cert_file, "c");
		if (schema_set(&schema_keys[i], &config, text, &why) != 0)
			check_reason(&why);
		else
			MUST(config_check(&config, &error) == 0);
	}
}

static void try_variable(const char *text)
{
	static struct config config;
	static struct config_error error;
	char variable[600], *environment[] = { variable, NULL };

	snprintf(variable, sizeof variable, "SLUICE_%s", text);
	config_defaults(&config);
	if (config_load_env(&config, environment, &error) == 0)
		MUST(config_check(&config, &error) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	MUST(text != NULL);
	memcpy(text, data, size);
	text[size] = '\0';
	try_number(text, value_duration, value_show_duration);
	try_number(text, value_size, value_show_size);
	try_number(text, value_number, NULL);
	try_network(text);
	try_address(text);
	try_settings(text);
	try_variable(text);
	free(text);
	return 0;
}
