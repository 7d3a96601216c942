/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_reader.h: links from a file of one of three formats, checked as the server checks them, one at a time.
 *
 *   csv    RFC 4180 with a header row. Columns code, url, created_at, clicks, last_click_at in any order; only url is
 * needed jsonl  a JSON object a line, with the same names urls   a URL a line
 *
 * Times are RFC 3339. What is left out, empty or null is not known: a code will be drawn, the link was created now and
 * never clicked. A bad record is reported and skipped, the next one is read.
 */
#ifndef SLUICE_LINKS_RECORD_READER_H
#define SLUICE_LINKS_RECORD_READER_H

#include <stddef.h>
#include <stdint.h>

#include "links/record.h"
#include "links/source.h"

enum record_format { RECORD_CSV, RECORD_JSONL, RECORD_URLS };

/** @return the format of that name ("csv", "jsonl", "urls"), or -1. */
int record_format_parse(const char *name);

/** @return the format that the end of a file's name says (.csv, .jsonl, .ndjson, .json, .txt), or -1. */
int record_format_of_file(const char *path);

enum record_result {
	RECORD_GOOD,    /* the record is set */
	RECORD_REFUSED, /* the problem is set; go on */
	RECORD_WARNING, /* the problem is set, nothing was skipped; go on */
	RECORD_FATAL,   /* the problem is set; nothing of the file can be read */
	RECORD_END,     /* see source->error for how it ended */
};

struct record_problem {
	char why[256];
	const char *value; /* the offending text, or NULL; not NUL-terminated; valid until the next read */
	size_t value_len;
};

struct record_reader;

/** @param now_us  the creation time of links that bring none.
 *  @return for record_reader_close(), or NULL when memory is short. The source remains the caller's. */
struct record_reader *record_reader_open(enum record_format format, struct source *source, uint64_t now_us);

/** @param record  out; its URL is valid until the next read. */
enum record_result record_reader_next(struct record_reader *reader, struct link_record *record,
                                      struct record_problem *problem);

/** @return the line, from 1, on which the record or problem read last starts. */
uint64_t record_reader_line(const struct record_reader *reader);

/** NULL is fine. */
void record_reader_close(struct record_reader *reader);

#endif
