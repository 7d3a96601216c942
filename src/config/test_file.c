/* SPDX-License-Identifier: Apache-2.0 */
/* test_file.c: what a YAML file may say, and what is said about one that is wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "config/config.h"

#define MIB (1024 * 1024)

/* Both are large for a stack. */
struct loaded {
	struct config config;
	struct config_errors errors;
	int result;
};

static struct loaded *load(const char *text, size_t len)
{
	struct loaded *loaded = malloc(sizeof *loaded);

	assert_non_null(loaded);
	config_defaults(&loaded->config);
	loaded->result = config_load_text(&loaded->config, "f.yaml", text, len, &loaded->errors);
	return loaded;
}

struct error_case {
	const char *text;
	const char *errors; /* all of them, a line each */
};

static const struct error_case error_cases[] = {
	/* Names. */
	{ "serer:\n  threads: 1\n", "f.yaml:1: serer: unknown key; did you mean \"server\"?" },
	{ "\n\nserver:\n  thraeds: 1\n", "f.yaml:4: server.thraeds: unknown key; did you mean \"threads\"?" },
	{ "threads: 4\n", "f.yaml:1: threads: unknown key; did you mean \"server.threads\"?" },
	{ "log:\n  store: x\n", "f.yaml:2: log.store: unknown key; did you mean \"limiter.store\"?" },
	{ "zebra: 1\n", "f.yaml:1: zebra: unknown key" },
	{ "server.threads: 1\n", "f.yaml:1: server.threads: unknown key" },
	{ "server:\n  server:\n    threads: 1\n", "f.yaml:2: server.server: unknown key" },
	{ "\"a\\nb\": 1\n", "f.yaml:1: a\\x0ab: unknown key" },
	{ "<<: {listen: a}\n", "f.yaml:1: <<: merge keys are not supported; write the settings out" },
	{ "listen: 0.0.0.0:1\nlisten: 0.0.0.0:2\n", "f.yaml:2: listen: stands here a second time" },
	{ "log: {level: warn}\nlog: {access: off}\n", "f.yaml:2: log: stands here a second time" },
	{ "log: {level: warn, level: warn}\n", "f.yaml:1: log.level: stands here a second time" },
	{ "? [a]\n: b\n", "f.yaml:1: (key): is a list; allowed: the name of a setting" },
	{ "log:\n  ? {}\n  : b\n", "f.yaml:2: log.(key): is a mapping; allowed: the name of a setting" },

	/* Values. */
	{ "limits:\n  - name: a\n    limit: 10\n    window: 60\n",
	  "f.yaml:4: limits[0].window: \"60\" has no unit; write 60s, 500ms, 1h…" },
	{ "server: {threads: 257}\n", "f.yaml:1: server.threads: \"257\" is out of range; allowed: 0 to 256" },
	{ "server: {threads: 4294967296}\n",
	  "f.yaml:1: server.threads: \"4294967296\" is out of range; allowed: 0 to 256" },
	{ "server: {idle_timeout: 500ms}\n",
	  "f.yaml:1: server.idle_timeout: \"500ms\" is out of range; allowed: 1s to 1h" },
	{ "server: {max_body_bytes: 8KiB}\n",
	  "f.yaml:1: server.max_body_bytes: \"8KiB\" is out of range; allowed: 32KiB to 64MiB" },
	{ "limiter: {ipv6_prefix: 0}\n", "f.yaml:1: limiter.ipv6_prefix: \"0\" is out of range; allowed: 1 to 128" },
	{ "limiter: {on_failure: opn}\n",
	  "f.yaml:1: limiter.on_failure: \"opn\" is not allowed; did you mean \"open\"? "
	  "Allowed: local, open, closed" },
	{ "limiter: {on_failure: OPEN}\n",
	  "f.yaml:1: limiter.on_failure: \"OPEN\" is not allowed; allowed: local, open, closed" },
	{ "limiter: {store: redis://user:secret@h:x}\n",
	  "f.yaml:1: limiter.store: the port of host 1 is no number from 1 to 65535" },
	{ "limiter: {store: redis:secret}\n",
	  "f.yaml:1: limiter.store: this build knows \"memory:\", redis://HOST, rediss://HOST, "
	  "redis+sentinel://HOST,HOST/NAME, rediss+sentinel://HOST,HOST/NAME, redis+cluster://HOST,HOST, "
	  "rediss+cluster://HOST,HOST; it has no store \"redis:\"" },
	{ "limiter: {store: \"redis+sentinel://a,b\"}\n",
	  "f.yaml:1: limiter.store: the name of the master is missing; write redis+sentinel://host,host/NAME" },
	{ "limiter: {store: memory}\n", "f.yaml:1: limiter.store: \"memory\" is not a store; write \"memory:\"" },
	{ "limiter: {store: \"memory:x\"}\n", "f.yaml:1: limiter.store: nothing may follow \"memory:\"" },
	{ "links: {store: \"sqlite:\"}\n",
	  "f.yaml:1: links.store: \"sqlite:\" names no file; write sqlite:sluice.db or sqlite::memory:" },
	{ "limiter: {prefix: \"a{b}:\"}\n",
	  "f.yaml:1: limiter.prefix: may hold printable ASCII without blanks and braces only" },
	{ "limiter: {prefix: \"ä\"}\n",
	  "f.yaml:1: limiter.prefix: may hold printable ASCII without blanks and braces only" },
	{ "limiter: {prefix: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}\n",
	  "f.yaml:1: limiter.prefix: is 64 bytes long; at most 63 are allowed" },
	{ "log: {access_file: \"\"}\n", "f.yaml:1: log.access_file: names no file; write - for standard output" },
	{ "log: {access_file: \"a\\nb\"}\n", "f.yaml:1: log.access_file: holds a control character (\\x0a)" },
	{ "listen: \"a\\0b\"\n", "f.yaml:1: listen: holds a NUL byte" },
	{ "public_names: [https://sho.rt]\n", "f.yaml:1: public_names[0]: \"https://sho.rt\" is not a host name; write "
	                                      "sho.rt, sho.rt:8080 or [2001:db8::1]" },
	{ "trusted_proxies:\n  - 10.0.0.0/8\n  - 10.0.0.1/8\n",
	  "f.yaml:3: trusted_proxies[1]: \"10.0.0.1/8\" has bits beyond its prefix; write 10.0.0.0/8" },

	/* Kinds. */
	{ "listen: [a]\n", "f.yaml:1: listen: is a list; allowed: ADDR:PORT or [ADDR6]:PORT" },
	{ "listen: {a: b}\n", "f.yaml:1: listen: is a mapping; allowed: ADDR:PORT or [ADDR6]:PORT" },
	{ "listen:\nlog:\n", "f.yaml:1: listen: has no value; allowed: ADDR:PORT or [ADDR6]:PORT" },
	{ "log: {level: ~}\n", "f.yaml:1: log.level: has no value; allowed: error, warn, info, debug" },
	{ "log: {level: null}\n", "f.yaml:1: log.level: has no value; allowed: error, warn, info, debug" },
	{ "server: 4\n", "f.yaml:1: server: is a text; settings belong here, each on a line of its own, indented" },
	{ "server: [a]\n", "f.yaml:1: server: is a list; settings belong here, each on a line of its own, indented" },
	{ "trusted_proxies: 10.0.0.0/8\n", "f.yaml:1: trusted_proxies: is a text; a list belongs here: [a, b]" },
	{ "trusted_proxies: {a: b}\n", "f.yaml:1: trusted_proxies: is a mapping; a list belongs here: [a, b]" },
	{ "trusted_proxies: [[a]]\n", "f.yaml:1: trusted_proxies[0]: is a list; allowed: one text an item" },
	{ "- a\n", "f.yaml:1: the top level is a list; settings belong there: listen: 0.0.0.0:5000" },
	{ "a\n", "f.yaml:1: the top level is a text; settings belong there: listen: 0.0.0.0:5000" },
	{ "listen: !local 0.0.0.0:1\n", "f.yaml:1: listen: has the tag \"!local\"; tags are not supported" },
	{ "!local listen: 0.0.0.0:1\n", "f.yaml:1: (key): has the tag \"!local\"; tags are not supported" },
	{ "!local {}\n", "f.yaml:1: has the tag \"!local\"; tags are not supported" },
	{ "log: !local {}\n", "f.yaml:1: log: has the tag \"!local\"; tags are not supported" },

	/* Limits. */
	{ "limits: 10\n", "f.yaml:1: limits: \"10\" is not a limit; write 10/60s (requests/window) or off" },
	{ "limits:\n", "f.yaml:1: limits: has no value; allowed: up to 10 limits, N/DURATION or off" },
	{ "limits: {name: a}\n", "f.yaml:1: limits: is a mapping; allowed: up to 10 limits, N/DURATION or off" },
	{ "limits: [a]\n", "f.yaml:1: limits[0]: is a text; a mapping with name, limit and window belongs here" },
	{ "limits:\n  - {name: a}\n", "f.yaml:2: limits[0]: has no limit\nf.yaml:2: limits[0]: has no window" },
	{ "limits:\n  - {name: A b, limit: 1, window: 1s}\n",
	  "f.yaml:2: limits[0].name: \"A b\" is not a name; write 1 to 31 of a-z, 0-9 and -" },
	{ "limits:\n  - {name: a, limit: 0, window: 1s}\n",
	  "f.yaml:2: limits[0].limit: \"0\" is out of range; allowed: 1 to 16777216" },
	{ "limits:\n  - {name: a, limit: 1, window: 367d}\n",
	  "f.yaml:2: limits[0].window: \"367d\" is out of range; allowed: 1ms to 366d" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s}\n  - {name: a, limit: 2, window: 1s}\n",
	  "f.yaml:3: limits[1].name: \"a\" is the name of limits[0] already; each needs its own" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s, by: [client-ip, global]}\n",
	  "f.yaml:2: limits[0].by: has 2 items; one belongs here: client-ip, global" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s, by: []}\n",
	  "f.yaml:2: limits[0].by: has 0 items; one belongs here: client-ip, global" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s, by: [!x global]}\n",
	  "f.yaml:2: limits[0].by: has the tag \"!x\"; tags are not supported" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s, by: [country]}\n",
	  "f.yaml:2: limits[0].by: \"country\" is not allowed; allowed: client-ip, global" },
	{ "limits:\n  - {name: a, limit: [1], window: 1s}\n",
	  "f.yaml:2: limits[0].limit: is a list; allowed: 1 to 16777216" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s, rate: 5}\n", "f.yaml:2: limits[0].rate: unknown key" },
	{ "limits:\n  - {name: a, limit: 1, window: 1s, algorithm: leaky}\n",
	  "f.yaml:2: limits[0].algorithm: \"leaky\" is not allowed; allowed: sliding-log, sliding-counter, "
	  "fixed-window, "
	  "token-bucket" },
	{ "limits: [{}, {}, {}, {}, {}, {}, {}, {}, {}, {}, {}]\n",
	  "f.yaml:1: limits: has 11 items; at most 10 are allowed" },

	/* Several at once, in the order of the file. */
	{ "listen: x\nzebra: 1\nlog:\n  level: loud\n",
	  "f.yaml:1: listen: \"x\" is not a numeric address with a port; write 0.0.0.0:5000 or [::]:5000\n"
	  "f.yaml:2: zebra: unknown key\n"
	  "f.yaml:4: log.level: \"loud\" is not allowed; allowed: error, warn, info, debug" },

	/* YAML itself. */
	{ "a:\n\tb: 1\n", "f.yaml:2: found character that cannot start any token while scanning for the next token; "
	                  "indent with spaces, not with tabs" },
	{ "limiter:\n  store: memory:\n", "f.yaml:2: mapping values are not allowed in this context; a value that ends "
	                                  "in a colon needs quotes: \"memory:\"" },
	{ "listen: [1\n",
	  "f.yaml:2: did not find expected ',' or ']' while parsing a flow sequence that begins in line 1" },
	{ "listen: \"a\n",
	  "f.yaml:2: found unexpected end of stream while scanning a quoted scalar that begins in line 1" },
	{ "listen: *x\n", "f.yaml:1: found undefined alias" },
	{ "# a\n\xff: 1\n", "f.yaml:2: invalid leading UTF-8 octet; the file must be text in UTF-8" },
	{ "# a\n# \x01\n", "f.yaml:2: control characters are not allowed; the file must be text in UTF-8" },
	{ "listen: 0.0.0.0:1\n---\nlisten: 0.0.0.0:1\n", "f.yaml:2: a second document begins here; a file holds one" },
	{ "limits: &a [*a]\n", "f.yaml:1: limits[0]: is a list; a mapping with name, limit and window belongs here" },
	{ "log: &a\n  level: *a\n", "f.yaml:1: log.level: is a mapping; allowed: error, warn, info, debug" },
	{ "&a {*a : 1}\n", "f.yaml:1: (key): is a mapping; allowed: the name of a setting" },
	{ "server: &s {threads: 3}\nlog: *s\n",
	  "f.yaml:1: log.threads: unknown key; did you mean \"server.threads\"?" },
	{ "[[[[[[[[[]]]]]]]]]\n", "f.yaml:1: is nested more deeply than any setting" },
	{ "%A\n%B\n%C\n%D\n%E\n%F\n%G\n%H\n%I\n---\n", "f.yaml: has too many directives (lines that begin with %)" },
};

