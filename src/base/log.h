/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.h: what the program tells its operator, a line a message, on standard error.
 *
 * For what happens seldom: start, stop, a store lost and found. Requests have a log of their own
 * (http/access_log.h). Leaves out: files, rotation, syslog: the service manager does that.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/** Messages above this level are dropped. Default LOG_INFO. Call before threads start, or from one thread. */
void log_set_level(enum log_level level);

/** @return the level of that name ("error", "warn", "info", "debug"), or -1. */
int log_level_parse(const char *name);

/** Writes one line: `2026-01-31T12:00:00.123Z warn message`. One write, so lines of threads never mix.
 *  Control characters in the message are shown as `\xNN`. Cut at 1,000 bytes. */
void log_write(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_DEBUG, __VA_ARGS__)

#endif
