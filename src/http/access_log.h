/* SPDX-License-Identifier: Apache-2.0 */
/*
 * access_log.h: one line a request, written off the hot path.
 *
 * Each loop thread fills a buffer of its own; one thread of the log writes full or old buffers out. When
 * the disk can't keep up, or is full, lines are dropped and counted: a slow disk never slows a request.
 *
 * Leaves out: rotation. Rename the file and send SIGHUP: it is opened anew.
 */
#ifndef SLUICE_HTTP_ACCESS_LOG_H
#define SLUICE_HTTP_ACCESS_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct access_log;
struct access_writer; /* a loop thread's end of it */

struct access_line {
	uint64_t wall_us;
	const char *client; /* an address */
	const char *method, *target;
	unsigned status; /* 0: the connection broke before an answer */
	size_t bytes;
	uint64_t duration_us;
	const char *decision; /* static: "allowed", "denied", "-", … */
};

/** @param path "-" for standard output. @return NULL with errno set. */
struct access_log *access_log_open(const char *path, bool json);

/** Opens the file anew, after a rotation. Any thread. @return 0 or a negative errno; the old file stays in use then. */
int access_log_reopen(struct access_log *log);

/** A writer for one thread; it lives until access_log_close(). @return NULL with errno set. */
struct access_writer *access_log_writer(struct access_log *log);

/** Adds a line. The writer's thread only. Never blocks. */
void access_log_line(struct access_writer *writer, const struct access_line *line);

/** Hands over what has gathered; call it some times a second. The writer's thread only. */
void access_log_flush(struct access_writer *writer);

/** @return lines dropped so far, over all writers. Any thread. */
uint64_t access_log_dropped(const struct access_log *log);

/** Writes what is left and frees all. After the writers' threads have ended. */
void access_log_close(struct access_log *log);

#endif
