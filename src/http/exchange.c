/* SPDX-License-Identifier: Apache-2.0 */
/*
 * exchange.c: one request and its answer, between libmicrohttpd and the handler.
 *
 * The library calls http_on_request() once when the head is there, once for each piece of the body,
 * and once more when the request is whole; only in that last call may an answer be queued without
 * ending the connection. Leaves out: connections and the loop (daemon.c).
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/clock.h"
#include "http/internal.h"

/* Exchanges kept for reuse, a thread. */
#define POOL_MAX 1024

/* Who waits longer than this, or beside so many others, is suspended. */
#define PARKED_MS 3
#define PARKED_MAX 256

/* A body over the bound is read on, up to this many times the bound, to be answered on a connection that stays usable:
 * one that is closed while its client still sends may take the answer with it (RFC 9112, section 9.6). A proxy would
 * see a failing server in that. */
#define SWALLOW_FACTOR 4

static struct http_exchange *exchange_new(struct http_daemon *daemon)
{
	struct http_exchange *exchange = daemon->free_exchanges;

	if (exchange != NULL) {
		daemon->free_exchanges = exchange->next_free;
		daemon->free_n--;
		memset(exchange, 0, sizeof *exchange); /* the handler's part is the handler's to clear */
	} else {
		exchange = calloc(1, daemon->handler->exchange_size);
	}
	if (exchange != NULL) {
		exchange->daemon = daemon;
		daemon->in_flight++;
	}
	return exchange;
}

static void exchange_free(struct http_exchange *exchange)
{
	struct http_daemon *daemon = exchange->daemon;

	free(exchange->body_buffer);
	free(exchange->target_copy);
	daemon->in_flight--;
	if (daemon->free_n >= POOL_MAX) {
		free(exchange);
		return;
	}
	exchange->next_free = daemon->free_exchanges;
	daemon->free_exchanges = exchange;
	daemon->free_n++;
}

void http_free_exchanges(struct http_daemon *daemon)
{
	while (daemon->free_exchanges != NULL) {
		struct http_exchange *next = daemon->free_exchanges->next_free;

		free(daemon->free_exchanges);
		daemon->free_exchanges = next;
	}
}

void *http_context(const struct http_exchange *exchange)
{
	return exchange->daemon->context;
}

/* RFC 9112 section 3.2.2: a server must understand `GET http://host/path`, as proxies get it. */
static void skip_authority(struct http_exchange *exchange)
{
	const char *target = exchange->target;
	size_t scheme = strncasecmp(target, "http://", 7) == 0 ? 7 : strncasecmp(target, "https://", 8) == 0 ? 8 : 0;

	if (scheme == 0)
		return;
	target += scheme;
	target += strcspn(target, "/?");
	exchange->target = *target == '/' ? target : "/";
	exchange->path_len = strcspn(exchange->target, "?");
}

void *http_on_target(void *cls, const char *uri, struct MHD_Connection *connection)
{
	const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	struct http_exchange *exchange;

	if (info == NULL || info->socket_context == NULL) /* refused already */
		return NULL;
	exchange = exchange_new(cls);
	if (exchange == NULL)
		return NULL;
	exchange->peer = info->socket_context;
	exchange->peer->exchange = exchange;
	exchange->connection = connection;
	exchange->target = uri != NULL ? uri : "";
	exchange->target_end = exchange->target + strlen(exchange->target);
	exchange->path_len = strcspn(exchange->target, "?");
	exchange->started_us = clock_mono_us();
	if (exchange->target[exchange->path_len] == '?') {
		/* The library will cut the query into fields where it stands. */
		exchange->target_copy = strdup(exchange->target);
		if (exchange->target_copy == NULL) {
			exchange->peer->exchange = NULL;
			exchange_free(exchange);
			return NULL;
		}
		exchange->target = exchange->target_copy;
	}
	skip_authority(exchange);
	return exchange;
}

static enum http_method method_of(const char *text)
{
	if (strcmp(text, "GET") == 0)
		return HTTP_GET;
	if (strcmp(text, "POST") == 0)
		return HTTP_POST;
	if (strcmp(text, "HEAD") == 0)
		return HTTP_HEAD;
	return HTTP_OTHER;
}

