/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.c: see url.h.
 *
 * Browsers, proxies and libraries disagree about odd URLs, and an attacker lives off the disagreement. So
 * the form is checked byte by byte, more strictly than any of them, before libcurl's URL API parses what is left:
 * RFC 3986 with its authority narrowed to host[:port], the host a plain name, an IPv4 address or [IPv6].
 *
 * Leaves out: what the host resolves to, and whether anything answers there.
 */
#include "links/url.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <string.h>
#include <strings.h>

#include "links/links.h"

#define HOST_NAME_MAX_BYTES 253 /* RFC 1035: 255 octets on the wire */
#define LABEL_MAX_BYTES 63

/* The authority of a URL, or a name of ours, cut up. Points into the text it came from. */
struct authority {
	const char *host;
	size_t host_len;
	const char *port;
	size_t port_len; /* 0: none given */
};

/* A host in the one form in which it can be compared. */
struct host {
	bool numeric;
	struct in6_addr address; /* numeric; IPv4 held as IPv4-mapped IPv6 */
	const char *name;        /* else; without a trailing dot, to be compared without regard to case */
	size_t name_len;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name_byte(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
}

bool url_bytes_ok(const char *url, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (url[i] < 0x21 || url[i] > 0x7e)
			return false;
	}
	return true;
}

/* @return the bytes of "http:" or "https:" at the start, or 0. */
static size_t scheme_length(const char *url, size_t len)
{
	if (len >= 5 && strncasecmp(url, "http:", 5) == 0)
		return 5;
	if (len >= 6 && strncasecmp(url, "https:", 6) == 0)
		return 6;
	return 0;
}

/* Cuts `text` at the colon of the port; inside brackets colons belong to the address. */
static bool authority_cut(struct authority *a, const char *text, size_t len)
{
	size_t host_len = 0;

	if (len > 0 && text[0] == '[') {
		const char *end = memchr(text, ']', len);

		if (end == NULL)
			return false;
		host_len = (size_t)(end - text) + 1;
	} else {
		while (host_len < len && text[host_len] != ':')
			host_len++;
	}
	a->host = text;
	a->host_len = host_len;
	a->port = NULL;
	a->port_len = 0;
	if (host_len == len)
		return true;
	if (text[host_len] != ':')
		return false;
	a->port = text + host_len + 1;
	a->port_len = len - host_len - 1;
	return true;
}

/* @return 1 to 65535, `otherwise` when the port is left out, or 0 when it is wrong. */
static unsigned port_number(const struct authority *a, unsigned otherwise)
{
	unsigned port = 0;

	if (a->port_len == 0)
		return otherwise;
	for (size_t i = 0; i < a->port_len; i++) {
		if (!is_digit(a->port[i]))
			return 0;
		port = port * 10 + (unsigned)(a->port[i] - '0');
		if (port > 65535)
			return 0;
	}
	return port;
}

/* A last label of digits, or of 0x and hex digits, makes the whole an IPv4 address in one of its old spellings (WHATWG
 * URL, "ends in a number"): 127.1, 0x7f000001. */
static bool ends_in_number(const char *name, size_t len)
{
	size_t start = len, i;

	while (start > 0 && name[start - 1] != '.')
		start--;
	if (len - start >= 2 && name[start] == '0' && (name[start + 1] | 0x20) == 'x')
		return strspn(name + start + 2, "0123456789abcdefABCDEF") >= len - start - 2;
	for (i = start; i < len && is_digit(name[i]); i++)
		;
	return i == len && start < len;
}

static void map_ipv4(struct in6_addr *to, const struct in_addr *from)
{
	memset(to, 0, sizeof *to);
	to->s6_addr[10] = to->s6_addr[11] = 0xff;
	memcpy(&to->s6_addr[12], from, 4);
}

static bool read_ipv6(struct host *host, const char *text, size_t len)
{
	char copy[INET6_ADDRSTRLEN];

	if (len < 4 || len - 2 >= sizeof copy || text[len - 1] != ']')
		return false;
	memcpy(copy, text + 1, len - 2);
	copy[len - 2] = '\0';
	host->numeric = true;
	return inet_pton(AF_INET6, copy, &host->address) == 1;
}

/* Labels of 1 to 63 letters, digits, '-' and '_', joined by dots. */
static bool labels_ok(const char *name, size_t len)
{
	size_t label = 0;

	for (size_t i = 0; i < len; i++) {
		if (name[i] == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!is_name_byte(name[i]) || ++label > LABEL_MAX_BYTES) {
			return false;
		}
	}
	return label > 0;
}

static bool read_host(struct host *host, const char *text, size_t len)
{
	char copy[HOST_NAME_MAX_BYTES + 1];
	struct in_addr ipv4;

	host->numeric = false;
	if (len > 0 && text[0] == '[')
		return read_ipv6(host, text, len);
	if (len > 0 && text[len - 1] == '.')
		len--;
	if (len > HOST_NAME_MAX_BYTES || !labels_ok(text, len))
		return false;
	host->name = text;
	host->name_len = len;
	memcpy(copy, text, len);
	copy[len] = '\0';
	if (!ends_in_number(copy, len))
		return true;
	host->numeric = true;
	if (inet_aton(copy, &ipv4) == 0)
		return false;
	map_ipv4(&host->address, &ipv4);
	return true;
}

