/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links_import.c: reads links from a file and stores them, some at a time, in constant memory.
 *
 * What is committed stays whatever comes after, and what is there already is left as it is: an import that was
 * stopped is run again from the start.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/interrupts.h"
#include "cli/links.h"
#include "cli/progress.h"
#include "links/transfer.h"

/* A transaction's worth. */
#define BATCH_LINKS 1000
#define BATCH_BYTES (1 << 20)

#define VALUE_SHOWN 80 /* characters of a refused value */

struct import {
	const char *name; /* of the file, for messages */
	int fd;
	uint64_t size; /* of the file, 0: not known */
	struct interrupts interrupts;
	struct source source;
	struct record_reader *reader;
	struct transfer *transfer;
	struct progress progress;
	uint64_t imported, there, refused;

	/* What was read and not stored yet. */
	size_t n, used;
	struct transfer_item items[BATCH_LINKS];
	uint64_t lines[BATCH_LINKS];
	char codes[BATCH_LINKS][LINK_CODE_MAX + 1]; /* as the file has them */
	char bytes[BATCH_BYTES];                    /* URLs */
};

static ssize_t read_input(void *context, void *bytes, size_t size)
{
	struct import *import = context;
	ssize_t got;
	int err;

	do {
		err = interrupts_wait_readable(&import->interrupts, import->fd);
		if (err != 0)
			return err;
		got = read(import->fd, bytes, size);
	} while (got < 0 && (errno == EINTR || errno == EAGAIN));
	return got < 0 ? -errno : got;
}

static void report(struct import *import, uint64_t line, const char *why, const char *value, size_t value_len)
{
	progress_clear(&import->progress);
	print_escaped(import->name, strlen(import->name), strlen(import->name));
	fprintf(stderr, ":%llu: ", (unsigned long long)line);
	print_escaped(why, strlen(why), strlen(why));
	if (value != NULL) {
		fputs(": ", stderr);
		print_escaped(value, value_len, VALUE_SHOWN);
	}
	fputc('\n', stderr);
}

static void count_outcome(struct import *import, size_t i)
{
	const struct transfer_item *item = &import->items[i];
	char why[80];

	switch (item->outcome) {
	case TRANSFER_CREATED:
		import->imported++;
		break;
	case TRANSFER_THERE:
		import->there++;
		if (import->codes[i][0] == '\0' || strcmp(import->codes[i], item->record.code) == 0)
			break;
		snprintf(why, sizeof why, "already there as %s; not added under the code", item->record.code);
		report(import, import->lines[i], why, import->codes[i], strlen(import->codes[i]));
		break;
	case TRANSFER_TAKEN:
		import->refused++;
		report(import, import->lines[i], "code belongs to another URL", import->codes[i],
		       strlen(import->codes[i]));
		break;
	}
}

/* @return 0, or -1 when the store failed. */
static int flush(struct import *import)
{
	if (import->n == 0)
		return 0;
	if (transfer_put(import->transfer, import->items, import->n) != 0) {
		progress_clear(&import->progress);
		fprintf(stderr, "sluice links import: %s; stopped before %s:%llu, what was imported before is kept\n",
		        import->transfer->why, import->name, (unsigned long long)import->lines[0]);
		return -1;
	}
	for (size_t i = 0; i < import->n; i++)
		count_outcome(import, i);
	import->n = import->used = 0;
	progress_update(&import->progress, import->source.total - (import->source.n - import->source.at), import->size,
	                import->imported + import->there);
	return 0;
}

static int add(struct import *import, const struct link_record *record)
{
	size_t i;

	if (import->n == BATCH_LINKS || import->used + record->url_len > sizeof import->bytes) {
		if (flush(import) != 0)
			return -1;
	}
	i = import->n++;
	import->items[i].record = *record;
	import->items[i].record.url = import->bytes + import->used;
	memcpy(import->bytes + import->used, record->url, record->url_len);
	import->used += record->url_len;
	import->lines[i] = record_reader_line(import->reader);
	strcpy(import->codes[i], record->code);
	return 0;
}

