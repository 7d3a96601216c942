/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.h: where a Redis is, from one line of configuration.
 *
 *   redis://[user:pass@]host[:port][/db]     rediss:// the same over TLS
 *   redis+sentinel://[user:pass@]host[:port][,host[:port]...]/name[/db]
 *   redis+cluster://[user:pass@]host[:port][,host[:port]...]
 *
 * `rediss+sentinel://` and `rediss+cluster://` are the last two over TLS. An IPv6 address stands in brackets; user and
 * password are percent-decoded; `:pass@` is a password alone.
 *
 * Leaves out: looking names up, connecting.
 */
#ifndef SLUICE_STORE_REDIS_URL_H
#define SLUICE_STORE_REDIS_URL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REDIS_URL_HOSTS_MAX 16
#define REDIS_URL_HOST_MAX 255

enum redis_mode { REDIS_SINGLE, REDIS_SENTINEL, REDIS_CLUSTER };

struct redis_host {
	char name[REDIS_URL_HOST_MAX + 1]; /* without brackets */
	uint16_t port;
};

struct redis_url {
	enum redis_mode mode;
	bool tls;
	bool has_password;
	char user[128];     /* "": none */
	char password[512]; /* decoded */
	struct redis_host hosts[REDIS_URL_HOSTS_MAX];
	size_t hosts_n;  /* 1 when single */
	char master[64]; /* Sentinel: the name of the master */
	uint32_t db;
};

/** @param why  out, on failure: what is wrong and how to write it, without the password. May be NULL with size 0.
 *  @return 0 or -EINVAL. Ports default to 6379, of Sentinels to 26379. */
int redis_url_parse(struct redis_url *url, const char *text, char *why, size_t why_size);

#endif
