/* SPDX-License-Identifier: Apache-2.0 */
/*
 * main.c: puts the vectors and random traces to one backend.
 *
 * usage: conformance BACKEND VECTORS [STEPS]
 *
 * In the environment: SLUICE_SEED (default: drawn anew each time), SLUICE_STEPS (over STEPS),
 * SLUICE_TRACE (run this trace only); SLUICE_TEST_CLOCKED_MODULE (for the backends `module` and `mixed`).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "conformance.h"

/* @return false when it is set and no number. */
static bool number_from(const char *name, const char *text, uint64_t *out)
{
	char *end;

	if (text == NULL)
		return true;
	errno = 0;
	*out = strtoull(text, &end, 10);
	if (errno == 0 && end != text && *end == '\0')
		return true;
	fprintf(stderr, "%s: '%s' is not a number\n", name, text);
	return false;
}

static bool options_from(struct trace_options *options, const char *steps)
{
	uint64_t only = UINT64_MAX;

	options->steps = 1000000;
	if (getrandom(&options->seed, sizeof options->seed, 0) != (ssize_t)sizeof options->seed) {
		perror("getrandom");
		return false;
	}
	options->seed >>= 32; /* short enough to be typed */
	if (!number_from("STEPS", steps, &options->steps) ||
	    !number_from("SLUICE_STEPS", getenv("SLUICE_STEPS"), &options->steps) ||
	    !number_from("SLUICE_SEED", getenv("SLUICE_SEED"), &options->seed) ||
	    !number_from("SLUICE_TRACE", getenv("SLUICE_TRACE"), &only))
		return false;
	options->only = (int64_t)only;
	return true;
}

static struct backend *backend_open(const char *name, uint64_t seed)
{
	if (strcmp(name, "core") == 0)
		return backend_core_open();
	if (strcmp(name, "disguised") == 0)
		return backend_disguised_open(seed);
	if (strcmp(name, "memory") == 0)
		return backend_memory_open();
	if (strcmp(name, "redis") == 0)
		return backend_redis_open();
	if (strcmp(name, "module") == 0)
		return backend_module_open(seed);
	if (strcmp(name, "mixed") == 0)
		return backend_mixed_open(seed);
	fprintf(stderr, "unknown backend '%s'\n", name);
	return NULL;
}

/* At the start of time, before the ticks begin anew, and these days. */
static int replay(struct backend *backend, const char *path)
{
	static const uint64_t bases_us[] = { 0, (UINT64_C(1) << 32) - 30000000, UINT64_C(1700000000000000) };
	int wrong = 0;

	for (size_t i = 0; i < sizeof bases_us / sizeof bases_us[0]; i++) {
		int result = vectors_replay(backend, path, bases_us[i]);

		if (result < 0)
			return -1;
		wrong += result;
	}
	return wrong;
}

int main(int argc, char **argv)
{
	struct trace_options options;
	struct backend *backend;
	int wrong;

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: conformance BACKEND VECTORS [STEPS]\n");
		return 2;
	}
	if (!options_from(&options, argc > 3 ? argv[3] : NULL))
		return 2;
	backend = backend_open(argv[1], options.seed);
	if (backend == NULL)
		return 2;
	wrong = options.only < 0 ? replay(backend, argv[2]) : 0;
	if (wrong >= 0)
		wrong += traces_run(backend, &options);
	backend->close(backend);
	return wrong == 0 ? 0 : 1;
}
