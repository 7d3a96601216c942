/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct redis_tls {
	SSL_CTX *ctx;
	bool own_ca;  /* a file was given */
	bool own_key; /* likewise */
};

struct redis_tls_session {
	const struct redis_tls *tls;
	SSL *ssl;
	BIO *in, *out; /* the session's */
	bool secure;
	char host[256]; /* for words */
	char why[384];
};

/* A key with a passphrase is refused, instead of being asked for on a terminal that is not there. */
static int no_passphrase(char *to, int room, int writing, void *context)
{
	(void)to;
	(void)room;
	(void)writing;
	(void)context;
	return -1;
}

/* @return the reason of the first error that OpenSSL has noted; the later ones say where it happened. */
static const char *first_reason(void)
{
	unsigned long error = ERR_get_error();
	const char *reason =
		ERR_GET_LIB(error) == ERR_LIB_SYS ? strerror(ERR_GET_REASON(error)) : ERR_reason_error_string(error);

	ERR_clear_error();
	return reason != NULL ? reason : "unknown error";
}

static int wrong_file(const char *file, const char *what, char *why, size_t why_size)
{
	snprintf(why, why_size, "%s: %s: %s", file, what, first_reason());
	return -1;
}

static bool given(const char *file)
{
	return file != NULL && *file != '\0';
}

static int load_files(SSL_CTX *ctx, const char *ca_file, const char *cert_file, const char *key_file, char *why,
                      size_t why_size)
{
	if (given(ca_file)) {
		if (SSL_CTX_load_verify_file(ctx, ca_file) != 1)
			return wrong_file(ca_file, "no certificates (PEM) can be read from it", why, why_size);
	} else if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
		return wrong_file("certificates of the system", "they can't be read", why, why_size);
	}
	if (given(cert_file) != given(key_file)) {
		snprintf(why, why_size, "a certificate goes with a key; give both files or neither");
		return -1;
	}
	if (!given(cert_file))
		return 0;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert_file) != 1)
		return wrong_file(cert_file, "no certificate (PEM) can be read from it", why, why_size);
	if (SSL_CTX_use_PrivateKey_file(ctx, key_file, SSL_FILETYPE_PEM) != 1)
		return wrong_file(key_file,
		                  "no key (PEM, without a passphrase) for the certificate can be read from it", why,
		                  why_size);
	return 0;
}

struct redis_tls *redis_tls_new(const char *ca_file, const char *cert_file, const char *key_file, char *why,
                                size_t why_size)
{
	struct redis_tls *tls = calloc(1, sizeof *tls);
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	ERR_clear_error();
	if (tls == NULL || ctx == NULL) {
		snprintf(why, why_size, "out of memory");
		SSL_CTX_free(ctx);
		free(tls);
		return NULL;
	}
	tls->ctx = ctx;
	tls->own_ca = given(ca_file);
	tls->own_key = given(cert_file);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	if (load_files(ctx, ca_file, cert_file, key_file, why, why_size) != 0) {
		redis_tls_free(tls);
		return NULL;
	}
	return tls;
}

void redis_tls_free(struct redis_tls *tls)
{
	if (tls == NULL)
		return;
	SSL_CTX_free(tls->ctx);
	free(tls);
}

/* Server name and what the certificate must name. An address is no server name (RFC 6066, section 3). */
static bool set_host(SSL *ssl, const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set_tlsext_host_name(ssl, host) == 1 && SSL_set1_host(ssl, host) == 1;
}

/* @return false: out of memory, or the first step went wrong. */
static bool set_up(struct redis_tls_session *session, const char *host)
{
	session->ssl = SSL_new(session->tls->ctx);
	session->in = BIO_new(BIO_s_mem());
	session->out = BIO_new(BIO_s_mem());
	if (session->ssl == NULL || session->in == NULL || session->out == NULL) {
		BIO_free(session->in);
		BIO_free(session->out);
		return false;
	}
	/* Empty means "not yet", not "the end". */
	BIO_set_mem_eof_return(session->in, -1);
	SSL_set_bio(session->ssl, session->in, session->out); /* owns them now */
	SSL_set_connect_state(session->ssl);
	if (!set_host(session->ssl, host))
		return false;
	ERR_clear_error();
	return SSL_get_error(session->ssl, SSL_do_handshake(session->ssl)) == SSL_ERROR_WANT_READ;
}

struct redis_tls_session *redis_tls_begin(struct redis_tls *tls, const char *host)
{
	struct redis_tls_session *session = calloc(1, sizeof *session);

	if (session == NULL)
		return NULL;
	session->tls = tls;
	snprintf(session->host, sizeof session->host, "%s", host);
	if (set_up(session, host))
		return session;
	ERR_clear_error();
	redis_tls_end(session);
	return NULL;
}

