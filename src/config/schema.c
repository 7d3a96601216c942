/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema.c: the table itself. How its types are read stands in schema_set.c.
 */
#include "config/schema.h"

#include <libpq-fe.h>
#include <string.h>

#include "base/log.h"
#include "store/redis/url.h"

#define SIZE_OF(type, member) sizeof(((struct type *)0)->member)
#define FIELD(member) .offset = offsetof(struct config, member), .size = SIZE_OF(config, member)
/* Fields that lie side by side and are set together. */
#define FIELDS(first, last)                                                                                            \
	.offset = offsetof(struct config, first),                                                                      \
	.size = offsetof(struct config, last) + SIZE_OF(config, last) - offsetof(struct config, first)
#define LIMIT_FIELD(member) .offset = offsetof(struct schema_limit, member), .size = SIZE_OF(schema_limit, member)

#define KIB UINT64_C(1024)
#define MIB (1024 * KIB)
#define TIB (1024 * 1024 * MIB)
#define MS UINT64_C(1000)
#define SECOND (1000 * MS)
#define MINUTE (60 * SECOND)
#define HOUR (60 * MINUTE)

static int check_sqlite(const char *text, struct why *why)
{
	return text[strlen("sqlite:")] != '\0'
	               ? 0
	               : why_set(why, "\"sqlite:\" names no file; write sqlite:sluice.db or sqlite::memory:");
}

static int check_redis(const char *text, struct why *why)
{
	struct redis_url url;

	return redis_url_parse(&url, text, why->text, sizeof why->text) == 0 ? 0 : -1;
}

/* What libpq finds wrong with a URI. It quotes what it stumbled over, which may be a part of the password: only the
 * name of a parameter is shown. */
static int check_postgres(const char *text, struct why *why)
{
	char *message = NULL;
	PQconninfoOption *options = PQconninfoParse(text, &message);
	size_t len;

	PQconninfoFree(options);
	if (options != NULL)
		return 0;
	len = message != NULL ? strcspn(message, "\n") : 0;
	if (message != NULL && strncmp(message, "invalid URI query parameter:", 28) != 0)
		len = strcspn(message, "\":\n");
	why_set(why,
	        "PostgreSQL's library can't read this URI: %.*s; write postgresql://USER@HOST:PORT/DATABASE, with "
	        "special characters as %%XX",
	        (int)len, message != NULL ? message : "out of memory");
	PQfreemem(message);
	return -1;
}

/* The stores that this build knows, each list in one place: messages and the reference are made from it. */
static const struct schema_choice limiter_stores[] = {
	{ .name = "memory:", .shown = "\"memory:\"" },
	{ .name = "redis://", .check = check_redis, .shown = "redis://HOST" },
	{ .name = "rediss://", .check = check_redis, .shown = "rediss://HOST" },
	{ .name = "redis+sentinel://", .check = check_redis, .shown = "redis+sentinel://HOST,HOST/NAME" },
	{ .name = "rediss+sentinel://", .check = check_redis, .shown = "rediss+sentinel://HOST,HOST/NAME" },
	{ .name = "redis+cluster://", .check = check_redis, .shown = "redis+cluster://HOST,HOST" },
	{ .name = "rediss+cluster://", .check = check_redis, .shown = "rediss+cluster://HOST,HOST" },
	{ .name = NULL },
};
static const struct schema_choice links_stores[] = {
	{ .name = "sqlite:",
	  .check = check_sqlite,
	  .is_path = true,
	  .shown = "\"sqlite:PATH\" or \"sqlite::memory:\"" },
	{ .name = "postgresql://", .check = check_postgres, .shown = "\"postgresql://...\"" },
	{ .name = "postgres://", .check = check_postgres, .shown = "\"postgres://...\"" },
	{ .name = NULL },
};