static void errors(void **state)
{
	for (size_t i = 0; i < sizeof error_cases / sizeof error_cases[0]; i++) {
		struct loaded *loaded = load(error_cases[i].text, strlen(error_cases[i].text));
		char all[4096] = "";

		for (size_t j = 0; j < loaded->errors.n; j++) {
			strcat(all, j > 0 ? "\n" : "");
			strcat(all, loaded->errors.list[j].text);
		}
		if (loaded->result != -1 || strcmp(all, error_cases[i].errors) != 0)
			fail_msg("file:\n%s\nexpected:\n%s\nfound:\n%s", error_cases[i].text, error_cases[i].errors,
			         all);
		assert_false(loaded->errors.more);
		free(loaded);
	}
}

/* Texts that change nothing. */
static void defaults(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"# nothing\n",
		"---\n",
		"---\n...\n",
		"--- ~\n",
		"\xef\xbb\xbf",
		"{}\n",
		"server:\nlimiter:\nlinks:\nlog:\n", /* everything below is commented out */
		"server: {}\n",
		"server: ~\n",
		"listen: 0.0.0.0:5000\n",
		"listen: '0.0.0.0:5000'\n",
		"\xef\xbb\xbflisten: 0.0.0.0:5000\r\n",
		"listen: !!str 0.0.0.0:5000\n",
		"%YAML 1.1\n---\nlisten: 0.0.0.0:5000\n",
		"server: {threads: \"0\"}\n",
		"trusted_proxies: []\n",
		"limits: 10/60s\n",
		"limits:\n- name: per-client\n  limit: 10\n  window: 60s\n",
		"limits:\n- {name: per-client, limit: 10, window: 1m, burst: 10, by: client-ip}\n",
	};
	struct config *expected = malloc(sizeof *expected);

	assert_non_null(expected);
	config_defaults(expected);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct loaded *loaded = load(texts[i], strlen(texts[i]));

		if (loaded->result != 0)
			fail_msg("%s\n%s", texts[i], loaded->errors.list[0].text);
		assert_memory_equal(&loaded->config, expected, sizeof *expected);
		free(loaded);
	}
	free(expected);
}

