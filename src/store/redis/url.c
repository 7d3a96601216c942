/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.c: see url.h.
 *
 * A message never quotes a piece of the text: where a password holds a character that should have been written as %XX,
 * any piece may be one of its own.
 */
#include "store/redis/url.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"

#define PORT 6379
#define SENTINEL_PORT 26379

struct reader {
	struct redis_url *url;
	char *why;
	size_t why_size;
};

/* A piece of the text. */
struct piece {
	const char *at;
	size_t len;
};

static int fail(struct reader *r, const char *format, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct reader *r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (r->why_size > 0)
		vsnprintf(r->why, r->why_size, format, args);
	va_end(args);
	return -EINVAL;
}

static const struct scheme {
	const char *name;
	enum redis_mode mode;
	bool tls;
} schemes[] = {
	{ "redis://", REDIS_SINGLE, false },
	{ "rediss://", REDIS_SINGLE, true },
	{ "redis+sentinel://", REDIS_SENTINEL, false },
	{ "rediss+sentinel://", REDIS_SENTINEL, true },
	{ "redis+cluster://", REDIS_CLUSTER, false },
	{ "rediss+cluster://", REDIS_CLUSTER, true },
};

/* @return what stands behind the scheme, or NULL. */
static const char *read_scheme(struct reader *r, const char *text)
{
	for (size_t i = 0; i < sizeof schemes / sizeof schemes[0]; i++) {
		size_t len = strlen(schemes[i].name);

		if (strncmp(text, schemes[i].name, len) != 0)
			continue;
		r->url->mode = schemes[i].mode;
		r->url->tls = schemes[i].tls;
		return text + len;
	}
	return NULL;
}

/* Decodes %XX. @param what  for the message. */
static int decode(struct reader *r, char *to, size_t room, struct piece from, const char *what)
{
	size_t n = 0;

	for (size_t i = 0; i < from.len; i++) {
		char c = from.at[i];

		if (c == '%') {
			int high = i + 2 < from.len ? hex_value(from.at[i + 1]) : -1;
			int low = high >= 0 ? hex_value(from.at[i + 2]) : -1;

			if (low < 0)
				return fail(r,
				            "a %% in the %s is not followed by two hex digits; write %% itself as %%25",
				            what);
			c = (char)(high * 16 + low);
			i += 2;
		}
		if (c == '\0')
			return fail(r, "the %s holds a zero byte", what);
		if (n + 1 >= room)
			return fail(r, "the %s is longer than %zu bytes", what, room - 1);
		to[n++] = c;
	}
	to[n] = '\0';
	return 0;
}

static int read_userinfo(struct reader *r, struct piece info)
{
	const char *colon = memchr(info.at, ':', info.len);
	struct piece user = { info.at, colon != NULL ? (size_t)(colon - info.at) : info.len };
	struct piece password = { info.at + user.len + 1, colon != NULL ? info.len - user.len - 1 : 0 };
	int err = decode(r, r->url->user, sizeof r->url->user, user, "user");

	if (err != 0 || colon == NULL)
		return err == 0 && user.len == 0 ? fail(r, "nothing stands before the @") : err;
	r->url->has_password = true;
	if (password.len == 0)
		return fail(r, "the password is empty; leave out the colon where there is none");
	return decode(r, r->url->password, sizeof r->url->password, password, "password");
}

/* @return the number, or `above` when it is none or larger. */
static uint32_t read_number(struct piece text, uint32_t above)
{
	uint32_t number = 0;

	if (text.len == 0 || text.len > 10)
		return above;
	for (size_t i = 0; i < text.len; i++) {
		if (text.at[i] < '0' || text.at[i] > '9')
			return above;
		if (number >= above / 10 + 1)
			return above;
		number = number * 10 + (uint32_t)(text.at[i] - '0');
		if (number >= above)
			return above;
	}
	return number;
}

static bool is_name_byte(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_' ||
	       c == '.';
}

static bool is_name(struct piece text)
{
	for (size_t i = 0; i < text.len; i++) {
		if (!is_name_byte(text.at[i]))
			return false;
	}
	return text.len > 0;
}

/* Reads what stands in brackets, or in front of a colon. @param rest  out: what follows. */
static int read_host_name(struct reader *r, struct redis_host *host, struct piece text, struct piece *rest)
{
	bool bracket = text.len > 0 && text.at[0] == '[';
	const char *end = memchr(text.at, bracket ? ']' : ':', text.len);
	struct piece name = { text.at + bracket, 0 };
	struct in6_addr address;

	if (bracket && end == NULL)
		return fail(r, "a bracket is not closed; an IPv6 address is written [::1]");
	name.len = (size_t)((end != NULL ? end : text.at + text.len) - name.at);
	if (name.len == 0)
		return fail(r, "host %zu has no name; write host or host:port", r->url->hosts_n + 1);
	if (name.len > REDIS_URL_HOST_MAX)
		return fail(r, "host %zu is longer than %d bytes", r->url->hosts_n + 1, REDIS_URL_HOST_MAX);
	memcpy(host->name, name.at, name.len);
	host->name[name.len] = '\0';
	if (bracket && (strlen(host->name) != name.len || inet_pton(AF_INET6, host->name, &address) != 1))
		return fail(r, "what stands in brackets is no IPv6 address; it is written [2001:db8::1]:6379");
	if (!bracket && !is_name(name))
		return fail(
			r,
			"host %zu is no host name; letters, digits, '.', '-' and '_' make one, IPv6 stands in brackets",
			r->url->hosts_n + 1);
	rest->at = name.at + name.len + bracket;
	rest->len = (size_t)(text.at + text.len - rest->at);
	return 0;
}

