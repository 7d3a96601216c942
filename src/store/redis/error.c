/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/error.h"

#include <errno.h>
#include <string.h>

static const struct {
	const char *code;
	struct redis_error error;
} known[] = {
	{ "NOSCRIPT", { REDIS_ERROR_NOSCRIPT, -EIO, NULL } },
	{ "MOVED", { REDIS_ERROR_MOVED, -EHOSTDOWN, "the server is part of a Cluster: write redis+cluster://" } },
	{ "ASK", { REDIS_ERROR_ASK, -EHOSTDOWN, "the server is part of a Cluster: write redis+cluster://" } },
	{ "TRYAGAIN", { REDIS_ERROR_TRYAGAIN, -EAGAIN, NULL } },
	/* A slot without a master: the other slots are none the worse. */
	{ "CLUSTERDOWN", { REDIS_ERROR_COMMAND, -EHOSTDOWN, NULL } },
	/* Denials need no memory, so they are decided all the same; and a key may expire at any time. */
	{ "OOM", { REDIS_ERROR_COMMAND, -ENOSPC, "give it more memory (maxmemory)" } },
	{ "MISCONF", { REDIS_ERROR_COMMAND, -EROFS, "it can't write its data to disk" } },
	{ "NOREPLICAS", { REDIS_ERROR_COMMAND, -EROFS, "min-replicas-to-write is not met" } },
	{ "WRONGTYPE", { REDIS_ERROR_COMMAND, -EIO, "another program uses a key of ours: change limiter.prefix" } },
	{ "READONLY", { REDIS_ERROR_SERVER, -EROFS, "it is a replica: name its master, or use redis+sentinel://" } },
	{ "MASTERDOWN", { REDIS_ERROR_SERVER, -EHOSTDOWN, "it is a replica: name its master" } },
	{ "LOADING", { REDIS_ERROR_SERVER, -EAGAIN, NULL } },
	{ "BUSY", { REDIS_ERROR_SERVER, -EBUSY, "a script of another program does not end: SCRIPT KILL" } },
	{ "NOAUTH", { REDIS_ERROR_SERVER, -EACCES, "it wants a password" } },
	{ "NOPERM",
	  { REDIS_ERROR_SERVER, -EACCES, "the user's rights don't suffice: see \"Redis\" in operations.md" } },
};

/* Where the code begins. Before Redis 7 an error within a script came as "ERR Error running script (call to f_SHA):
 * @user_script:12: @user_script: 12: -OOM command not allowed". */
static const char *code_of(const char *words)
{
	static const char wrapped[] = "ERR Error running script";
	const char *inner;

	if (strncmp(words, wrapped, sizeof wrapped - 1) != 0)
		return words;
	inner = strstr(words, ": -");
	return inner != NULL ? inner + 3 : words;
}

struct redis_error redis_error_read(const char *words)
{
	const char *code = code_of(words);
	size_t len = strcspn(code, " \r\n");

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (strlen(known[i].code) == len && memcmp(known[i].code, code, len) == 0)
			return known[i].error;
	}
	return (struct redis_error){ REDIS_ERROR_COMMAND, -EIO, NULL };
}
