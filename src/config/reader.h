/* SPDX-License-Identifier: Apache-2.0 */
/*
 * reader.h: one reading of one file, as its parts share it: file.c gets the bytes, text.c makes a tree of nodes,
 * tree.c puts the nodes into the configuration.
 */
#ifndef SLUICE_CONFIG_READER_H
#define SLUICE_CONFIG_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <yaml.h>

#include "config/config.h"

struct reader {
	const char *name; /* of the file, for messages */
	const char *text;
	size_t len;
	struct config *config;
	struct config_errors *errors;
	yaml_document_t document;
};

/** Adds `FILE:LINE: KEY: why`. Line 0 and an empty key are left out, and so is a dot at the end of the key. */
void reader_report(struct reader *reader, size_t line, const char *key, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/** Sets what the document says. Errors are in reader->errors. */
void reader_walk(struct reader *reader);

#endif
