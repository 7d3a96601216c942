/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links.h: the contract between who shortens or follows links and where they are kept.
 *
 * Lifetime rules (the same as those of store.h)
 *  1. The caller owns the op and the bytes that it points to until the op has ended.
 *  2. links_submit() ends the op at once (LINKS_DONE: the answer is in the op, no callback comes), or
 *     keeps it (LINKS_PENDING: `done` is called exactly once on the loop thread of op->mailbox, never
 *     before links_submit() returned), or refuses it (a negative errno: nothing happened, no callback;
 *     -EAGAIN: the queue is full, come back later).
 *  3. A pending op can't be withdrawn.
 *  4. links_attach() ties a loop thread, known by its mailbox and its number, to the store before its first
 *     op, links_detach() unties it after its last one has ended.
 *  5. links_close() only after every op has ended and every thread has been detached, its loop run to the end.
 *     It writes what is still in memory (clicks).
 *
 * A create is answered only when its link is durable: it survives `kill -9` and a power cut.
 *
 * Leaves out: which URLs are acceptable (url.h), HTTP.
 */
#ifndef SLUICE_LINKS_LINKS_H
#define SLUICE_LINKS_LINKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/mailbox.h"

#define LINK_CODE_LENGTH 7 /* of codes that we draw */
#define LINK_CODE_MAX 32   /* of codes that an import brings */
#define LINK_URL_MAX 8192  /* bytes */

enum { LINKS_DONE = 0, LINKS_PENDING = 1 };

enum links_verb {
	LINKS_CREATE,  /* url in, code out: the code of this URL, new or the one it has */
	LINKS_RESOLVE, /* code in, url out */
};

enum links_outcome {
	LINKS_FOUND,   /* resolve: url is set. create: the URL had a code already */
	LINKS_CREATED, /* create: a new link, durable */
	LINKS_MISSING, /* resolve: no such code */
	LINKS_FAILED,  /* the store can't say; error is a negative errno, why is in the log */
};

struct links_op {
	enum links_verb verb;
	struct mailbox *mailbox; /* of the submitting loop thread */
	uint16_t thread;         /* its number */
	void (*done)(struct links_op *op);

	char code[LINK_CODE_MAX + 1]; /* in or out, NUL-terminated */
	/* create: in, owned by the caller. resolve: out, in a buffer of LINK_URL_MAX + 1 bytes that the
	 * caller brings. Not NUL-terminated on the way in; NUL-terminated on the way out. */
	char *url;
	size_t url_len;

	enum links_outcome outcome;
	int error;

	struct letter letter;        /* for the store's use while pending */
	void *store_private;         /* likewise */
	unsigned char store_key[32]; /* likewise: the SHA-256 of the URL of a create */
	uint64_t store_deadline_us;  /* likewise: clock_mono_us() after which nobody waits any more */
	uint8_t store_tries;         /* likewise: how often it has been sent before */
};

struct links_stats {
	uint64_t cache_hits, cache_misses; /* of resolves */
	uint64_t cache_entries, cache_bytes;
	uint64_t reads_queued, writes_queued; /* waiting now */
	uint64_t clicks_pending;              /* counted, not yet written */
	uint64_t clicks_lost;                 /* dropped because the table of pending clicks was full */
	uint64_t commits, creates;            /* transactions, and the links in them */
	uint64_t errors;                      /* operations that ended in LINKS_FAILED */
	uint64_t refused;                     /* operations refused because a queue was full */
};

struct links;

struct links_class {
	const char *name;
	int (*attach)(struct links *links, unsigned thread, struct uv_loop_s *loop); /* NULL: needs no loop */
	void (*detach)(struct links *links, unsigned thread);                        /* NULL likewise */
	int (*submit)(struct links *links, struct links_op *op);
	/* Counts one visit of `code`, to be written soon. Never blocks on I/O, never fails. */
	void (*click)(struct links *links, const char *code, uint64_t wall_us);
	void (*stats)(struct links *links, struct links_stats *out);
	bool (*ready)(struct links *links);
	void (*close)(struct links *links);
};

struct links {
	const struct links_class *class;
};

/** Ties loop thread `thread` to the store: from now on it may submit. The handles that it makes on the loop are its
 * own.
 *  @return 0 or a negative errno. Loop thread, or before that thread runs. */
static inline int links_attach(struct links *links, unsigned thread, struct uv_loop_s *loop)
{
	return links->class->attach != NULL ? links->class->attach(links, thread, loop) : 0;
}

/** Closes the store's handles on the loop; the loop must run until they are gone. Loop thread. */
static inline void links_detach(struct links *links, unsigned thread)
{
	if (links->class->detach != NULL)
		links->class->detach(links, thread);
}

static inline int links_submit(struct links *links, struct links_op *op)
{
	return links->class->submit(links, op);
}

static inline void links_click(struct links *links, const char *code, uint64_t wall_us)
{
	links->class->click(links, code, wall_us);
}

static inline void links_stats(struct links *links, struct links_stats *out)
{
	links->class->stats(links, out);
}

static inline bool links_ready(struct links *links)
{
	return links->class->ready(links);
}

static inline void links_close(struct links *links)
{
	links->class->close(links);
}

#endif