const char *http_header(const struct http_exchange *exchange, const char *name)
{
	return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

struct join {
	const char *name;
	char *text;
	size_t room, len;
};

static enum MHD_Result join_one(void *cls, enum MHD_ValueKind kind, const char *name, const char *value)
{
	struct join *join = cls;
	size_t len, separator;

	if (value == NULL || strcasecmp(name, join->name) != 0)
		return MHD_YES;
	len = strlen(value);
	separator = join->len > 0 ? 2 : 0;
	if (separator + len >= join->room) { /* it fills the room alone: its right end is what counts */
		size_t kept = len < join->room ? len : join->room - 1;

		value += len - kept;
		len = kept;
		join->len = separator = 0;
	} else if (join->len + separator + len >= join->room) {
		size_t drop = join->len + separator + len - (join->room - 1);

		memmove(join->text, join->text + drop, join->len - drop);
		join->len -= drop;
	}
	memcpy(join->text + join->len, ", ", separator);
	join->len += separator;
	memcpy(join->text + join->len, value, len);
	join->len += len;
	join->text[join->len] = '\0';
	return MHD_YES;
}

size_t http_header_joined(const struct http_exchange *exchange, const char *name, char *text, size_t room)
{
	struct join join = { .name = name, .text = text, .room = room };

	text[0] = '\0';
	MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, join_one, &join);
	return join.len;
}

/* What smuggles requests past proxies: two opinions about where the body ends. */
struct framing {
	unsigned fields, lengths, encodings, hosts;
	bool odd_encoding, odd_name;
};

