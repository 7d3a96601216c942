/* SPDX-License-Identifier: Apache-2.0 */
/*
 * names.h: whether the same key comes twice. A key must not be opened while it is open: see key.h.
 */
#ifndef SLUICE_MODULE_NAMES_H
#define SLUICE_MODULE_NAMES_H

#include <stddef.h>

#include "redis-module/api.h"

#define NAMES_MAX 1024

/** @param n  at most NAMES_MAX.
 *  @return how many from the first on are all different: n, or the index of the first that comes again. */
size_t names_distinct(RedisModuleString *const *names, size_t n);

#endif