void redis_tls_end(struct redis_tls_session *session)
{
	if (session == NULL)
		return;
	SSL_free(session->ssl);
	free(session);
}

int redis_tls_received(struct redis_tls_session *session, const char *bytes, size_t len)
{
	/* A memory BIO takes everything or nothing. */
	return BIO_write(session->in, bytes, (int)len) == (int)len ? 0 : -ENOMEM;
}

static void explain_certificate(struct redis_tls_session *session, long result)
{
	const char *words = X509_verify_cert_error_string(result);

	if (result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH)
		snprintf(session->why, sizeof session->why,
		         "its certificate does not name %.100s: use a name that it holds, or a certificate that holds "
		         "this one",
		         session->host);
	else if (result == X509_V_ERR_CERT_HAS_EXPIRED || result == X509_V_ERR_CERT_NOT_YET_VALID)
		snprintf(session->why, sizeof session->why, "its certificate is not valid at this time: %s", words);
	else
		snprintf(session->why, sizeof session->why, "its certificate is not trusted: %s; %s", words,
		         session->tls->own_ca ? "limiter.tls_ca_file must hold the authority that made it"
		                              : "give the authority that made it in limiter.tls_ca_file");
}

/* What the server, or OpenSSL, has against it. Alerts: RFC 8446, section 6.2. */
static void explain_error(struct redis_tls_session *session)
{
	int code = ERR_GET_REASON(ERR_peek_error());
	const char *hint = "";

	switch (code) {
	case SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED:
	case SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE:
	case SSL_R_SSLV3_ALERT_BAD_CERTIFICATE:
	case SSL_R_TLSV1_ALERT_UNKNOWN_CA:
	case SSL_R_TLSV1_ALERT_ACCESS_DENIED:
		hint = session->tls->own_key ? "; it may not trust the certificate in limiter.tls_cert_file"
		                             : "; it may ask for a certificate of ours: limiter.tls_cert_file";
		break;
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_HTTP_REQUEST:
		hint = "; it may speak no TLS on this port";
		break;
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
		hint = "; TLS 1.2 at least is needed";
		break;
	}
	snprintf(session->why, sizeof session->why, "TLS: %s%s", first_reason(), hint);
}

/* @return 0 when it only takes more bytes, or a negative errno. */
static int outcome(struct redis_tls_session *session, int result)
{
	int kind = SSL_get_error(session->ssl, result);
	long verified = SSL_get_verify_result(session->ssl);
	int err = -EPROTO;

	if (kind == SSL_ERROR_WANT_READ)
		return 0;
	if (kind == SSL_ERROR_ZERO_RETURN) {
		snprintf(session->why, sizeof session->why, "the server ended the TLS session");
		err = -ECONNRESET;
	} else if (!session->secure && verified != X509_V_OK) {
		explain_certificate(session, verified);
		err = -EACCES;
	} else {
		explain_error(session);
	}
	ERR_clear_error();
	return err;
}

ssize_t redis_tls_read(struct redis_tls_session *session, char *bytes, size_t room)
{
	int result;

	ERR_clear_error();
	if (!session->secure) {
		result = SSL_do_handshake(session->ssl);
		if (result != 1)
			return outcome(session, result);
		session->secure = true;
	}
	result = SSL_read(session->ssl, bytes, (int)room);
	return result > 0 ? result : outcome(session, result);
}

bool redis_tls_secure(const struct redis_tls_session *session)
{
	return session->secure;
}

int redis_tls_write(struct redis_tls_session *session, const char *bytes, size_t len)
{
	int result, err;

	ERR_clear_error();
	result = SSL_write(session->ssl, bytes, (int)len);
	if (result == (int)len)
		return 0;
	err = outcome(session, result);
	return err != 0 ? err : -EPROTO; /* a memory BIO never makes it wait */
}

void redis_tls_close(struct redis_tls_session *session)
{
	ERR_clear_error();
	if (session->secure && SSL_shutdown(session->ssl) < 0)
		ERR_clear_error();
}

size_t redis_tls_output(struct redis_tls_session *session, const char **bytes)
{
	char *data = NULL;
	long len = BIO_get_mem_data(session->out, &data);

	*bytes = data;
	return len > 0 ? (size_t)len : 0;
}

void redis_tls_sent(struct redis_tls_session *session, size_t len)
{
	char rest[4096];

	while (len > 0) {
		int n = BIO_read(session->out, rest, (int)(len < sizeof rest ? len : sizeof rest));

		if (n <= 0)
			return;
		len -= (size_t)n;
	}
}

const char *redis_tls_why(const struct redis_tls_session *session)
{
	return session->why;
}