static enum MHD_Result look_at_framing(void *cls, enum MHD_ValueKind kind, const char *name, size_t name_len,
                                       const char *value, size_t value_len)
{
	struct framing *framing = cls;
	char first;

	framing->fields++;
	/* RFC 9112 section 5.1: `Transfer-Encoding : chunked` is one thing to us and another to some proxies. */
	if (name_len == 0 || name[name_len - 1] == ' ' || name[name_len - 1] == '\t') {
		framing->odd_name = true;
		return MHD_YES;
	}
	first = name[0] | 0x20;
	if (first != 'c' && first != 't' && first != 'h') /* most are none of these, and this is the hot path */
		return MHD_YES;
	if (strcasecmp(name, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0)
		framing->lengths++;
	if (strcasecmp(name, MHD_HTTP_HEADER_HOST) == 0)
		framing->hosts++;
	if (strcasecmp(name, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
		framing->encodings++;
		framing->odd_encoding |= value == NULL || strcasecmp(value, "chunked") != 0;
	}
	return MHD_YES;
}

static enum http_fault find_fault(struct http_exchange *exchange, const char *version)
{
	const struct http_config *config = &exchange->daemon->config;
	const union MHD_ConnectionInfo *head =
		MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
	struct framing framing = { 0 };
	const char *length;

	MHD_get_connection_values_n(exchange->connection, MHD_HEADER_KIND, look_at_framing, &framing);
	exchange->head_bytes = head != NULL ? head->header_size : 0;
	exchange->head_fields = framing.fields;
	if (exchange->head_bytes > config->max_header_bytes)
		return HTTP_HEADER_TOO_LARGE;
	/* The library ends target and version by NUL where a space was. If there is more between the two, the client
	 * sent a NUL of its own. */
	if (exchange->target[0] != '/' || exchange->target_end + 1 != version || strchr(exchange->target, ' ') != NULL)
		return HTTP_MALFORMED;
	if (framing.lengths + framing.encodings > 1 || framing.odd_encoding || framing.odd_name)
		return HTTP_MALFORMED;
	if (framing.hosts > 1 || (framing.hosts == 0 && strcmp(version, MHD_HTTP_VERSION_1_0) != 0))
		return HTTP_MALFORMED;
	if (framing.lengths == 1) {
		length = http_header(exchange, MHD_HTTP_HEADER_CONTENT_LENGTH);
		/* The library has refused what is not a number. */
		if (length != NULL)
			exchange->announced = strtoull(length, NULL, 10);
		if (exchange->announced > config->max_body_bytes)
			return HTTP_BODY_TOO_LARGE;
	}
	return HTTP_FINE;
}

/* Keeps a piece of the body. @return false when the connection should end. */
static bool collect(struct http_exchange *exchange, const char *piece, size_t len)
{
	uint64_t max = exchange->daemon->config.max_body_bytes;

	exchange->body_seen += len;
	if (exchange->body_seen > max) {
		exchange->fault = HTTP_BODY_TOO_LARGE;
		return exchange->body_seen <= max * SWALLOW_FACTOR;
	}
	if (exchange->response != NULL) /* answered already: nobody will read it */
		return true;
	if (exchange->body_len + len > exchange->body_room) {
		size_t room = exchange->body_room * 2 > exchange->body_len + len ? exchange->body_room * 2
		                                                                 : exchange->body_len + len;
		char *larger = realloc(exchange->body_buffer, room);

		if (larger == NULL)
			return false;
		exchange->body_buffer = larger;
		exchange->body_room = room;
	}
	memcpy(exchange->body_buffer + exchange->body_len, piece, len);
	exchange->body_len += len;
	exchange->body = exchange->body_buffer;
	return true;
}

static enum MHD_Result queue(struct http_exchange *exchange)
{
	exchange->daemon->progress++;
	exchange->queued = true;
	return MHD_queue_response(exchange->connection, exchange->status, exchange->response);
}

static void unpark(struct http_exchange *exchange)
{
	if (exchange->parked)
		exchange->daemon->parked--;
	exchange->parked = false;
}

/*
 * Waits for an answer. To suspend a connection and to resume it costs three system calls, so who waits for a store that
 * answers within a millisecond is left in the library's hands instead: whenever it runs it asks again, which is cheap
 * as long as they are few and not for long.
 */
static void park(struct http_exchange *exchange)
{
	struct http_daemon *daemon = exchange->daemon;

	if (!exchange->parked) {
		daemon->waiting++;
		exchange->parked_ms = uv_now(daemon->poll.loop);
		exchange->parked = daemon->parked < PARKED_MAX;
		daemon->parked += exchange->parked;
	}
	if (exchange->parked && uv_now(daemon->poll.loop) - exchange->parked_ms <= PARKED_MS)
		return;
	unpark(exchange);
	exchange->suspended = true;
	MHD_suspend_connection(exchange->connection);
}

/* A body that is announced far too large, whose end is disputed, or that the client holds back until it hears from us,
 * is not waited for. Such an early answer ends the connection. */
static bool answers_early(const struct http_exchange *exchange)
{
	if (http_header(exchange, "Expect") != NULL)
		return true;
	if (exchange->fault == HTTP_BODY_TOO_LARGE)
		return exchange->announced > exchange->daemon->config.max_body_bytes * SWALLOW_FACTOR;
	return exchange->fault != HTTP_FINE;
}

static enum MHD_Result on_head(struct http_exchange *exchange, const char *method, const char *version)
{
	exchange->daemon->progress++;
	/* The time of a new connection runs since it was accepted; that of a kept one begins with its request. */
	if (exchange->peer->list_head != &exchange->daemon->fresh)
		http_peer_wait(exchange->daemon, exchange->peer, &exchange->daemon->fresh, exchange->started_us);
	exchange->method_text = method;
	exchange->method = method_of(method);
	exchange->fault = find_fault(exchange, version);
	exchange->began = true;
	exchange->daemon->handler->begin(exchange);
	if (exchange->response != NULL && answers_early(exchange))
		return queue(exchange);
	return MHD_YES;
}

enum MHD_Result http_on_request(void *cls, struct MHD_Connection *connection, const char *url, const char *method,
                                const char *version, const char *upload, size_t *upload_size, void **con_cls)
{
	struct http_exchange *exchange = *con_cls;

	if (exchange == NULL)
		return MHD_NO;
	if (!exchange->began)
		return on_head(exchange, method, version);
	if (*upload_size > 0) {
		bool go_on = collect(exchange, upload, *upload_size);

		*upload_size = 0;
		exchange->daemon->progress++;
		return go_on ? MHD_YES : MHD_NO;
	}
	if (!exchange->whole) {
		exchange->whole = true;
		http_peer_wait(exchange->daemon, exchange->peer, NULL, 0);
		if (exchange->response == NULL)
			exchange->daemon->handler->handle(exchange);
	}
	if (exchange->response != NULL)
		return queue(exchange);
	if (exchange->failed)
		return MHD_NO;
	park(exchange);
	return MHD_YES;
}

/* What the log line will say lies in memory of the library that goes with the connection. */
static void keep_words(struct http_exchange *exchange)
{
	snprintf(exchange->method_copy, sizeof exchange->method_copy, "%s", exchange->method_text);
	exchange->method_text = exchange->method_copy;
	if (exchange->target_copy == NULL) {
		exchange->target_copy = strdup(exchange->target);
		exchange->target = exchange->target_copy != NULL ? exchange->target_copy : "-";
	}
}

static void let_go(struct http_exchange *exchange)
{
	exchange->daemon->progress++;
	exchange->peer->exchange = NULL;
	if (exchange->parked && exchange->response == NULL) { /* the client went away */
		unpark(exchange);
		exchange->daemon->waiting--;
	}
	if (exchange->answer != NULL)
		answer_drop(exchange->answer);
	else if (exchange->response != NULL)
		MHD_destroy_response(exchange->response);
	if (exchange->busy) {
		keep_words(exchange);
		exchange->peer = NULL;
		exchange->connection = NULL;
		exchange->gone = true;
		exchange->daemon->waiting++;
	} else {
		http_release(exchange);
	}
}

void http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
                       enum MHD_RequestTerminationCode code)
{
	struct http_exchange *exchange = *con_cls;
	const union MHD_ConnectionInfo *status;

	if (exchange == NULL)
		return;
	*con_cls = NULL;
	if (!exchange->queued) {
		/* What the library answered by itself: a head that it could not read. */
		status = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_HTTP_STATUS);
		exchange->status = status != NULL ? status->http_status : 0;
		exchange->bytes = 0;
	}
	exchange->ended_us = clock_mono_us();
	if (code == MHD_REQUEST_TERMINATED_COMPLETED_OK)
		http_peer_wait(exchange->daemon, exchange->peer, &exchange->daemon->kept, exchange->ended_us);
	let_go(exchange);
}

