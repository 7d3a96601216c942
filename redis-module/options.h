/* SPDX-License-Identifier: Apache-2.0 */
/*
 * options.h: the arguments of the module, which stand behind its path: `loadmodule sluice.so cl-throttle no`.
 *
 * Free of the server's interface.
 */
#ifndef SLUICE_MODULE_OPTIONS_H
#define SLUICE_MODULE_OPTIONS_H

#include "redis-module/arguments.h"

struct options {
	bool cl_throttle; /* offer CL.THROTTLE */
};

/** Reads names and values in turn; what is not named has its default.
 *  @param why  out, on failure: names the argument and what is allowed.
 *  @return 0 or -1. */
int options_read(struct options *options, const struct word *words, size_t n, struct why *why);

#endif
