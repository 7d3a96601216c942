/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_calls.c: writes what Sluice would send to Redis, all calls of one length, for redis.py to measure.
 *
 * usage: bench_redis_calls load | take LIMIT KEYS CLIENTS [WINDOW_MS] | attack LIMIT KEYS 1
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/redis/script.h"

static int write_out(struct redis_buffer *buffer)
{
	if (buffer->failed || fwrite(buffer->bytes, 1, buffer->len, stdout) != buffer->len || fflush(stdout) != 0) {
		fprintf(stderr, "bench_redis_calls: can't write\n");
		return 1;
	}
	redis_buffer_free(buffer);
	return 0;
}

static int write_takes(const char *kind, uint32_t limit, unsigned n, unsigned clients, uint64_t window_us)
{
	struct redis_buffer buffer = { 0 };
	struct sluice_policy policy;

	if (sluice_policy_init(&policy, SLUICE_SLIDING_LOG, limit, window_us, 0, NULL) != 0 || n < 1 ||
	    n > STORE_TAKES_MAX)
		return 2;
	for (unsigned client = 0; client < clients; client++) {
		struct store_op op = { .verb = STORE_TAKE, .n = (uint8_t)n };
		char keys[STORE_TAKES_MAX][64];

		for (unsigned i = 0; i < n; i++) {
			if (strcmp(kind, "attack") == 0)
				snprintf(keys[i], sizeof keys[i], "per-client:{10.0.0.160}");
			else
				snprintf(keys[i], sizeof keys[i], "limit-%02u-%07u:{10.%07u}", i, limit, client);
			op.takes[i] = (struct store_take){
				.policy = &policy, .key = keys[i], .key_len = (uint16_t)strlen(keys[i]), .cost = 1
			};
		}
		redis_script_call(&buffer, "rate_limit:", &op, (UINT32_C(1) << n) - 1, false);
	}
	return write_out(&buffer);
}

int main(int argc, char **argv)
{
	struct redis_buffer buffer = { 0 };

	if (argc == 2 && strcmp(argv[1], "load") == 0) {
		redis_script_load(&buffer);
		return write_out(&buffer);
	}
	if (argc != 5 && argc != 6) {
		fprintf(stderr,
		        "usage: bench_redis_calls load | take LIMIT KEYS CLIENTS [WINDOW_MS] | attack LIMIT KEYS 1\n");
		return 2;
	}
	return write_takes(argv[1], (uint32_t)strtoul(argv[2], NULL, 10), (unsigned)strtoul(argv[3], NULL, 10),
	                   (unsigned)strtoul(argv[4], NULL, 10),
	                   argc == 6 ? strtoul(argv[5], NULL, 10) * 1000 : 60000000);
}
