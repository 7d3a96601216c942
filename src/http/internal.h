/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal.h: what daemon.c and exchange.c share; nobody else includes it.
 */
#ifndef SLUICE_HTTP_INTERNAL_H
#define SLUICE_HTTP_INTERNAL_H

#include <microhttpd.h>

#include "http/answers.h"
#include "http/http.h"

/* A connection's memory is max_header_bytes and this. The library zeroes it for every request, which is seen in the
 * profile, so it is not made for the worst case: see fits() in exchange.c. */
#define HTTP_HEAD_ROOM (8 * 1024)
#define HTTP_HEAD_SPARE 1024 /* of it for status line, names of fields and the library's own */
#define HTTP_FIELD_SIZE 72   /* what the library keeps for each field of the request */

struct http_daemon {
	struct MHD_Daemon *mhd;
	uv_poll_t poll;    /* on MHD's epoll descriptor */
	uv_idle_t pending; /* active while MHD has work that no descriptor will announce */
	int handles_open;
	struct http_config config;
	const struct http_handler *handler;
	void *context;
	struct http_exchange *free_exchanges;
	size_t free_n;
	size_t in_flight;
	size_t waiting;    /* of these, who wait for an operation of the handler */
	size_t parked;     /* of the waiting, who were not taken out of the library's hands: see park() */
	uint64_t progress; /* counts what the library does for us; when it stands still, so does the library */
	bool serving;      /* http_serve() was called: until then whoever connects waits in the system's queue */
	bool draining;
	/* Peers that owe us a request, longest waiting first: those that never sent one, and those that
	 * are kept alive after one. Two queues, since the second may wait longer. */
	struct http_peer *fresh, *fresh_tail;
	struct http_peer *kept, *kept_tail;
	uint64_t tended_us, tended_before_us; /* when http_tend() ran last, and the time before that */
	struct answers answers;
	char date[32]; /* value of the Date field, for the second `date_s` */
	uint64_t date_s;
};

/* Moves a peer between the queues: NULL for none. */
void http_peer_wait(struct http_daemon *daemon, struct http_peer *peer, struct http_peer **queue, uint64_t now_us);

/* Has the library run in this turn of the loop: no descriptor announces that an answer is there. */
void http_run_soon(struct http_daemon *daemon);

/* The callbacks that libmicrohttpd gets from exchange.c. */
void *http_on_target(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *upload, size_t *upload_size, void **con_cls);
void http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode code);

/* Ends the exchange of a connection that goes away, in case the library has not. */
void http_exchange_abandon(struct http_exchange *exchange);

/* Frees the pooled exchanges. */
void http_free_exchanges(struct http_daemon *daemon);

#endif
