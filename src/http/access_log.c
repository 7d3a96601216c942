/* SPDX-License-Identifier: Apache-2.0 */
#include "http/access_log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"

#define BUFFER_SIZE (256 * 1024)
#define LINE_MAX_BYTES 2048
#define TARGET_SHOWN 256 /* bytes of a target that are logged; escaped, six times as many */
#define METHOD_SHOWN 16
#define SAY_AGAIN_US UINT64_C(60000000) /* a disk that is full now and then is not worth more lines */

struct buffer {
	size_t len;
	char bytes[BUFFER_SIZE];
};

struct access_writer {
	struct access_log *log;
	struct access_writer *next;
	struct buffer *filling; /* the loop thread's */
	struct buffer *handed;  /* being written, or NULL; under log->lock */
	struct buffer *spare;   /* under log->lock */
	uint64_t second;        /* of the formatted time below */
	char time[24];
};

struct access_log {
	pthread_mutex_t lock;
	pthread_cond_t work;
	pthread_t thread;
	struct access_writer *writers;
	char *path; /* NULL: standard output */
	int fd;
	bool json, closing;
	_Atomic uint64_t dropped;
	/* Of the thread that writes. */
	bool torn;        /* the last line has no end yet */
	bool told;        /* the operator knows that lines are dropped */
	uint64_t told_us; /* since when; 0: never */
};

static int open_file(const char *path)
{
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);

	return fd >= 0 ? fd : -errno;
}

/* @return 0, or an errno; then `*done` bytes have been written. */
static int write_all(int fd, const char *bytes, size_t len, size_t *done)
{
	for (*done = 0; *done < len;) {
		ssize_t written = write(fd, bytes + *done, len - *done);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			return written < 0 ? errno : EIO;
		*done += (size_t)written;
	}
	return 0;
}

static void tell_how_it_goes(struct access_log *log, int err)
{
	const char *path = log->path != NULL ? log->path : "-";
	uint64_t now_us = clock_mono_us();

	if (err == 0 && log->told) {
		log_info("log.access_file: %s: is written again", path);
		log->told = false;
	} else if (err != 0 && !log->told && (log->told_us == 0 || now_us - log->told_us > SAY_AGAIN_US)) {
		log_error("log.access_file: %s: %s; lines are dropped and counted", path, strerror(err));
		log->told = true;
		log->told_us = now_us;
	}
}

/* Whole lines. On a full disk, or into a closed pipe, what can't be written is dropped: the service goes on without. */
static void write_lines(struct access_log *log, int fd, const char *bytes, size_t len)
{
	size_t done = 0;
	int err = log->torn ? write_all(fd, "\n", 1, &done) : 0;

	if (err == 0) {
		log->torn = false;
		err = write_all(fd, bytes, len, &done);
		log->torn = done > 0 && bytes[done - 1] != '\n';
	}
	if (err != 0) {
		uint64_t lines = 0;

		for (size_t i = done; i < len; i++)
			lines += bytes[i] == '\n';
		atomic_fetch_add_explicit(&log->dropped, lines, memory_order_relaxed);
	}
	tell_how_it_goes(log, err);
}

/* Takes any buffer that waits. Lock held. */
static struct access_writer *next_handed(struct access_log *log)
{
	struct access_writer *writer = log->writers;

	while (writer != NULL && writer->handed == NULL)
		writer = writer->next;
	return writer;
}

static void *write_loop(void *arg)
{
	struct access_log *log = arg;
	struct access_writer *writer;

	pthread_mutex_lock(&log->lock);
	for (;;) {
		writer = next_handed(log);
		if (writer != NULL) {
			int fd = log->fd;

			pthread_mutex_unlock(&log->lock);
			write_lines(log, fd, writer->handed->bytes, writer->handed->len);
			pthread_mutex_lock(&log->lock);
			writer->handed->len = 0;
			writer->spare = writer->handed;
			writer->handed = NULL;
		} else if (log->closing) {
			break;
		} else {
			pthread_cond_wait(&log->work, &log->lock);
		}
	}
	pthread_mutex_unlock(&log->lock);
	return NULL;
}

struct access_log *access_log_open(const char *path, bool json)
{
	struct access_log *log = calloc(1, sizeof *log);
	int err;

	if (log == NULL)
		return NULL;
	log->json = json;
	log->fd = STDOUT_FILENO;
	if (strcmp(path, "-") != 0) {
		log->path = strdup(path);
		log->fd = log->path != NULL ? open_file(path) : -ENOMEM;
	}
	err = log->fd < 0 ? -log->fd : 0;
	if (err == 0) {
		pthread_mutex_init(&log->lock, NULL);
		pthread_cond_init(&log->work, NULL);
		err = pthread_create(&log->thread, NULL, write_loop, log);
	}
	if (err != 0) {
		free(log->path);
		free(log);
		errno = err;
		return NULL;
	}
	return log;
}

int access_log_reopen(struct access_log *log)
{
	int fd;

	if (log->path == NULL)
		return 0;
	fd = open_file(log->path);
	if (fd < 0)
		return fd;
	/* dup3 puts the new file under the old number in one step: the writing thread needs no lock. */
	if (dup3(fd, log->fd, O_CLOEXEC) < 0) {
		int err = errno;

		close(fd);
		return -err;
	}
	close(fd);
	return 0;
}

struct access_writer *access_log_writer(struct access_log *log)
{
	struct access_writer *writer = calloc(1, sizeof *writer);

