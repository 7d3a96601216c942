/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record_writer.h: links into a file that record_reader.h reads back to the same links.
 */
#ifndef SLUICE_LINKS_RECORD_WRITER_H
#define SLUICE_LINKS_RECORD_WRITER_H

#include <stdio.h>

#include "links/record.h"
#include "links/record_reader.h"

/** Writes what stands before the first record. @return 0, or -1 with errno. */
int record_write_header(FILE *file, enum record_format format);

/** @return 0, or -1 with errno; -1 with EINVAL when the record can't be a link of ours (the database was
 *  changed by hand). RECORD_URLS writes the URL alone. */
int record_write(FILE *file, enum record_format format, const struct link_record *record);

#endif
