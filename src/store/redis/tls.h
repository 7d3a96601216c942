/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls.h: TLS for a connection to Redis, between its bytes and its socket (OpenSSL 3 over memory BIOs).
 *
 * The certificate of the server must lead to a trusted authority and name the host that was asked for: by its DNS
 * names (RFC 6125), or its IP addresses where the host is one. TLS 1.2 at least, no renegotiation.
 *
 * Leaves out: sockets (conn_io.c), session resumption, revocation.
 *
 * A context may be used by several threads at once, a session by one.
 */
#ifndef SLUICE_STORE_REDIS_TLS_H
#define SLUICE_STORE_REDIS_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct redis_tls;
struct redis_tls_session;

/** Reads the files. NULL or "": for `ca_file` what the system trusts, for the other two (both or neither) none.
 *  @param why  out, on failure: names the file and what is wrong with it.
 *  @return a context, to be freed after its sessions; NULL. */
struct redis_tls *redis_tls_new(const char *ca_file, const char *cert_file, const char *key_file, char *why,
                                size_t why_size);

void redis_tls_free(struct redis_tls *tls);

/** @param host  that the certificate must name. @return a session whose first bytes are ready to be sent, or NULL:
 *                out of memory. */
struct redis_tls_session *redis_tls_begin(struct redis_tls *tls, const char *host);

void redis_tls_end(struct redis_tls_session *session);

/** Takes bytes that came from the server. Follow with redis_tls_read().
 *  @return 0 or -ENOMEM. */
int redis_tls_received(struct redis_tls_session *session, const char *bytes, size_t len);

/** Goes on with the handshake, then decrypts.
 *  @return bytes of plain text; 0: none, the server must say more; -ECONNRESET: it has closed the session; or another
 *          negative errno, after which the session is of no more use: redis_tls_why(). */
ssize_t redis_tls_read(struct redis_tls_session *session, char *bytes, size_t room);

/** @return true once the handshake is over and the certificate was found right. */
bool redis_tls_secure(const struct redis_tls_session *session);

/** Encrypts all of it; only when redis_tls_secure(). @return 0 or a negative errno: redis_tls_why(). */
int redis_tls_write(struct redis_tls_session *session, const char *bytes, size_t len);

/** Adds our goodbye to what is to be sent. */
void redis_tls_close(struct redis_tls_session *session);

/** @return bytes that are to be sent to the server; valid until the next call with this session. */
size_t redis_tls_output(struct redis_tls_session *session, const char **bytes);

/** Says that so many of them were. */
void redis_tls_sent(struct redis_tls_session *session, size_t len);

/** @return what went wrong, in words with the cure. */
const char *redis_tls_why(const struct redis_tls_session *session);

#endif
