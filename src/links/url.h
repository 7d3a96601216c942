/* SPDX-License-Identifier: Apache-2.0 */
/*
 * url.h: which URLs may be shortened.
 *
 * Only http and https, with a host; no control characters, spaces or non-ASCII bytes unencoded; no
 * credentials; at most LINK_URL_MAX bytes; never a link to ourselves (a loop). An accepted URL is kept byte
 * for byte as it came, so that the redirect gives back what was given.
 */
#ifndef SLUICE_LINKS_URL_H
#define SLUICE_LINKS_URL_H

#include <stdbool.h>
#include <stddef.h>

enum url_verdict {
	URL_OK,
	URL_EMPTY,
	URL_TOO_LONG,
	URL_BAD_BYTE,   /* control character, space, DEL, or a byte above 0x7e */
	URL_BAD_SCHEME, /* not http or https */
	URL_NO_HOST,
	URL_CREDENTIALS, /* user or password in it */
	URL_MALFORMED,
	URL_OURSELVES,
};

/**
 * @param url, len    the candidate; any bytes, not NUL-terminated.
 * @param self, selfs lower-case `host` or `host:port` names under which this server is reached (the Host
 *                    of the request, the configured public names); a URL whose host and port (default port
 *                    of the scheme when none is given) match one is URL_OURSELVES. A name without a port
 *                    matches every port.
 */
enum url_verdict url_check(const char *url, size_t len, const char *const *self, size_t selfs);

/** @return a sentence for the client ("URL must be at most 8192 bytes"). Static. */
const char *url_verdict_text(enum url_verdict verdict);

/** @return true when every byte may stand in a Location header: checked again on the way out. */
bool url_bytes_ok(const char *url, size_t len);

#endif