/* Reads and stores all. @return 0, or -1 when that could not go on (and was said). */
static int run(struct import *import)
{
	struct record_problem problem;
	struct link_record record;

	while (interrupts_check(&import->interrupts) == 0) {
		enum record_result result = record_reader_next(import->reader, &record, &problem);

		if (result == RECORD_END)
			break;
		if (result == RECORD_GOOD) {
			if (add(import, &record) != 0)
				return -1;
			continue;
		}
		report(import, record_reader_line(import->reader), problem.why, problem.value, problem.value_len);
		import->refused += result == RECORD_REFUSED;
		if (result == RECORD_FATAL)
			return -1;
	}
	if (flush(import) != 0)
		return -1;
	if (import->source.error == 0 || import->source.error == -EINTR)
		return 0;
	progress_clear(&import->progress);
	fprintf(stderr, "sluice links import: %s: can't be read: %s\n", import->name, strerror(-import->source.error));
	return -1;
}

static void print_summary(struct import *import)
{
	char imported[PROGRESS_LINKS_MAX], there[PROGRESS_NUMBER_MAX], refused[PROGRESS_NUMBER_MAX];

	progress_clear(&import->progress);
	printf("%simported %s (%s already there, %s refused) in %.1f s\n",
	       import->interrupts.signal != 0 ? "interrupted; run it again to go on: " : "",
	       progress_links(import->imported, imported), progress_number(import->there, there),
	       progress_number(import->refused, refused), progress_seconds(&import->progress));
}

static int open_input(struct import *import, const char *file)
{
	struct stat st;

	import->name = strcmp(file, "-") == 0 ? "stdin" : file;
	import->fd = strcmp(file, "-") == 0 ? STDIN_FILENO : open(file, O_RDONLY | O_CLOEXEC);
	if (import->fd < 0 || fstat(import->fd, &st) != 0) {
		fprintf(stderr, "sluice links import: %s: can't be read: %s\n", file, strerror(errno));
		return -1;
	}
	import->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	return 0;
}

static int open_all(struct import *import, const struct links_job *job)
{
	char why[512];
	int err;

	/* The file first: a wrong name should not leave an empty database behind. */
	if (open_input(import, job->file) != 0)
		return -1;
	err = interrupts_open(&import->interrupts);
	if (err != 0) {
		fprintf(stderr, "sluice links import: %s\n", strerror(-err));
		return -1;
	}
	source_init(&import->source, read_input, import);
	import->reader = record_reader_open(job->format, &import->source, clock_wall_us());
	if (import->reader == NULL) {
		fputs("sluice links import: out of memory\n", stderr);
		return -1;
	}
	import->transfer = transfer_open(job->store, true, why, sizeof why);
	if (import->transfer == NULL) {
		fprintf(stderr, "sluice links import: %s\n", why);
		return -1;
	}
	return 0;
}

static void close_all(struct import *import)
{
	if (import->transfer != NULL)
		transfer_close(import->transfer);
	record_reader_close(import->reader);
	interrupts_close(&import->interrupts);
	if (import->fd > STDIN_FILENO)
		close(import->fd);
}

int links_import(const struct links_job *job)
{
	struct import *import = calloc(1, sizeof *import);
	int status = 1;

	if (import == NULL) {
		fputs("sluice links import: out of memory\n", stderr);
		return 1;
	}
	import->fd = import->interrupts.fd = -1;
	if (open_all(import, job) == 0) {
		progress_start(&import->progress, "importing");
		status = run(import) == 0 && import->refused == 0 ? 0 : 1;
		print_summary(import);
		if (import->interrupts.signal != 0)
			status = 128 + import->interrupts.signal;
	}
	close_all(import);
	free(import);
	return status;
}
