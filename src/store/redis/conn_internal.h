/* SPDX-License-Identifier: Apache-2.0 */
/*
 * conn_internal.h: what the files of a connection know of each other.
 *
 *   conn.c       states, commands, deadlines
 *   conn_link.c  one attempt: name, addresses, socket
 *   conn_io.c    bytes in and out, through TLS or not
 *   handshake.c  what is said before the owner's greeting
 */
#ifndef SLUICE_STORE_REDIS_CONN_INTERNAL_H
#define SLUICE_STORE_REDIS_CONN_INTERNAL_H

#include "store/redis/conn.h"
#include "store/redis/reply.h"
#include "store/redis/tls.h"

#define CONN_WAITING_MAX 65536u       /* commands */
#define CONN_OUTPUT_MAX (16u << 20)   /* bytes that the kernel did not take yet */
#define CONN_OUTPUT_KEEP (256u << 10) /* of an empty buffer */
#define CONN_WHY_MAX 256

enum conn_state {
	CONN_DOWN,      /* until the timer says it is time for an attempt */
	CONN_LINKING,   /* name, TCP, TLS */
	CONN_HANDSHAKE, /* AUTH and the like */
	CONN_GREETING,  /* the owner's */
	CONN_UP,
	CONN_FREED, /* handles are closing */
};

/* The commands of the handshake, each with the reply that it waits for. */
enum { HELLO_AUTH, HELLO_SELECT, HELLO_NAME, HELLO_PING, HELLO_N };

/* One attempt. Has memory of its own because its handles close later than the connection moves on. */
struct redis_link {
	struct redis_conn *conn; /* NULL: given up, to be freed when its handles have closed */
	uv_getaddrinfo_t lookup;
	struct addrinfo *addresses, *next; /* owned; the next one to try */
	struct redis_replies *replies;
	struct redis_tls_session *tls; /* NULL: plain */
	uv_poll_t poll;
	int fd;         /* -1: none */
	bool looking;   /* the lookup has not ended */
	bool polling;   /* the poll handle exists */
	bool connected; /* TCP is */
	bool blocked;   /* the kernel takes no more for now */
	int error;      /* of the last address */
};

struct redis_conn {
	struct redis_conn_config config;
	char *host; /* owned */
	char *name; /* owned */
	enum conn_state state;
	struct redis_link *link; /* from CONN_LINKING to CONN_UP */

	struct redis_buffer out;
	size_t sent;  /* bytes of it that the kernel took */
	size_t begun; /* where the command being written begins */

	struct redis_command *first, **last; /* waiting for their replies, in order */
	size_t waiting;

	uv_timer_t timer; /* the next attempt, the end of this one, or the earliest deadline */
	uint64_t due_us;  /* when it fires; UINT64_MAX: it does not */
	uv_prepare_t prepare;
	uv_check_t check;
	unsigned handles; /* that are not closed yet */

	uint64_t attempt_until_us; /* while linking to greeting */
	uint64_t up_since_us;
	unsigned failed; /* attempts in a row; see backoff.h */

	struct redis_command hello[HELLO_N];
};

/** Adds to a figure that has one writer and any readers. */
static inline void conn_count(uint64_t *figure, uint64_t n)
{
	__atomic_store_n(figure, __atomic_load_n(figure, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}

/** Begins an attempt: CONN_DOWN to CONN_LINKING. Failures come by conn_fail(). */
void conn_link_open(struct redis_conn *conn);

/** Lets go of the link; its memory goes later. */
void conn_link_close(struct redis_conn *conn);

/** Waits for bytes of the server, and when `blocked` for room in the kernel. */
void conn_link_watch(struct redis_link *link, bool blocked);

/** TCP stands: TLS begins, or is not wanted. */
void conn_io_begin(struct redis_link *link);

/** Writes what is waiting, as far as the kernel takes it. Any state. */
void conn_io_flush(struct redis_conn *conn);

/** Reads what has come and hands the replies out. */
void conn_io_read(struct redis_link *link);

/** Says the last word of TLS, if the kernel takes it. */
void conn_io_goodbye(struct redis_link *link);

/** TCP (and TLS) stand: CONN_LINKING to CONN_HANDSHAKE. */
void conn_linked(struct redis_conn *conn);

/** Sends the handshake. */
void conn_handshake(struct redis_conn *conn);

/** The handshake went well: CONN_HANDSHAKE to CONN_GREETING. */
void conn_introduced(struct redis_conn *conn);

/** Ends the first waiting command with this reply. */
void conn_reply(struct redis_conn *conn, const struct redisReply *reply);

/** Gives the link up, ends what waits on it, plans the next attempt, and says so. Any state but down and freed. */
void conn_fail(struct redis_conn *conn, int error, const char *format, ...) __attribute__((format(printf, 3, 4)));

#endif