static bool host_equal(const struct host *a, const struct host *b)
{
	if (a->numeric != b->numeric)
		return false;
	if (a->numeric)
		return memcmp(&a->address, &b->address, sizeof a->address) == 0;
	return a->name_len == b->name_len && strncasecmp(a->name, b->name, a->name_len) == 0;
}

static bool is_ourselves(const struct host *host, unsigned port, unsigned default_port, const char *self)
{
	struct authority ours;
	struct host our_host;

	if (!authority_cut(&ours, self, strlen(self)) || !read_host(&our_host, ours.host, ours.host_len))
		return false;
	if (!host_equal(host, &our_host))
		return false;
	return ours.port_len == 0 || port_number(&ours, default_port) == port;
}

/* The last word is libcurl's, so that what we accept is a URL for others too. */
static enum url_verdict ask_curl(const char *url, size_t len)
{
	char copy[LINK_URL_MAX + 1];
	CURLU *handle = curl_url();
	CURLUcode code;

	if (handle == NULL)
		return URL_MALFORMED;
	memcpy(copy, url, len);
	copy[len] = '\0';
	code = curl_url_set(handle, CURLUPART_URL, copy, CURLU_DISALLOW_USER);
	curl_url_cleanup(handle);
	switch (code) {
	case CURLUE_OK:
		return URL_OK;
	case CURLUE_UNSUPPORTED_SCHEME:
		return URL_BAD_SCHEME;
	case CURLUE_USER_NOT_ALLOWED:
		return URL_CREDENTIALS;
	case CURLUE_NO_HOST:
		return URL_NO_HOST;
	default:
		return URL_MALFORMED;
	}
}

/* Between the scheme and the first of "/?#": host[:port] and nothing else. */
static enum url_verdict check_authority(const char *text, size_t len, unsigned default_port, const char *const *self,
                                        size_t selfs)
{
	struct authority a;
	struct host host;
	unsigned port;

	if (memchr(text, '@', len) != NULL)
		return URL_CREDENTIALS;
	if (!authority_cut(&a, text, len))
		return URL_MALFORMED;
	if (a.host_len == 0)
		return URL_NO_HOST;
	port = port_number(&a, default_port);
	if (port == 0 || !read_host(&host, a.host, a.host_len))
		return URL_MALFORMED;
	for (size_t i = 0; i < selfs; i++) {
		if (is_ourselves(&host, port, default_port, self[i]))
			return URL_OURSELVES;
	}
	return URL_OK;
}

/* Browsers take a backslash for a slash, others do not: nobody may see another host than we did. */
static bool backslash_before_query(const char *url, size_t len)
{
	for (size_t i = 0; i < len && url[i] != '?' && url[i] != '#'; i++) {
		if (url[i] == '\\')
			return true;
	}
	return false;
}

enum url_verdict url_check(const char *url, size_t len, const char *const *self, size_t selfs)
{
	size_t scheme, authority_len = 0;
	enum url_verdict verdict;

	if (len == 0)
		return URL_EMPTY;
	if (len > LINK_URL_MAX)
		return URL_TOO_LONG;
	if (!url_bytes_ok(url, len))
		return URL_BAD_BYTE;
	scheme = scheme_length(url, len);
	if (scheme == 0)
		return URL_BAD_SCHEME;
	if (backslash_before_query(url, len))
		return URL_MALFORMED;
	if (len < scheme + 2 || memcmp(url + scheme, "//", 2) != 0)
		return URL_NO_HOST;
	while (scheme + 2 + authority_len < len && strchr("/?#", url[scheme + 2 + authority_len]) == NULL)
		authority_len++;
	verdict = check_authority(url + scheme + 2, authority_len, scheme == 5 ? 80 : 443, self, selfs);
	return verdict == URL_OK ? ask_curl(url, len) : verdict;
}

const char *url_verdict_text(enum url_verdict verdict)
{
	switch (verdict) {
	case URL_OK:
		return "URL is fine";
	case URL_EMPTY:
		return "URL is missing";
	case URL_TOO_LONG:
		return "URL must be at most 8192 bytes";
	case URL_BAD_BYTE:
		return "URL must not contain spaces, control characters or bytes beyond ASCII; percent-encode them";
	case URL_BAD_SCHEME:
		return "URL must start with http:// or https://";
	case URL_NO_HOST:
		return "URL must name a host after http:// or https://";
	case URL_CREDENTIALS:
		return "URL must not contain a user name or password";
	case URL_MALFORMED:
		return "URL is malformed: its host or port is not valid, or it contains a backslash";
	case URL_OURSELVES:
		return "URL must not point to this shortener itself";
	}
	return "URL is not acceptable";
}