static void values(void **state)
{
	static const char text[] =
		"listen: \"[::1]:80\"\n"
		"trusted_proxies:\n"
		"  - 10.0.0.0/8\n"
		"  - &lb 2001:db8::1\n"
		"public_names: [Sho.RT, 'sho.rt:8443']\n"
		"server: {threads: 2, idle_timeout: &t 5s, request_timeout: *t}\n"
		"limiter:\n"
		"  prefix: \"\"\n"
		"  on_failure: closed\n"
		"links: {store: 'sqlite:/var/lib/a b.db'}\n"
		"limits:\n"
		"  - {name: a, algorithm: token-bucket, limit: 5, window: 1s, burst: 20, by: [global]}\n"
		"  - {name: b, algorithm: fixed-window, limit: 16777216, window: 366d}\n";
	struct loaded *loaded = load(text, sizeof text - 1);
	const struct config *config = &loaded->config;
	struct config_error error;

	if (loaded->result != 0)
		fail_msg("%s", loaded->errors.list[0].text);
	assert_string_equal(config->listen_text, "[::1]:80");
	assert_int_equal(config->listen.ss_family, AF_INET6);
	assert_int_equal(config->trusted_proxies_n, 2);
	assert_int_equal(config->trusted_proxies[0].prefix, 104);
	assert_int_equal(config->trusted_proxies[1].prefix, 128);
	assert_int_equal(config->public_names_n, 2);
	assert_string_equal(config->public_names[0], "sho.rt");
	assert_string_equal(config->public_names[1], "sho.rt:8443");
	assert_int_equal(config->server.threads, 2);
	assert_int_equal(config->server.idle_timeout_us, 5000000);
	assert_int_equal(config->server.request_timeout_us, 5000000);
	assert_string_equal(config->limiter.prefix, "");
	assert_int_equal(config->limiter.on_failure, FAILURE_CLOSED);
	assert_string_equal(config->links.store, "sqlite:/var/lib/a b.db");
	assert_int_equal(config->limits_n, 2);
	assert_string_equal(config->limits[0].name, "a");
	assert_int_equal(config->limits[0].subject, SUBJECT_GLOBAL);
	assert_int_equal(config->limits[0].policy.algorithm, SLUICE_TOKEN_BUCKET);
	assert_int_equal(config->limits[0].policy.burst, 20);
	assert_string_equal(config->limits[1].name, "b");
	assert_int_equal(config->limits[1].subject, SUBJECT_CLIENT_IP);
	assert_int_equal(config->limits[1].policy.limit, 16777216);
	assert_int_equal(config->limits[1].policy.window_us, SLUICE_WINDOW_MAX_US);
	assert_int_equal(config->limits[1].policy.burst, 16777216);
	assert_int_equal(config_check(config, &error), 0);
	free(loaded);
}

