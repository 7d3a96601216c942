/* SPDX-License-Identifier: Apache-2.0 */
/*
 * info.h: what a server says about itself (INFO), and what of that its operator should know.
 */
#ifndef SLUICE_STORE_REDIS_INFO_H
#define SLUICE_STORE_REDIS_INFO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What it did not say is empty. */
struct redis_info {
	bool valkey;
	char version[32];   /* of Redis or Valkey */
	char run_id[41];    /* of the process */
	char role[16];      /* "master", "slave" */
	char policy[32];    /* maxmemory-policy */
	uint64_t maxmemory; /* bytes; 0: no bound */
};

/** Reads the reply to INFO, with any sections in any order. Never fails: what can't be read is left out. */
void redis_info_read(struct redis_info *info, const char *text, size_t len);

/** Writes a line about the server, and one about what should be changed ("": nothing). */
void redis_info_about(const struct redis_info *info, char *about, size_t about_size, char *warning,
                      size_t warning_size);

#endif