static const struct schema_choice client_headers[] = {
	{ .name = "x-forwarded-for", .value = CLIENT_HEADER_XFF },
	{ .name = "forwarded", .value = CLIENT_HEADER_FORWARDED },
	{ .name = NULL },
};
static const struct schema_choice failure_policies[] = {
	{ .name = "local", .value = FAILURE_LOCAL },
	{ .name = "open", .value = FAILURE_OPEN },
	{ .name = "closed", .value = FAILURE_CLOSED },
	{ .name = NULL },
};
static const struct schema_choice log_levels[] = {
	{ .name = "error", .value = LOG_ERROR },
	{ .name = "warn", .value = LOG_WARN },
	{ .name = "info", .value = LOG_INFO },
	{ .name = "debug", .value = LOG_DEBUG },
	{ .name = NULL },
};
static const struct schema_choice access_logs[] = {
	{ .name = "off", .value = ACCESS_LOG_OFF },
	{ .name = "text", .value = ACCESS_LOG_TEXT },
	{ .name = "json", .value = ACCESS_LOG_JSON },
	{ .name = NULL },
};
static const struct schema_choice algorithms[] = {
	{ .name = "sliding-log", .value = SLUICE_SLIDING_LOG },
	{ .name = "sliding-counter", .value = SLUICE_SLIDING_COUNTER },
	{ .name = "fixed-window", .value = SLUICE_FIXED_WINDOW },
	{ .name = "token-bucket", .value = SLUICE_TOKEN_BUCKET },
	{ .name = NULL },
};
static const struct schema_choice subjects[] = {
	{ .name = "client-ip", .value = SUBJECT_CLIENT_IP },
	{ .name = "global", .value = SUBJECT_GLOBAL },
	{ .name = NULL },
};

