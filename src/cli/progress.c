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
#define BAR_SHORTEST 6
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

const char *progress_links(uint64_t value, char text[PROGRESS_LINKS_MAX])
{
	char number[PROGRESS_NUMBER_MAX];

	snprintf(text, PROGRESS_LINKS_MAX, "%s link%s", progress_number(value, number), value == 1 ? "" : "s");
	return text;
}

static size_t columns(void)
{
	struct winsize size;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0)
		return 79;
	return size.ws_col > LINE_MAX_COLUMNS ? LINE_MAX_COLUMNS : size.ws_col - 1u; /* the last column would wrap */
}

/* The bar takes what the rest leaves: shorter in a narrow terminal, and without the time left before without a bar. */
static int fit(char *line, size_t size, size_t room, const char *head, double share, const char *tail, const char *left)
{
	char bar[BAR + 1];
	size_t fixed = strlen(head) + strlen(tail) + strlen(" []"), length = 0, filled;

	if (fixed + strlen(left) + BAR_SHORTEST > room)
		left = "";
	fixed += strlen(left);
	if (fixed + BAR_SHORTEST <= room)
		length = room - fixed < BAR ? room - fixed : BAR;
	if (length == 0)
		return snprintf(line, size, "%s%s%s", head, tail, left);
	filled = (size_t)(share * (double)length);
	memset(bar, '.', length);
	memset(bar, '#', filled);
	bar[length] = '\0';
	return snprintf(line, size, "%s [%s]%s%s", head, bar, tail, left);
}

static void draw(const struct progress *progress, uint64_t done, uint64_t total, uint64_t links)
{
	char line[LINE_MAX_COLUMNS + 100], counted[PROGRESS_LINKS_MAX], rate[PROGRESS_NUMBER_MAX];
	char head[32], tail[PROGRESS_LINKS_MAX + PROGRESS_NUMBER_MAX + 8], left[32];
	double seconds = progress_seconds(progress), share;
	size_t room = columns();
	unsigned left_s;
	int n;

	progress_links(links, counted);
	progress_number((uint64_t)((double)links / seconds), rate);
	snprintf(tail, sizeof tail, "  %s  %s/s", counted, rate);
	if (total == 0 || done == 0) {
		n = snprintf(line, sizeof line, "%s%s", progress->verb, tail);
	} else {
		share = done < total ? (double)done / (double)total : 1;
		left_s = (unsigned)(seconds / share - seconds + 0.5);
		snprintf(head, sizeof head, "%s  %3d%%", progress->verb, (int)(share * 100));
		snprintf(left, sizeof left, "  %u:%02u left", left_s / 60, left_s % 60);
		n = fit(line, sizeof line, room, head, share, tail, left);
	}
	if ((size_t)n > room)
		n = (int)room;
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
