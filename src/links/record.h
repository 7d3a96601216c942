/* SPDX-License-Identifier: Apache-2.0 */
/*
 * record.h: all that is known about one link, as it is stored, exported and imported.
 */
#ifndef SLUICE_LINKS_RECORD_H
#define SLUICE_LINKS_RECORD_H

#include <stddef.h>
#include <stdint.h>

#include "links/links.h"

struct link_record {
	char code[LINK_CODE_MAX + 1]; /* "": none yet */
	const char *url;              /* not NUL-terminated; whose memory it is the function says */
	size_t url_len;
	uint64_t created_us; /* wall clock, since 1970 UTC */
	uint64_t clicks;
	uint64_t last_click_us; /* 0: never clicked */
};

#endif
