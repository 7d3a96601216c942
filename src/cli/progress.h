/* SPDX-License-Identifier: Apache-2.0 */
/*
 * progress.h: how far a long command has come: a line on standard error that is drawn over and over, on a terminal
 * only.
 */
#ifndef SLUICE_CLI_PROGRESS_H
#define SLUICE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *verb; /* "importing" */
	bool terminal;
	bool visible;
	uint64_t start_us, drawn_us;
};

#define PROGRESS_NUMBER_MAX 28

void progress_start(struct progress *progress, const char *verb);

/** Draws, at most ten times a second.
 *  @param done, total  of whatever measures the way; total 0: not known.
 *  @param links        so far. */
void progress_update(struct progress *progress, uint64_t done, uint64_t total, uint64_t links);

/** Takes the line away, so that another can be written. */
void progress_clear(struct progress *progress);

/** @return seconds since the start. */
double progress_seconds(const struct progress *progress);

/** Writes a number with its thousands apart: 5,312. @return text. */
const char *progress_number(uint64_t value, char text[PROGRESS_NUMBER_MAX]);

#define PROGRESS_LINKS_MAX (PROGRESS_NUMBER_MAX + 8)

/** Writes so many links: 1 link, 5,312 links. @return text. */
const char *progress_links(uint64_t value, char text[PROGRESS_LINKS_MAX]);

#endif
