/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arguments.h: the words of a command as a policy and options: `algorithm limit window [BURST n] [COST n] …`.
 *
 * Words may hold any bytes. Free of the server's interface, so that it can be fuzzed.
 *
 * Leaves out: keys, the packed form (packed.h), CL.THROTTLE (throttle.h).
 */
#ifndef SLUICE_MODULE_ARGUMENTS_H
#define SLUICE_MODULE_ARGUMENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/why.h"
#include "sluice/limiter.h"

struct word {
	const char *at; /* not NUL-terminated */
	size_t len;
};

/* Options beyond the policy's own, as bits; a command says which it allows. */
enum argument_option {
	ARGUMENT_COST = 1,     /* COST n */
	ARGUMENT_PEEK = 2,     /* PEEK */
	ARGUMENT_WITHTIME = 4, /* WITHTIME */
	ARGUMENT_AT = 8,       /* AT time */
};

struct arguments {
	struct sluice_policy policy;
	uint32_t cost;  /* 1 unless said */
	unsigned given; /* which of the options were */
	uint64_t at_us; /* of AT */
};

/* The policy that was read last, by its words: most commands bring the same one, and reading it takes longer than
 * deciding by it. All zero to begin with. */
struct arguments_memo {
	char words[64];
	size_t len; /* 0: none */
	struct sluice_policy policy;
};

/** Reads one policy with its options, up to the end or to the first word that is none of the options.
 *  @param memo     in and out; may be NULL.
 *  @param allowed  enum argument_option, or'ed.
 *  @param used     out: words read.
 *  @param why      out, on failure: an error for the client that names the argument, without "ERR ".
 *  @return 0 or -1. */
int arguments_read(struct arguments *out, struct arguments_memo *memo, unsigned allowed, const struct word *words,
                   size_t n, size_t *used, struct why *why);

/** Likewise, and all words are to be read. */
int arguments_read_all(struct arguments *out, struct arguments_memo *memo, unsigned allowed, const struct word *words,
                       size_t n, struct why *why);

/** @return whether a word is this one, in upper or lower case. */
bool word_is(const struct word *word, const char *name);

/** Reads a whole number from `least` to `most` in decimal digits.
 *  @param name  of the argument, for the error.
 *  @return 0, or -1 with `why` set. */
int word_number(const struct word *word, const char *name, uint64_t least, uint64_t most, uint64_t *number,
                struct why *why);

/** @return the word in double quotes, cut and with control characters spelled out, for an error. */
const char *word_quote(const struct word *word, char out[WHY_QUOTED_MAX]);

#endif
