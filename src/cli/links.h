/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links.h: what the files of `sluice links` share.
 */
#ifndef SLUICE_CLI_LINKS_H
#define SLUICE_CLI_LINKS_H

#include "links/record_reader.h"

struct links_job {
	const char *file;  /* "-": standard input or output */
	const char *store; /* sqlite:PATH */
	enum record_format format;
};

/* Each returns the exit status. */
int links_import(const struct links_job *job);
int links_export(const struct links_job *job);

/** Writes text that came from outside to standard error: cut to `most` bytes, and nothing in it can command the
 * terminal. */
void print_escaped(const char *text, size_t len, size_t most);

#endif