/* clang-format off */
const struct schema_key schema_keys[] = {
	{ .path = "listen", .type = SCHEMA_ADDRESS, .initial = "0.0.0.0:5000", FIELDS(listen, listen_text),
	  .flag = "listen",
	  .doc = "Address and port to serve on, in figures; IPv6 in brackets. Port 0 takes any free one." },
	{ .path = "trusted_proxies", .type = SCHEMA_NETWORKS, .initial = "",
	  FIELDS(trusted_proxies, trusted_proxies_n),
	  .doc = "Networks of the proxies in front. What they say about a client's address is believed, read from right "
	         "to left; everybody else is taken at the address they connect from." },
	{ .path = "client_header", .type = SCHEMA_CHOICE, .initial = "x-forwarded-for", .choices = client_headers,
	  FIELD(client_header),
	  .doc = "The header field in which the trusted proxies name the client. The other one is never read: a proxy "
	         "passes it on as a client made it up." },
	{ .path = "public_names", .type = SCHEMA_HOSTS, .initial = "", FIELDS(public_names, public_names_n),
	  .doc = "Names, with or without a port, under which this service is reached. Links to them are refused: "
	         "they would lead in a circle. The `Host` of each request counts as one." },

	{ .path = "server.threads", .type = SCHEMA_NUMBER, .initial = "0", .max = 256, FIELD(server.threads),
	  .env = "SLUICE_THREADS", .flag = "threads",
	  .doc = "Threads that serve requests; 0 for one a processor." },
	{ .path = "server.max_connections", .type = SCHEMA_NUMBER, .initial = "10000", .min = 1, .max = 1000000,
	  FIELD(server.max_connections),
	  .doc = "Connections held at once, over all threads; further ones wait to be accepted." },
	{ .path = "server.max_connections_per_client", .type = SCHEMA_NUMBER, .initial = "256", .max = 1000000,
	  FIELD(server.max_connections_per_client),
	  .doc = "Connections that one address may hold; 0 for no bound. Trusted proxies are exempt." },
	{ .path = "server.max_header_bytes", .type = SCHEMA_SIZE, .initial = "8KiB", .min = KIB, .max = MIB,
	  FIELD(server.max_header_bytes),
	  .doc = "Bound of request line and headers together." },
	{ .path = "server.max_body_bytes", .type = SCHEMA_SIZE, .initial = "64KiB", .min = 32 * KIB, .max = 64 * MIB,
	  FIELD(server.max_body_bytes),
	  .doc = "Bound of a request body. A URL of 8 KiB may be three times as long when it is percent-encoded." },
	{ .path = "server.idle_timeout", .type = SCHEMA_DURATION, .initial = "30s", .min = SECOND, .max = HOUR,
	  FIELD(server.idle_timeout_us),
	  .doc = "How long a connection may stand still before it is closed." },
	{ .path = "server.request_timeout", .type = SCHEMA_DURATION, .initial = "15s", .min = SECOND, .max = HOUR,
	  FIELD(server.request_timeout_us),
	  .doc = "How long a client may take to send a whole request." },
	{ .path = "server.shutdown_timeout", .type = SCHEMA_DURATION, .initial = "10s", .min = 0, .max = HOUR,
	  FIELD(server.shutdown_timeout_us),
	  .doc = "How long requests in flight may take to finish after SIGTERM." },

	{ .path = "limiter.store", .type = SCHEMA_STORE, .initial = "memory:", .choices = limiter_stores,
	  FIELD(limiter.store), .env = "SLUICE_LIMITER", .flag = "limiter",
	  .doc = "Where the states of limits are kept. `memory:` keeps them in this process: they are forgotten at a "
	         "restart and not shared. A Redis or Valkey holds one limit over all servers: "
	         "`redis://[user:password@]host[:port][/db]`, one master behind Sentinels, or a Cluster; `rediss` is TLS. "
	         "In user and password, characters other than letters, digits, `.`, `-` and `_` are written as `%XX`." },
	{ .path = "limiter.password_file", .type = SCHEMA_READ, .initial = "", FIELD(limiter.password_file),
	  .doc = "File with the password of Redis, read at start; one newline at its end is not part of it. Wins over the "
	         "password in `limiter.store`." },
	{ .path = "limiter.tls_ca_file", .type = SCHEMA_READ, .initial = "", FIELD(limiter.tls_ca_file),
	  .doc = "Certificates (PEM) of the authorities that may vouch for a Redis under `rediss`; without it those that "
	         "the system trusts." },
	{ .path = "limiter.tls_cert_file", .type = SCHEMA_READ, .initial = "", FIELD(limiter.tls_cert_file),
	  .doc = "Our own certificate (PEM, with what leads up to the authority) for a Redis that asks clients for one." },
	{ .path = "limiter.tls_key_file", .type = SCHEMA_READ, .initial = "", FIELD(limiter.tls_key_file),
	  .doc = "The private key of `limiter.tls_cert_file` (PEM, without a passphrase)." },
	{ .path = "limiter.prefix", .type = SCHEMA_PREFIX, .initial = "rate_limit:", FIELD(limiter.prefix),
	  .doc = "What the keys of a shared store begin with. Without effect for `memory:`." },
	{ .path = "limiter.timeout", .type = SCHEMA_DURATION, .initial = "50ms", .min = MS, .max = 10 * SECOND,
	  FIELD(limiter.timeout_us),
	  .doc = "A decision never waits longer for the store than this; then `on_failure` decides. Without effect "
	         "for `memory:`, which answers at once." },
	{ .path = "limiter.on_failure", .type = SCHEMA_CHOICE, .initial = "local", .choices = failure_policies,
	  FIELD(limiter.on_failure),
	  .doc = "What is decided when the store cannot: `local` enforces the limits in this process, `open` lets "
	         "everything pass, `closed` nothing." },
	{ .path = "limiter.max_keys", .type = SCHEMA_NUMBER, .initial = "1000000", .min = 1, .max = UINT32_MAX,
	  FIELD(limiter.max_keys),
	  .doc = "States held in this process at most, besides the fixed number of states that `local` shares out. When they "
	         "are full nothing is forgotten: new clients are decided for by `on_failure`." },
	{ .path = "limiter.servers", .type = SCHEMA_NUMBER, .initial = "1", .min = 1, .max = 65535,
	  FIELD(limiter.servers),
	  .doc = "How many servers share the limits, as long as a shared store has not said so: under `local` each server "
	         "then enforces this part of them. Without effect for `memory:`, which is not shared." },
	{ .path = "limiter.deny_cache", .type = SCHEMA_NUMBER, .initial = "65536", .max = 16777216,
	  FIELD(limiter.deny_cache),
	  .doc = "Denials of a shared store that each thread remembers until they run out, so that a client over its limit "
	         "costs the store nothing; 0 for none. Without effect for `memory:`." },
	{ .path = "limiter.ipv6_prefix", .type = SCHEMA_NUMBER, .initial = "64", .min = 1, .max = 128,
	  FIELD(limiter.ipv6_prefix),
	  .doc = "Bits of an IPv6 address that make one client. Providers hand out a /64 at least, so a longer prefix would give one client many quotas." },

	{ .path = "links.store", .type = SCHEMA_STORE, .initial = "sqlite:sluice.db", .choices = links_stores,
	  FIELD(links.store), .env = "SLUICE_LINKS", .flag = "links",
	  .doc = "Where links are kept: a file, or PostgreSQL by any URI of libpq. `sqlite::memory:` forgets them at the end." },
	{ .path = "links.timeout", .type = SCHEMA_DURATION, .initial = "2s", .min = 50 * MS, .max = MINUTE,
	  FIELD(links.timeout_us),
	  .doc = "No request waits longer for PostgreSQL than this; then it is answered 503, and the connection is made "
	         "anew. Without effect for `sqlite:`." },
	{ .path = "links.cache", .type = SCHEMA_SIZE, .initial = "64MiB", .min = MIB, .max = TIB,
	  FIELD(links.cache_bytes),
	  .doc = "Bound of the memory for links that were looked up." },
	{ .path = "links.queue", .type = SCHEMA_NUMBER, .initial = "4096", .min = 1, .max = 1048576,
	  FIELD(links.queue),
	  .doc = "Reads, and writes, of links that may wait for the store; further ones are refused at once." },
	{ .path = "links.click_interval", .type = SCHEMA_DURATION, .initial = "1s", .min = 10 * MS, .max = HOUR,
	  FIELD(links.click_interval_us),
	  .doc = "How often counted clicks are written: what a crash can lose of them." },

	{ .path = "log.level", .type = SCHEMA_CHOICE, .initial = "info", .choices = log_levels, FIELD(log.level),
	  .flag = "log-level",
	  .doc = "Messages to standard error up to this level." },
	{ .path = "log.access", .type = SCHEMA_CHOICE, .initial = "text", .choices = access_logs, FIELD(log.access),
	  .doc = "Form of the line that each request leaves behind, or `off`." },
	{ .path = "log.access_file", .type = SCHEMA_FILE, .initial = "-", FIELD(log.access_file),
	  .doc = "File for these lines; `-` is standard output." },

	{ .path = "limits", .type = SCHEMA_LIMITS, .initial = "10/60s", FIELDS(limits, limits_n),
	  .env = "SLUICE_LIMIT", .flag = "limit",
	  .doc = "What clients may do: a list of limits, or `off` (`[]` is the same). `10/60s` sets limit and window of the first one, "
	         "which is named `per-client` unless a file says otherwise." },
};
const size_t schema_keys_n = sizeof schema_keys / sizeof schema_keys[0];

