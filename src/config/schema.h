/* SPDX-License-Identifier: Apache-2.0 */
/*
 * schema.h: the one table of settings. It gives parsing, defaults, bounds and the reference page.
 *
 * A setting is added here, in struct config and in etc/sluice.yaml; tests fail when one of them is forgotten.
 */
#ifndef SLUICE_CONFIG_SCHEMA_H
#define SLUICE_CONFIG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "config/config.h"
#include "config/why.h"

enum schema_type {
	SCHEMA_NUMBER,   /* uint8_t, uint32_t or uint64_t, by size */
	SCHEMA_SIZE,     /* uint64_t, bytes */
	SCHEMA_DURATION, /* uint64_t, us */
	SCHEMA_CHOICE,   /* int or enum: one of `choices` */
	SCHEMA_SUBJECT,  /* the same, in a file as a list of one */
	SCHEMA_STORE,    /* char[]: a URL of one of the `choices` (schemes) */
	SCHEMA_PREFIX,   /* char[]: printable ASCII without blanks and braces */
	SCHEMA_FILE,     /* char[]: a file name, or - */
	SCHEMA_READ,     /* char[]: the name of a file that is read, or nothing */
	SCHEMA_NAME,     /* char[]: [a-z0-9-] */
	SCHEMA_ADDRESS,  /* config.listen and the two fields behind it */
	SCHEMA_NETWORKS, /* config.trusted_proxies and its length */
	SCHEMA_HOSTS,    /* config.public_names and its length */
	SCHEMA_LIMITS,   /* config.limits and its length */
};

#define SCHEMA_ALLOWED_MAX 384 /* bytes that hold what any setting may be */

struct schema_choice {
	const char *name; /* NULL ends the list */
	int value;
	int (*check)(const char *text, struct why *why); /* a scheme: the whole text; NULL: nothing may follow it */
	bool is_path;                                    /* a scheme: what follows it is the name of a file */
	const char *shown; /* a scheme: how it is written, in messages and the reference */
};

struct schema_key {
	const char *path; /* "server.threads" */
	enum schema_type type;
	const char *initial; /* the default, spelled as in a file; NULL: none, the setting must be given */
	uint64_t min, max;   /* numbers, sizes (bytes), durations (us) */
	const struct schema_choice *choices;
	size_t offset, size; /* of the field, or of the fields that belong together, in the base struct */
	const char *env;     /* a short name besides the one made from the path, or NULL */
	const char *flag;    /* without dashes, or NULL */
	const char *doc;     /* one or two sentences for the reference */
};

/* The settings of struct config. */
extern const struct schema_key schema_keys[];
extern const size_t schema_keys_n;

/* One item of `limits`, before it becomes a policy. */
struct schema_limit {
	char name[32];
	int algorithm; /* enum sluice_algorithm */
	uint32_t limit;
	uint64_t window_us;
	uint32_t burst; /* 0: the limit */
	int subject;    /* enum config_subject */
};

extern const struct schema_key schema_limit_keys[];
extern const size_t schema_limit_keys_n;

/** Sets one setting from text. @param base  the struct config, or the struct schema_limit.
 *  @return 0, or -1 with `why`; the field is then unchanged, or of a list holds part of the items. */
int schema_set(const struct schema_key *key, void *base, const char *text, struct why *why);

/** @return true for settings that a file writes as a list of texts. */
bool schema_is_list(const struct schema_key *key);

/** Empties a list, then adds one item at a time. */
void schema_list_clear(const struct schema_key *key, void *base);
int schema_list_add(const struct schema_key *key, void *base, const char *item, struct why *why);

/** Checks the bounds of one setting in a struct that somebody else may have filled. @return 0 or -1 with `why`. */
int schema_check(const struct schema_key *key, const void *base, struct why *why);

/** Writes what a setting may be ("1ms to 10s", "local, open, closed"). @return to. */
const char *schema_allowed(const struct schema_key *key, char *to, size_t room);

/** Makes a limit from its fields. @return 0 or -1 with `why`. */
int schema_limit_make(const struct schema_limit *from, struct config_limit *limit, struct why *why);

/** Fills in the defaults of an item of `limits`. */
void schema_limit_defaults(struct schema_limit *limit);

#endif
