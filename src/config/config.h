/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h: everything that an operator can set, as plain structs.
 *
 * The struct is filled from defaults, a YAML file, the environment and flags, each winning over
 * the one before it, by one table (schema.c) that also writes the reference page.
 *
 * Leaves out: what the settings do.
 */
#ifndef SLUICE_CONFIG_CONFIG_H
#define SLUICE_CONFIG_CONFIG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sluice/limiter.h"
#include "store/failure.h"
#include "store/store.h"

#define CONFIG_LIMITS_MAX STORE_TAKES_MAX
#define CONFIG_TEXT_MAX 256
#define CONFIG_STORE_MAX 2048 /* of a URL of a store: it may name 16 hosts */
#define CONFIG_LIST_MAX 64

/* An address range. IPv4 is held as IPv4-mapped IPv6, its prefix length counted from 96. */
struct config_network {
	struct in6_addr address;
	uint32_t prefix; /* 0 to 128; as wide as to leave no gap behind it, for configs are compared as bytes */
};

/* What a limit counts by. */
enum config_subject {
	SUBJECT_CLIENT_IP, /* each client address (IPv6: each network of ipv6_prefix bits) */
	SUBJECT_GLOBAL,    /* everybody together */
};

struct config_limit {
	char name[32];               /* [a-z0-9-], unique */
	enum config_subject subject; /* by: */
	struct sluice_policy policy; /* algorithm, limit, window, burst */
};

/* Which header field of trusted proxies names the client. */
enum config_client_header { CLIENT_HEADER_XFF, CLIENT_HEADER_FORWARDED };

enum config_access_log { ACCESS_LOG_OFF, ACCESS_LOG_TEXT, ACCESS_LOG_JSON };

struct config {
	/* listen: ADDR:PORT, [ADDR6]:PORT */
	struct sockaddr_storage listen;
	socklen_t listen_len;
	char listen_text[CONFIG_TEXT_MAX];

	struct config_network trusted_proxies[CONFIG_LIST_MAX];
	size_t trusted_proxies_n;
	enum config_client_header client_header; /* the only one that is read: proxies pass the other on as it came */
	char public_names[CONFIG_LIST_MAX][CONFIG_TEXT_MAX]; /* host or host:port under which we are reached */
	size_t public_names_n;

	struct {
		uint32_t threads;                    /* 0: one a core */
		uint32_t max_connections;            /* over all threads */
		uint32_t max_connections_per_client; /* 0: no bound. Trusted proxies are exempt */
		uint64_t max_header_bytes;           /* request line and headers together */
		uint64_t max_body_bytes;
		uint64_t idle_timeout_us;     /* a connection on which nothing moves */
		uint64_t request_timeout_us;  /* from the first chance to send a request to its last byte */
		uint64_t shutdown_timeout_us; /* what is in flight at SIGTERM */
	} server;

	struct {
		char store[CONFIG_STORE_MAX];        /* memory:, or a URL that redis_url_parse() takes */
		char password_file[CONFIG_TEXT_MAX]; /* "": the URL's. See config/secret.h */
		char tls_ca_file[CONFIG_TEXT_MAX];   /* of rediss://; "": the system's */
		char tls_cert_file[CONFIG_TEXT_MAX], tls_key_file[CONFIG_TEXT_MAX]; /* "": none; both or neither */
		char prefix[64];
		uint64_t timeout_us;
		enum failure_policy on_failure;
		uint64_t max_keys;
		uint32_t servers;    /* that share the limits, as long as the store has not said so */
		uint32_t deny_cache; /* denials remembered a thread; 0: none */
		uint8_t ipv6_prefix; /* bits of an IPv6 address that make a client */
	} limiter;

	struct {
		char store[CONFIG_STORE_MAX]; /* sqlite:PATH, sqlite::memory:, or a URI of libpq */
		uint64_t timeout_us;
		uint64_t cache_bytes;
		uint32_t queue;
		uint64_t click_interval_us;
	} links;

	struct {
		int level; /* enum log_level */
		enum config_access_log access;
		char access_file[CONFIG_TEXT_MAX]; /* "-": standard output */
	} log;

	struct config_limit limits[CONFIG_LIMITS_MAX];
	size_t limits_n; /* 0: off */
};

/* Where an error is, and what is wrong. */
struct config_error {
	char text[1024]; /* `FILE:LINE: KEY: why`, `--flag: why`, `SLUICE_X: why`; no newline or other control character
	                  */
};

#define CONFIG_ERRORS_MAX 20

/* Everything that is wrong with one file, in its order. */
struct config_errors {
	size_t n;
	bool more; /* there were others */
	struct config_error list[CONFIG_ERRORS_MAX];
};

#define CONFIG_FILE_MAX (1024 * 1024) /* bytes */

/** Fills in the defaults. Equal settings are equal bytes: two configs may be compared with memcmp(). */
void config_defaults(struct config *config);

/** Reads a YAML file over `config`. @return 0, or -1 with `error` set and `config` undefined. */
int config_load_file(struct config *config, const char *path, struct config_error *error);

/** The same, and goes on after an error to find the others. @return 0, or -1 with at least one error. */
int config_load_file_all(struct config *config, const char *path, struct config_errors *errors);

/** The same with the text of a file that is in memory. @param name  what messages call it. */
int config_load_text(struct config *config, const char *name, const char *text, size_t len,
                     struct config_errors *errors);

/** Applies SLUICE_LISTEN and the like. Every setting but `limits` has a variable SLUICE_PATH_WITH_UNDERSCORES, some a
 *  short one too (docs/config.md). An empty variable counts as not set; an unknown one is an error, unless it is for
 *  tests (SLUICE_TEST_..., SLUICE_SEED, SLUICE_BUILD, SLUICE_STEPS) or put there by Kubernetes for a service.
 *  @param environment  `NAME=value`, ended by NULL. Same result. */
int config_load_env(struct config *config, char *const *environment, struct config_error *error);

/** Applies one flag by its long name without the dashes: listen, limiter, links, limit, threads, log-level.
 *  Same result. */
int config_set_flag(struct config *config, const char *flag, const char *value, struct config_error *error);

/** Checks what no single setting can see (names of limits unique, …). Same result. */
int config_check(const struct config *config, struct config_error *error);

/** Names the settings other than `limits` in which the two differ. @param names  gets them with commas between; those
 * for which there is no room are left out. @return how many differ. */
size_t config_differences(const struct config *a, const struct config *b, char *names, size_t size);

/** Writes docs/config.md. @return 0 or -1 with errno. */
int config_write_reference(int fd);

/** Writes the manual page sluice.yaml(5), in mdoc. @return 0 or -1 with errno. */
int config_write_manual(int fd);

#endif