const struct schema_key schema_limit_keys[] = {
	{ .path = "name", .type = SCHEMA_NAME, LIMIT_FIELD(name),
	  .doc = "Its name in keys, headers and metrics; different for each limit." },
	{ .path = "algorithm", .type = SCHEMA_CHOICE, .initial = "sliding-log", .choices = algorithms,
	  LIMIT_FIELD(algorithm),
	  .doc = "How it counts. `sliding-log` is exact; the others need less memory for large limits." },
	{ .path = "limit", .type = SCHEMA_NUMBER, .min = 1, .max = SLUICE_LIMIT_MAX, LIMIT_FIELD(limit),
	  .doc = "Requests that pass in each window." },
	{ .path = "window", .type = SCHEMA_DURATION, .min = SLUICE_WINDOW_MIN_US, .max = SLUICE_WINDOW_MAX_US,
	  LIMIT_FIELD(window_us),
	  .doc = "Length of the window." },
	{ .path = "burst", .type = SCHEMA_NUMBER, .initial = "0", .max = SLUICE_LIMIT_MAX, LIMIT_FIELD(burst),
	  .doc = "`token-bucket`: requests that may pass at once; 0 for as many as `limit`. `burst` * `window` / "
	         "gcd(`limit`, `window`), in microseconds, must stay below 2^53." },
	{ .path = "by", .type = SCHEMA_SUBJECT, .initial = "client-ip", .choices = subjects, LIMIT_FIELD(subject),
	  .doc = "What it counts by: `client-ip` each client by itself, `global` everybody together." },
};
const size_t schema_limit_keys_n = sizeof schema_limit_keys / sizeof schema_limit_keys[0];
/* clang-format on */
