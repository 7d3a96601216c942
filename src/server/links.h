/* SPDX-License-Identifier: Apache-2.0 */
/*
 * links.h: opens the link store that the configuration names.
 */
#ifndef SLUICE_SERVER_LINKS_H
#define SLUICE_SERVER_LINKS_H

#include <stddef.h>

#include "config/config.h"
#include "links/links.h"

/** @param threads  loop threads that will be attached.
 *  @return for links_close(), or NULL; why was logged. */
struct links *server_open_links(const struct config *config, size_t threads);

#endif
