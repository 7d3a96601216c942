/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.h: the contract between import and export and where links are kept: many links at a time, on the calling
 * thread, beside running servers.
 *
 * One thread. Functions that fail leave a message for the operator in transfer->why.
 */
#ifndef SLUICE_LINKS_TRANSFER_H
#define SLUICE_LINKS_TRANSFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "links/record.h"

enum transfer_outcome {
	TRANSFER_CREATED,
	TRANSFER_THERE, /* the URL had a code, and keeps it: it is in record.code now */
	TRANSFER_TAKEN, /* refused: the code belongs to another URL */
};

struct transfer_item {
	struct link_record record; /* an empty code is drawn */
	enum transfer_outcome outcome;
};

struct transfer;

struct transfer_class {
	/* Stores links, durably, all or none. @return 0, or -1: none is stored. */
	int (*put)(struct transfer *transfer, struct transfer_item *items, size_t n);

	/* @return about how many links there are, for a progress bar. */
	uint64_t (*estimate)(struct transfer *transfer);

	/* Starts to go through all links as they are at this moment. @return 0 or -1. */
	int (*start)(struct transfer *transfer);

	/* Gets the next; its URL is valid until the next call. @return 1, 0 after the last, or -1. */
	int (*next)(struct transfer *transfer, struct link_record *record);

	void (*close)(struct transfer *transfer);
};

struct transfer {
	const struct transfer_class *class;
	char why[512];
};

/**
 * @param store   where, as in the configuration (`sqlite:PATH`, `postgresql://...`).
 * @param create  make it when it is not there.
 * @param why     out: on failure a message for the operator.
 * @return for transfer_close(), or NULL.
 */
struct transfer *transfer_open(const char *store, bool create, char *why, size_t why_size);

static inline int transfer_put(struct transfer *transfer, struct transfer_item *items, size_t n)
{
	return transfer->class->put(transfer, items, n);
}

static inline uint64_t transfer_estimate(struct transfer *transfer)
{
	return transfer->class->estimate(transfer);
}

static inline int transfer_start(struct transfer *transfer)
{
	return transfer->class->start(transfer);
}

static inline int transfer_next(struct transfer *transfer, struct link_record *record)
{
	return transfer->class->next(transfer, record);
}

static inline void transfer_close(struct transfer *transfer)
{
	transfer->class->close(transfer);
}

#endif
