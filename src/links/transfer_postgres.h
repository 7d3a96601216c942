/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer_postgres.h: import into and export from PostgreSQL, also while servers use it.
 */
#ifndef SLUICE_LINKS_TRANSFER_POSTGRES_H
#define SLUICE_LINKS_TRANSFER_POSTGRES_H

#include "links/transfer.h"

/** @param uri     any URI of libpq. Otherwise as transfer_open().
 *  @param create  make the tables when they are not there. */
struct transfer *transfer_postgres_open(const char *uri, bool create, char *why, size_t why_size);

#endif
