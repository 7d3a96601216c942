/* SPDX-License-Identifier: Apache-2.0 */
/*
 * why.h: the part of an error message that says what is wrong with one value.
 *
 * Whoever knows the place (a line of a file, a flag, a variable) writes it in front.
 */
#ifndef SLUICE_CONFIG_WHY_H
#define SLUICE_CONFIG_WHY_H

#include <stddef.h>

#define WHY_QUOTED_MAX 96

struct why {
	char text[640];
};

/** Sets the reason. @return -1, so that `return why_set(...)` reads as a failure. */
int why_set(struct why *why, const char *format, ...) __attribute__((format(printf, 2, 3)));

#ifdef __clang_analyzer__ /* which does not see, from another file, that it fails always */
#define why_set(...) (why_set(__VA_ARGS__), -1)
#endif

/** Writes `text` in double quotes, control characters as \xNN, cut after 60 bytes with an ellipsis.
 *  @return out. */
const char *why_quote(const char *text, char out[WHY_QUOTED_MAX]);

/**
 * The name that was probably meant.
 *
 * @param names  n names, some may be NULL.
 * @return the one with the fewest edits (optimal string alignment: insert, delete, replace, swap neighbours), if
 *         these are at most a third of its length, at least one; else NULL.
 */
const char *why_nearest(const char *text, const char *const *names, size_t n);

#endif