static void limits_can_be_turned_off(void **state)
{
	static const char *const texts[] = { "limits: off\n", "limits: 'off'\n", "limits: []\n" };

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct loaded *loaded = load(texts[i], strlen(texts[i]));

		assert_int_equal(loaded->result, 0);
		assert_int_equal(loaded->config.limits_n, 0);
		free(loaded);
	}
}

static void lists_are_bounded(void **state)
{
	char *text = malloc(1 << 16);
	struct loaded *loaded;

	assert_non_null(text);
	for (int n = CONFIG_LIST_MAX; n <= CONFIG_LIST_MAX + 1; n++) {
		strcpy(text, "public_names:\n");
		for (int i = 0; i < n; i++)
			strcat(text, "- a\n");
		strcat(text, "trusted_proxies:\n");
		for (int i = 0; i < n; i++)
			strcat(text, "- ::1\n");
		loaded = load(text, strlen(text));
		if (n == CONFIG_LIST_MAX) {
			assert_int_equal(loaded->result, 0);
			assert_int_equal(loaded->config.public_names_n, CONFIG_LIST_MAX);
		} else {
			assert_int_equal(loaded->errors.n, 2);
			assert_string_equal(loaded->errors.list[0].text,
			                    "f.yaml:66: public_names[64]: at most 64 are allowed");
			assert_string_equal(loaded->errors.list[1].text,
			                    "f.yaml:132: trusted_proxies[64]: at most 64 are allowed");
		}
		free(loaded);
	}
	free(text);
}

