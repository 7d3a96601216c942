/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static const char *const level_names[] = { "error", "warn", "info", "debug" };

/* The one setting of the program that every floor must see without being handed it. */
static _Atomic int log_level = LOG_INFO;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&log_level, (int)level, memory_order_relaxed);
}

int log_level_parse(const char *name)
{
	for (int i = 0; i < 4; i++) {
		if (strcmp(name, level_names[i]) == 0)
			return i;
	}
	return -1;
}

/* Copies with control characters made visible, so that no message can forge a second line. */
static size_t put_escaped(char *to, size_t room, const char *from)
{
	size_t used = 0;

	for (; *from != '\0'; from++) {
		unsigned char c = (unsigned char)*from;

		if (c >= 0x20 && c != 0x7f) {
			if (used + 1 > room)
				break;
			to[used++] = (char)c;
		} else {
			if (used + 4 > room)
				break;
			used += (size_t)sprintf(to + used, "\\x%02x", c);
		}
	}
	return used;
}

void log_write(enum log_level level, const char *format, ...)
{
	char message[1001], line[1200];
	struct timespec ts;
	struct tm tm;
	va_list args;
	size_t used;

	if ((int)level > atomic_load_explicit(&log_level, memory_order_relaxed))
		return;
	va_start(args, format);
	vsnprintf(message, sizeof message, format, args);
	va_end(args);

	clock_gettime(CLOCK_REALTIME, &ts);
	gmtime_r(&ts.tv_sec, &tm);
	used = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
	used += (size_t)snprintf(line + used, sizeof line - used, ".%03dZ %s ", (int)(ts.tv_nsec / 1000000),
	                         level_names[level]);
	used += put_escaped(line + used, sizeof line - used - 5, message);
	line[used++] = '\n';
	/* A full or closed standard error must not stop the service. */
	if (write(STDERR_FILENO, line, used) < 0)
		return;
}