	if (writer == NULL)
		return NULL;
	writer->log = log;
	writer->filling = calloc(1, sizeof *writer->filling);
	writer->spare = calloc(1, sizeof *writer->spare);
	if (writer->filling == NULL || writer->spare == NULL) {
		free(writer->filling);
		free(writer->spare);
		free(writer);
		errno = ENOMEM;
		return NULL;
	}
	pthread_mutex_lock(&log->lock);
	writer->next = log->writers;
	log->writers = writer;
	pthread_mutex_unlock(&log->lock);
	return writer;
}

void access_log_flush(struct access_writer *writer)
{
	struct access_log *log = writer->log;

	if (writer->filling->len == 0)
		return;
	pthread_mutex_lock(&log->lock);
	if (writer->spare != NULL) {
		writer->handed = writer->filling;
		writer->filling = writer->spare;
		writer->spare = NULL;
		pthread_cond_signal(&log->work);
	}
	pthread_mutex_unlock(&log->lock);
}

static char *put_text(char *to, const char *text)
{
	size_t len = strlen(text);

	memcpy(to, text, len);
	return to + len;
}

static char *put_number(char *to, uint64_t number)
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + number % 10);
	while ((number /= 10) > 0);
	while (n > 0)
		*to++ = digits[--n];
	return to;
}

/* Nothing that a client sends can end the line or the quotes: the rest is shown as \u00XX. */
static char *put_escaped(char *to, const char *text, size_t most)
{
	static const char hex[] = "0123456789abcdef";

	for (size_t i = 0; i < most && text[i] != '\0'; i++) {
		unsigned char c = (unsigned char)text[i];

		if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\') {
			*to++ = (char)c;
			continue;
		}
		to = put_text(to, "\\u00");
		*to++ = hex[c >> 4];
		*to++ = hex[c & 15];
	}
	return to;
}

static char *put_time(char *to, struct access_writer *writer, uint64_t wall_us)
{
	uint64_t us = wall_us % 1000000, second = wall_us / 1000000;
	time_t seconds = (time_t)second;
	struct tm tm;

	if (second != writer->second) {
		gmtime_r(&seconds, &tm);
		strftime(writer->time, sizeof writer->time, "%Y-%m-%dT%H:%M:%S", &tm);
		writer->second = second;
	}
	to = put_text(to, writer->time);
	*to++ = '.';
	for (uint64_t unit = 100000; unit > 0; unit /= 10)
		*to++ = (char)('0' + us / unit % 10);
	*to++ = 'Z';
	return to;
}

static char *put_json(char *to, struct access_writer *writer, const struct access_line *line)
{
	to = put_text(to, "{\"time\":\"");
	to = put_time(to, writer, line->wall_us);
	to = put_text(to, "\",\"client\":\"");
	to = put_text(to, line->client);
	to = put_text(to, "\",\"method\":\"");
	to = put_escaped(to, line->method, METHOD_SHOWN);
	to = put_text(to, "\",\"path\":\"");
	to = put_escaped(to, line->target, TARGET_SHOWN);
	to = put_text(to, "\",\"status\":");
	to = put_number(to, line->status);
	to = put_text(to, ",\"bytes\":");
	to = put_number(to, line->bytes);
	to = put_text(to, ",\"duration_us\":");
	to = put_number(to, line->duration_us);
	to = put_text(to, ",\"decision\":\"");
	to = put_text(to, line->decision);
	return put_text(to, "\"}\n");
}

static char *put_plain(char *to, struct access_writer *writer, const struct access_line *line)
{
	to = put_time(to, writer, line->wall_us);
	*to++ = ' ';
	to = put_text(to, line->client);
	to = put_text(to, " \"");
	to = put_escaped(to, line->method, METHOD_SHOWN);
	*to++ = ' ';
	to = put_escaped(to, line->target, TARGET_SHOWN);
	to = put_text(to, "\" ");
	to = put_number(to, line->status);
	*to++ = ' ';
	to = put_number(to, line->bytes);
	*to++ = ' ';
	to = put_number(to, line->duration_us);
	*to++ = ' ';
	to = put_text(to, line->decision);
	*to++ = '\n';
	return to;
}

void access_log_line(struct access_writer *writer, const struct access_line *line)
{
	char *start;

	if (writer->filling->len + LINE_MAX_BYTES > BUFFER_SIZE)
		access_log_flush(writer);
	if (writer->filling->len + LINE_MAX_BYTES > BUFFER_SIZE) {
		atomic_fetch_add_explicit(&writer->log->dropped, 1, memory_order_relaxed);
		return;
	}
	start = writer->filling->bytes + writer->filling->len;
	writer->filling->len += (size_t)((writer->log->json ? put_json : put_plain)(start, writer, line) - start);
}

uint64_t access_log_dropped(const struct access_log *log)
{
	return atomic_load_explicit(&log->dropped, memory_order_relaxed);
}

void access_log_close(struct access_log *log)
{
	struct access_writer *writer;

	pthread_mutex_lock(&log->lock);
	log->closing = true;
	pthread_cond_signal(&log->work);
	pthread_mutex_unlock(&log->lock);
	pthread_join(log->thread, NULL);
	while ((writer = log->writers) != NULL) {
		log->writers = writer->next;
		if (writer->filling->len > 0)
			write_lines(log, log->fd, writer->filling->bytes, writer->filling->len);
		free(writer->filling);
		free(writer->handed);
		free(writer->spare);
		free(writer);
	}
	if (log->path != NULL)
		close(log->fd);
	pthread_mutex_destroy(&log->lock);
	pthread_cond_destroy(&log->work);
	free(log->path);
	free(log);
}