static int read_host(struct reader *r, struct piece text)
{
	struct redis_host *host = &r->url->hosts[r->url->hosts_n];
	struct piece rest = { NULL, 0 };
	uint32_t port = r->url->mode == REDIS_SENTINEL ? SENTINEL_PORT : PORT;
	int err;

	if (r->url->hosts_n == REDIS_URL_HOSTS_MAX)
		return fail(r, "more than %d hosts; a few are enough, the others are found through them",
		            REDIS_URL_HOSTS_MAX);
	err = read_host_name(r, host, text, &rest);
	if (err != 0)
		return err;
	if (rest.len > 0 && rest.at[0] != ':')
		return fail(r, "only a port may follow the bracket: [::1]:6379");
	if (rest.len > 0)
		port = read_number((struct piece){ rest.at + 1, rest.len - 1 }, 65536);
	if (port == 0 || port == 65536)
		return fail(r, "the port of host %zu is no number from 1 to 65535", r->url->hosts_n + 1);
	host->port = (uint16_t)port;
	r->url->hosts_n++;
	return 0;
}

static int read_hosts(struct reader *r, struct piece text)
{
	int err = 0;

	while (err == 0) {
		const char *comma = memchr(text.at, ',', text.len);
		struct piece one = { text.at, comma != NULL ? (size_t)(comma - text.at) : text.len };

		err = read_host(r, one);
		if (comma == NULL)
			break;
		text.len -= one.len + 1;
		text.at = comma + 1;
	}
	if (err == 0 && r->url->mode == REDIS_SINGLE && r->url->hosts_n > 1)
		return fail(r, "several hosts need redis+sentinel:// or redis+cluster://");
	return err;
}

static int read_db(struct reader *r, struct piece text)
{
	if (text.len == 0)
		return 0;
	r->url->db = read_number(text, INT32_MAX);
	if (r->url->db == INT32_MAX)
		return fail(r, "the database after the / is no number");
	if (r->url->db != 0 && r->url->mode == REDIS_CLUSTER)
		return fail(r, "a Cluster has no database but 0");
	return 0;
}

static int read_master(struct reader *r, struct piece text)
{
	const char *slash = memchr(text.at, '/', text.len);
	struct piece name = { text.at, slash != NULL ? (size_t)(slash - text.at) : text.len };

	if (name.len == 0)
		return fail(r, "the name of the master is missing; write redis+sentinel://host,host/NAME");
	if (name.len >= sizeof r->url->master || !is_name(name))
		return fail(r, "the name of the master is at most %zu letters, digits, '.', '-' and '_'",
		            sizeof r->url->master - 1);
	memcpy(r->url->master, name.at, name.len);
	r->url->master[name.len] = '\0';
	if (slash == NULL)
		return 0;
	return read_db(r, (struct piece){ slash + 1, text.len - name.len - 1 });
}

static int read_rest(struct reader *r, const char *text)
{
	size_t len = strcspn(text, "/?#");
	struct piece path = { text + len + (text[len] != '\0'), strlen(text) - len - (text[len] != '\0') };
	const char *at = memrchr(text, '@', len);
	int err = 0;

	if (strchr(text + len, '@') != NULL)
		return fail(r, "an @ follows a '/', '?' or '#'; in a password write them as %%2F, %%3F and %%23");
	if (strpbrk(text, "?#") != NULL)
		return fail(r, "there are no options behind '?' or '#'; in a password write them as %%3F and %%23");
	if (at != NULL && memchr(text, '@', (size_t)(at - text)) != NULL)
		return fail(r, "there is more than one @; in a password write it as %%40");
	if (at != NULL)
		err = read_userinfo(r, (struct piece){ text, (size_t)(at - text) });
	if (err != 0)
		return err;
	at = at != NULL ? at + 1 : text;
	err = read_hosts(r, (struct piece){ at, (size_t)(text + len - at) });
	if (err != 0)
		return err;
	return r->url->mode == REDIS_SENTINEL ? read_master(r, path) : read_db(r, path);
}

int redis_url_parse(struct redis_url *url, const char *text, char *why, size_t why_size)
{
	struct reader r = { .url = url, .why = why, .why_size = why_size };

	*url = (struct redis_url){ 0 };
	for (const char *c = text; *c != '\0'; c++) {
		if ((unsigned char)*c <= ' ' || *c == 0x7f)
			return fail(&r, "it holds a blank or a control character; in a password write it as %%XX");
	}
	text = read_scheme(&r, text);
	if (text == NULL)
		return fail(&r, "it begins with none of redis://, rediss://, redis+sentinel://, rediss+sentinel://, "
		                "redis+cluster://, rediss+cluster://");
	return read_rest(&r, text);
}
