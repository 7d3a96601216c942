/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h: HTTP/1.1 for one event loop: exchanges in, responses out.
 *
 * A thin floor over libmicrohttpd. It accepts, parses, bounds (connections, headers, bodies, time) and
 * hands each exchange to the handler that it was opened with. It knows no path, no limit, no link.
 *
 * The life of an exchange, all on the loop thread
 *  1. begin()   the head of a request is there. The handler may answer already.
 *  2. handle()  the whole request is there, unless the handler has answered. The handler answers
 *               with http_respond() now or, having returned, at any later time.
 *               A handler that has an operation under way, before handle() or after, sets `busy`; should
 *               the connection break then, `gone` is set instead of calling end(), and the handler calls
 *               http_release() when the operation has ended. `peer` is NULL then.
 *  3. end()     exactly once for each exchange that began, or that broke before it could begin: the
 *               response went out, or can't any more. Afterwards the exchange is gone.
 *
 * Leaves out: TLS and HTTP/2 (the load balancer's job), routing (app/), who the client is behind a
 * proxy (policy/client.h).
 */
#ifndef SLUICE_HTTP_HTTP_H
#define SLUICE_HTTP_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <uv.h>

#include "http/connections.h"
#include "policy/client.h"

enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_OTHER = 8 };

/* What is wrong with a request before any endpoint looks at it. The handler words the answer. */
enum http_fault {
	HTTP_FINE,
	HTTP_BODY_TOO_LARGE,   /* 413 */
	HTTP_HEADER_TOO_LARGE, /* 431 */
	HTTP_MALFORMED,        /* 400: NUL in the target, Content-Length beside Transfer-Encoding, … */
};

struct MHD_Connection;
struct MHD_Response;
struct http_daemon;

/* One TCP connection. */
struct http_peer {
	struct client client; /* the socket's peer */
	bool trusted;         /* it is a trusted proxy */
	char text[CLIENT_TEXT_MAX];
	size_t text_len;

	/* private */
	int fd;
	bool counted;
	struct in6_addr holder; /* who the connection is counted for */
	uint64_t waiting_since_us;
	struct http_exchange *exchange; /* under way on it */
	struct http_peer **list_head, *prev, *next;
};

struct http_exchange {
	struct http_peer *peer;
	enum http_method method;
	const char *method_text;
	const char *target; /* as sent, NUL-terminated, at most max_header_bytes */
	size_t path_len;    /* of target, before any '?' */
	const char *body;
	size_t body_len;
	enum http_fault fault;
	uint64_t started_us; /* clock_mono_us() at begin */
	uint64_t ended_us;   /* likewise, at end */
	unsigned status;     /* of the answer, after http_respond(): that one's, or 431 when it did not fit */
	bool busy;           /* set and cleared by the handler */
	bool gone;           /* the connection broke while it was busy */

	/* private */
	struct http_daemon *daemon;
	struct MHD_Connection *connection;
	struct MHD_Response *response;
	struct answer *answer; /* that `response` belongs to, when it is a kept one */
	size_t head_bytes, head_fields;
	char *target_copy;      /* when it has a query, or outlives its connection */
	char method_copy[24];   /* likewise; cut */
	const char *target_end; /* where the library put it */
	char *body_buffer;
	size_t body_room;
	uint64_t announced; /* Content-Length */
	uint64_t body_seen;
	size_t bytes;
	bool began, whole, parked, suspended, queued, failed;
	uint64_t parked_ms; /* uv_now() */
	struct http_exchange *next_free;
};

#define HTTP_FIELDS_MAX 8

struct http_response {
	unsigned status;
	const char *content_type; /* NULL: none */
	const void *body;         /* kept alive by the caller for ever if `body_static`, else copied */
	size_t body_len;
	bool body_static;
	bool repeats; /* the same answer is likely to be given again within the second */
	bool close;   /* and end the connection after it */
	struct {
		const char *name, *value; /* copied; no CR, LF or NUL in it */
	} fields[HTTP_FIELDS_MAX];
	size_t fields_n;
};

struct http_handler {
	size_t exchange_size; /* bytes of the handler's own struct, whose first member is a struct http_exchange */
	void (*begin)(struct http_exchange *exchange);
	void (*handle)(struct http_exchange *exchange);
	/* status 0: the connection broke before an answer. `bytes`: body bytes of the response. */
	void (*end)(struct http_exchange *exchange, unsigned status, size_t bytes);
};

/* Counters that any thread may read. */
struct http_stats {
	_Alignas(64) _Atomic uint64_t accepted;
	_Atomic uint64_t refused, open, timed_out, broken;
};

struct http_config {
	int listen_fd; /* bound and listening, non-blocking; owned by the daemon */
	uint32_t max_connections;
	unsigned ipv6_prefix; /* bits of an IPv6 address that make one holder of connections */
	uint64_t max_header_bytes, max_body_bytes;
	uint64_t idle_timeout_us, request_timeout_us;
	const struct config_network *trusted; /* outlives the daemon */
	size_t trusted_n;
	struct http_connections *connections; /* shared by all daemons; outlives them */
	struct http_stats *stats;             /* this daemon's; outlives it */
};

/**
 * Starts serving on `loop`.
 * @param handler  outlives the daemon.
 * @param context  for http_context().
 * @return NULL with errno set.
 */
struct http_daemon *http_open(uv_loop_t *loop, const struct http_config *config, const struct http_handler *handler,
                              void *context);

/** Begins to accept. Once; until then whoever connects waits. */
void http_serve(struct http_daemon *daemon);

/** Stops accepting; answers from now on end their connections; idle connections are closed. */
void http_drain(struct http_daemon *daemon);

/** @return exchanges that have not ended. */
size_t http_in_flight(const struct http_daemon *daemon);

/** @return true while somebody who connected within the last second has not sent a whole head: to close now would lose
 *  a request that is on its way. */
bool http_expecting(const struct http_daemon *daemon, uint64_t now_us);

/** @return exchanges of these that wait for an operation of the handler; http_close() must wait for them, too. */
size_t http_waiting(const struct http_daemon *daemon);

/** Ends all connections. http_waiting() must be 0, and http_tend() have run since. The daemon is gone after the loop
 * has run its closing callbacks. */
void http_close(struct http_daemon *daemon);

/** Housekeeping, some ten times a second: timeouts. */
void http_tend(struct http_daemon *daemon, uint64_t now_us);

/** @return the context of http_open(). */
void *http_context(const struct http_exchange *exchange);

/** Answers. Once for each exchange. When memory is short the connection ends without an answer. */
void http_respond(struct http_exchange *exchange, const struct http_response *response);

/** Lets go of an exchange that is `gone`, after its operation has ended; end() is called. */
void http_release(struct http_exchange *exchange);

/** @return the value of a request header, NULL when there is none; the first when there are several. */
const char *http_header(const struct http_exchange *exchange, const char *name);

/** Joins the values of all headers of that name by ", ".
 *  @return the length, 0 when there is none; cut at `room` - 1 from the LEFT, so that what the nearest hop added stays.
 */
size_t http_header_joined(const struct http_exchange *exchange, const char *name, char *text, size_t room);

#endif