static void errors_are_bounded(void **state)
{
	char text[1024] = "";
	struct loaded *loaded;

	for (int i = 0; i < CONFIG_ERRORS_MAX; i++)
		sprintf(text + strlen(text), "zebra%d: 1\n", i);
	loaded = load(text, strlen(text));
	assert_int_equal(loaded->errors.n, CONFIG_ERRORS_MAX);
	assert_false(loaded->errors.more);
	free(loaded);
	strcat(text, "zebra: 1\n");
	loaded = load(text, strlen(text));
	assert_int_equal(loaded->errors.n, CONFIG_ERRORS_MAX);
	assert_true(loaded->errors.more);
	free(loaded);
}

static void nul_byte(void **state)
{
	struct loaded *loaded = load("# a\nlisten: 0.0.0.0:1\0\n", 23);

	assert_int_equal(loaded->result, -1);
	assert_string_equal(loaded->errors.list[0].text, "f.yaml:2: holds a NUL byte; the file must be text in UTF-8");
	free(loaded);
}

/* 1 MiB of what makes libyaml's work grow with the square. Each took half a minute and more without the bounds of
 * text.c; the processor's time is bounded generously here, for sanitizers and slow machines. */
static void hostile_shapes_end_soon(void **state)
{
	static const char *const shapes[] = {
		"[",      "{", "- ",  "? ",  "a: [\n", "[[],", "[{},",  "- &a x\n", "%TAG !a! b\n", "a: ", "!",
		"a: b\n", "'", "&a ", "*a ", ",",      ":",    "---\n", "|",        "\t",           "%",   "a",
	};
	char *text = malloc(MIB);

	assert_non_null(text);
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		size_t len = strlen(shapes[i]);
		clock_t start = clock();
		struct loaded *loaded;

		for (size_t at = 0; at < MIB; at++)
			text[at] = shapes[i][at % len];
		loaded = load(text, MIB);
		if ((clock() - start) / CLOCKS_PER_SEC >= 20)
			fail_msg("1 MiB of \"%s\" took more than 20 s", shapes[i]);
		free(loaded);
	}
	free(text);
}