/* libmicrohttpd 0.9.75 closes a connection without a word about its request when it fails twice over the same head,
 * as it does over more cookies than there is memory for. */
void http_exchange_abandon(struct http_exchange *exchange)
{
	exchange->status = 0;
	exchange->bytes = 0;
	exchange->ended_us = clock_mono_us();
	exchange->target = exchange->method_text = "-"; /* what they pointed at may be gone */
	let_go(exchange);
}

void http_release(struct http_exchange *exchange)
{
	if (exchange->gone)
		exchange->daemon->waiting--;
	exchange->daemon->handler->end(exchange, exchange->status, exchange->bytes);
	exchange_free(exchange);
}

/* The library can write the Date field itself, but formats it anew for each answer. */
static const char *date_now(struct http_daemon *daemon)
{
	time_t now = time(NULL);
	struct tm tm;

	if ((uint64_t)now != daemon->date_s) {
		gmtime_r(&now, &tm);
		strftime(daemon->date, sizeof daemon->date, "%a, %d %b %Y %H:%M:%S GMT", &tm);
		daemon->date_s = (uint64_t)now;
	}
	return daemon->date;
}

static struct MHD_Response *build(struct http_daemon *daemon, const struct http_response *from)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(from->body_len, (void *)(uintptr_t)from->body,
	                                        from->body_static ? MHD_RESPMEM_PERSISTENT : MHD_RESPMEM_MUST_COPY);
	bool ok = response != NULL;

	ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_DATE, date_now(daemon));
	if (from->content_type != NULL)
		ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, from->content_type);
	for (size_t i = 0; i < from->fields_n; i++)
		ok = ok && MHD_add_response_header(response, from->fields[i].name, from->fields[i].value);
	if (from->close || daemon->draining)
		ok = ok && MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
	if (!ok && response != NULL) {
		MHD_destroy_response(response);
		response = NULL;
	}
	return response;
}

/* Sets exchange->response, to one of a moment ago if there is the same. */
static void find_or_build(struct http_exchange *exchange, const struct http_response *from)
{
	struct http_daemon *daemon = exchange->daemon;
	struct answer_key key;
	bool keep;

	date_now(daemon);
	keep = from->repeats && !daemon->draining && answer_key_make(&key, from, daemon->date_s);
	if (keep)
		exchange->answer = answers_find(&daemon->answers, &key);
	exchange->response = exchange->answer != NULL ? exchange->answer->response : build(daemon, from);
	if (keep && exchange->answer == NULL && exchange->response != NULL)
		exchange->answer = answers_keep(&daemon->answers, &key, exchange->response);
}

/* Request head and response head share the connection's memory; when both are huge they don't fit. */
static bool fits(const struct http_exchange *exchange, const struct http_response *response)
{
	size_t used = exchange->head_bytes + exchange->head_fields * HTTP_FIELD_SIZE + HTTP_HEAD_SPARE;

	for (size_t i = 0; i < response->fields_n; i++)
		used += strlen(response->fields[i].value);
	return used <= exchange->daemon->config.max_header_bytes + HTTP_HEAD_ROOM;
}

void http_respond(struct http_exchange *exchange, const struct http_response *response)
{
	static const struct http_response too_large = { .status = 431, .body = "", .body_static = true };

	if (!fits(exchange, response))
		response = &too_large;
	exchange->status = response->status;
	exchange->bytes = exchange->method == HTTP_HEAD ? 0 : response->body_len;
	find_or_build(exchange, response);
	exchange->failed = exchange->response == NULL; /* out of memory: the client may try again */
	if (!exchange->parked && !exchange->suspended)
		return;
	exchange->daemon->waiting--;
	if (exchange->suspended)
		MHD_resume_connection(exchange->connection);
	unpark(exchange);
	exchange->suspended = false;
	http_run_soon(exchange->daemon);
}
