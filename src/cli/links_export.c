/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links_export.c: writes all links, as they are at one moment, to a file, one at a time.
 *
 * A file appears under its name only when it is whole: until then the links are in a file beside it. What goes to
 * standard output, or to something that is no plain file, is written as it comes.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/interrupts.h"
#include "cli/links.h"
#include "cli/progress.h"
#include "links/record_writer.h"
#include "links/transfer.h"

#define CHECK_EVERY 256 /* links, for a signal and for the progress bar */

struct export
{
	const struct links_job *job;
	FILE *file;
	char *beside; /* the name of the unfinished file, NULL: written in place */
	struct interrupts interrupts;
	struct transfer *transfer;
	struct progress progress;
	uint64_t exported, refused;
};

static int complain(struct export *export, const char *what, const char *why)
{
	progress_clear(&export->progress);
	fputs("sluice links export: ", stderr);
	print_escaped(what, strlen(what), strlen(what));
	fputs(": ", stderr);
	print_escaped(why, strlen(why), strlen(why));
	fputc('\n', stderr);
	return -1;
}

static int cant_write(struct export *export, int err)
{
	char why[160];

	snprintf(why, sizeof why, "can't be written: %s%s", strerror(err),
	         err == ENOENT ? "; create its folder first" : "");
	return complain(export, export->job->file, why);
}

/* Makes the unfinished file, with the rights that the finished one should have. */
static int open_beside(struct export *export, const struct stat *present)
{
	mode_t mask = umask(0);
	int fd, err;

	umask(mask);
	if (asprintf(&export->beside, "%s.XXXXXX", export->job->file) < 0) {
		export->beside = NULL;
		return complain(export, export->job->file, strerror(ENOMEM));
	}
	fd = mkostemp(export->beside, O_CLOEXEC);
	if (fd < 0) {
		free(export->beside);
		export->beside = NULL;
		return cant_write(export, errno);
	}
	if (fchmod(fd, present != NULL ? present->st_mode & 0777 : 0666 & ~mask) != 0 ||
	    (export->file = fdopen(fd, "w")) == NULL) {
		close(fd);
		return complain(export, export->beside, strerror(errno));
	}
	err = interrupts_open(&export->interrupts);
	return err == 0 ? 0 : complain(export, export->beside, strerror(-err));
}

static int open_output(struct export *export)
{
	const char *name = export->job->file;
	struct stat st;
	bool there;

	if (strcmp(name, "-") == 0) {
		export->file = stdout;
		return 0;
	}
	there = stat(name, &st) == 0;
	if (!there || S_ISREG(st.st_mode))
		return open_beside(export, there ? &st : NULL);
	export->file = fopen(name, "we");
	return export->file != NULL ? 0 : cant_write(export, errno);
}

static int write_one(struct export *export, const struct link_record *record)
{
	if (record_write(export->file, export->job->format, record) == 0) {
		export->exported++;
		return 0;
	}
	if (errno != EINVAL)
		return cant_write(export, errno);
	export->refused++;
	complain(export, "left out, as it is no link that this program writes", record->code);
	return 0;
}

static int write_all(struct export *export)
{
	uint64_t estimate = transfer_estimate(export->transfer);
	struct link_record record;
	int more = 0;

	if (transfer_start(export->transfer) != 0)
		return complain(export, "can't read", export->transfer->why);
	if (record_write_header(export->file, export->job->format) != 0)
		return cant_write(export, errno);
	for (uint64_t n = 0; (more = transfer_next(export->transfer, &record)) == 1; n++) {
		if (write_one(export, &record) != 0)
			return -1;
		if (n % CHECK_EVERY != 0)
			continue;
		progress_update(&export->progress, n, estimate, export->exported);
		if (export->interrupts.fd >= 0 && interrupts_check(&export->interrupts) != 0)
			return -1;
	}
	return more == 0 ? 0 : complain(export, "can't read", export->transfer->why);
}

/* Makes sure that all is written, and only then gives it its name. */
static int finish(struct export *export)
{
	bool in_place = export->beside == NULL;

	if (fflush(export->file) != 0 || (!in_place && fsync(fileno(export->file)) != 0))
		return cant_write(export, errno);
	if (!in_place && rename(export->beside, export->job->file) != 0)
		return cant_write(export, errno);
	free(export->beside);
	export->beside = NULL;
	return 0;
}

static void close_all(struct export *export)
{
	if (export->file != NULL && export->file != stdout)
		fclose(export->file);
	if (export->beside != NULL) {
		unlink(export->beside);
		free(export->beside);
	}
	if (export->transfer != NULL)
		transfer_close(export->transfer);
	interrupts_close(&export->interrupts);
}

static void print_summary(struct export *export)
{
	char exported[PROGRESS_LINKS_MAX], refused[PROGRESS_NUMBER_MAX];
	FILE *to = export->file == stdout ? stderr : stdout;

	progress_clear(&export->progress);
	fprintf(to, "exported %s", progress_links(export->exported, exported));
	if (export->refused > 0)
		fprintf(to, " (%s left out)", progress_number(export->refused, refused));
	fprintf(to, " in %.1f s\n", progress_seconds(&export->progress));
}

int links_export(const struct links_job *job)
{
	struct export export = { .job = job, .interrupts = { .fd = -1 } };
	char why[512];
	int status = 1;

	progress_start(&export.progress, "exporting");
	export.transfer = transfer_open(job->store, false, why, sizeof why);
	if (export.transfer == NULL) {
		fprintf(stderr, "sluice links export: %s\n", why);
	} else if (open_output(&export) == 0 && write_all(&export) == 0 && finish(&export) == 0) {
		print_summary(&export);
		status = export.refused > 0;
	} else if (export.interrupts.signal != 0) {
		progress_clear(&export.progress);
		fprintf(stderr, "interrupted; %s is as it was before\n", job->file);
		status = 128 + export.interrupts.signal;
	}
	close_all(&export);
	return status;
}