static void write_file(const char *path, const char *text, size_t len)
{
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(text, 1, len, file), len);
	assert_int_equal(fclose(file), 0);
}

static void files(void **state)
{
	char folder[] = "/tmp/sluice-test-XXXXXX", path[64], expected[128], *text = malloc(CONFIG_FILE_MAX + 1);
	struct config *config = malloc(sizeof *config);
	struct config_error error;

	assert_non_null(text);
	assert_non_null(config);
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof path, "%s/f.yaml", folder);
	config_defaults(config);

	assert_int_equal(config_load_file(config, path, &error), -1);
	snprintf(expected, sizeof expected, "%s: can't be read: No such file or directory", path);
	assert_string_equal(error.text, expected);

	assert_int_equal(config_load_file(config, folder, &error), -1);
	snprintf(expected, sizeof expected, "%s: can't be read: Is a directory", folder);
	assert_string_equal(error.text, expected);

	memset(text, '#', CONFIG_FILE_MAX + 1);
	write_file(path, text, CONFIG_FILE_MAX + 1);
	assert_int_equal(config_load_file(config, path, &error), -1);
	snprintf(expected, sizeof expected, "%s: is larger than 1 MiB: not a configuration file", path);
	assert_string_equal(error.text, expected);
	write_file(path, text, CONFIG_FILE_MAX);
	assert_int_equal(config_load_file(config, path, &error), 0);

	write_file(path, "server:\n  threads: 5\n", 21);
	assert_int_equal(config_load_file(config, path, &error), 0);
	assert_int_equal(config->server.threads, 5);
	write_file(path, "server:\n  threads: x\nlog: 1\n", 28);
	assert_int_equal(config_load_file(config, path, &error), -1);
	snprintf(expected, sizeof expected, "%s:2: server.threads: \"x\" is not a whole number", path);
	assert_string_equal(error.text, expected);

	if (geteuid() != 0) { /* root may read everything */
		assert_int_equal(chmod(path, 0), 0);
		assert_int_equal(config_load_file(config, path, &error), -1);
		snprintf(expected, sizeof expected, "%s: can't be read: Permission denied", path);
		assert_string_equal(error.text, expected);
	}
	/* A file without an end is cut off, not waited for. */
	assert_int_equal(config_load_file(config, "/dev/zero", &error), -1);
	assert_string_equal(error.text, "/dev/zero: is larger than 1 MiB: not a configuration file");
	/* A name must not forge a second line. */
	assert_int_equal(config_load_file(config, "/no\nsuch", &error), -1);
	assert_string_equal(error.text, "/no?such: can't be read: No such file or directory");

	assert_int_equal(unlink(path), 0);
	assert_int_equal(rmdir(folder), 0);
	free(config);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(errors),
		cmocka_unit_test(defaults),
		cmocka_unit_test(values),
		cmocka_unit_test(limits_can_be_turned_off),
		cmocka_unit_test(lists_are_bounded),
		cmocka_unit_test(errors_are_bounded),
		cmocka_unit_test(nul_byte),
		cmocka_unit_test(hostile_shapes_end_soon),
		cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
