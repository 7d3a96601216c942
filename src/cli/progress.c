/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c: see progress.h. */
#include "cli/progress.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"

#define DRAW_INTERVAL_US UINT64_C(100000)
#define BAR 24
#define LINE_MAX_COLUMNS 160

void progress_start(struct progress *progress, const char *verb)
{
	const char *term = getenv("TERM");

	*progress = (struct progress){ .verb = verb, .start_us = clock_mono_us() };
	progress->drawn_us = progress->start_us; /* what is over at once shows no bar */
	progress->terminal = isatty(STDERR_FILENO) && (term == NULL || strcmp(term, "dumb") != 0);
}

double progress_seconds(const struct progress *progress)
{
	return (double)(clock_mono_us() - progress->start_us) / 1e6;
}

const char *progress_number(uint64_t value, char text[PROGRESS_NUMBER_MAX])
{
	char digits[PROGRESS_NUMBER_MAX];
	int n = snprintf(digits, sizeof digits, "%" PRIu64, value), used = 0;

	for (int i = 0; i < n; i++) {
		if (i > 0 && (n - i) % 3 == 0)
			text[used++] = ',';
		text[used++] = digits[i];
	}
	text[used] = '\0';
	return text;
}

static size_t columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return 79;
	return size.ws_col > LINE_MAX_COLUMNS ? LINE_MAX_COLUMNS : size.ws_col - 1u; /* the last column would wrap */
}

static void draw(const struct progress *progress, uint64_t done, uint64_t total, uint64_t links)
{
	char line[LINE_MAX_COLUMNS + 100], bar[BAR + 1], number[PROGRESS_NUMBER_MAX], rate[PROGRESS_NUMBER_MAX];
	double seconds = progress_seconds(progress), share;
	unsigned filled, left_s;
	int n;

	progress_number(links, number);
	progress_number((uint64_t)((double)links / seconds), rate);
	if (total == 0 || done == 0) {
		n = snprintf(line, sizeof line, "%s  %s links  %s/s", progress->verb, number, rate);
	} else {
		share = done < total ? (double)done / (double)total : 1;
		filled = (unsigned)(share * BAR);
		left_s = (unsigned)(seconds / share - seconds + 0.5);
		memset(bar, '.', BAR);
		memset(bar, '#', filled);
		bar[BAR] = '\0';
		n = snprintf(line, sizeof line, "%s  %3d%% [%s]  %s links  %s/s  %u:%02u left", progress->verb,
		             (int)(share * 100), bar, number, rate, left_s / 60, left_s % 60);
	}
	if ((size_t)n > columns())
		n = (int)columns();
	fprintf(stderr, "\r\033[K%.*s", n, line);
}

void progress_update(struct progress *progress, uint64_t done, uint64_t total, uint64_t links)
{
	uint64_t now_us;

	if (!progress->terminal)
		return;
	now_us = clock_mono_us();
	if (now_us - progress->drawn_us < DRAW_INTERVAL_US)
		return;
	progress->drawn_us = now_us;
	progress->visible = true;
	draw(progress, done, total, links);
}

void progress_clear(struct progress *progress)
{
	if (progress->visible)
		fputs("\r\033[K", stderr);
	progress->visible = false;
}
