/* SPDX-License-Identifier: Apache-2.0 */
#include "store/redis/notice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

#define AGAIN_US UINT64_C(5000000) /* between two lines about what comes and goes */
#define TEXT_MAX 400

enum told { TOLD_NOTHING, TOLD_UP, TOLD_DOWN };

struct redis_place {
	struct redis_place *next;
	unsigned connections, down; /* down: of these */
	enum told told;
	uint64_t told_us;                        /* that it is down */
	char why[TEXT_MAX];                      /* as told */
	char about[TEXT_MAX], decides[TEXT_MAX]; /* likewise */
	char name[];
};

int redis_notices_init(struct redis_notices *notices)
{
	*notices = (struct redis_notices){ .places = NULL };
	return -pthread_mutex_init(&notices->lock, NULL);
}

void redis_notices_destroy(struct redis_notices *notices)
{
	while (notices->places != NULL) {
		struct redis_place *place = notices->places;

		notices->places = place->next;
		free(place);
	}
	pthread_mutex_destroy(&notices->lock);
}

static struct redis_place *find(struct redis_notices *notices, const char *name)
{
	struct redis_place *place = notices->places;

	while (place != NULL && strcmp(place->name, name) != 0)
		place = place->next;
	return place;
}

static struct redis_place *add(struct redis_notices *notices, const char *name)
{
	size_t len = strlen(name) + 1;
	struct redis_place *place = calloc(1, sizeof *place + len);

	if (place == NULL)
		return NULL;
	memcpy(place->name, name, len);
	place->next = notices->places;
	notices->places = place;
	return place;
}

struct redis_place *redis_notices_enter(struct redis_notices *notices, const char *name)
{
	struct redis_place *place;

	pthread_mutex_lock(&notices->lock);
	place = find(notices, name);
	if (place == NULL)
		place = add(notices, name);
	if (place != NULL) {
		place->connections++;
		place->down++;
	}
	pthread_mutex_unlock(&notices->lock);
	return place;
}

static void forget(struct redis_notices *notices, struct redis_place *place)
{
	struct redis_place **link = &notices->places;

	while (*link != place)
		link = &(*link)->next;
	*link = place->next;
	free(place);
}

void redis_notices_leave(struct redis_notices *notices, struct redis_place *place, bool up)
{
	pthread_mutex_lock(&notices->lock);
	place->down -= !up;
	if (--place->connections == 0)
		forget(notices, place);
	pthread_mutex_unlock(&notices->lock);
}

void redis_notices_up(struct redis_notices *notices, struct redis_place *place)
{
	bool tell;

	pthread_mutex_lock(&notices->lock);
	tell = --place->down == 0 && place->told != TOLD_UP;
	if (tell)
		place->told = TOLD_UP;
	pthread_mutex_unlock(&notices->lock);
	if (tell)
		log_info("redis %s: connected", place->name);
}

void redis_notices_down(struct redis_notices *notices, struct redis_place *place, bool was_up, const char *why)
{
	uint64_t now_us = clock_mono_us();
	bool tell;

	pthread_mutex_lock(&notices->lock);
	place->down += was_up;
	tell = (place->told != TOLD_DOWN || strncmp(place->why, why, TEXT_MAX - 1) != 0) &&
	       (place->told_us == 0 || now_us >= place->told_us + AGAIN_US);
	if (tell) {
		place->told = TOLD_DOWN;
		place->told_us = now_us;
		snprintf(place->why, sizeof place->why, "%s", why);
	}
	pthread_mutex_unlock(&notices->lock);
	if (tell)
		log_warn("redis %s: %s", place->name, why);
}

void redis_notices_refused(struct redis_notices *notices, const char *name, const char *words, const char *advice)
{
	uint64_t now_us = clock_mono_us(), n;
	char times[64] = "";
	bool tell;

	pthread_mutex_lock(&notices->lock);
	n = ++notices->refused_n;
	tell = notices->refused_us == 0 || now_us >= notices->refused_us + AGAIN_US;
	if (tell) {
		notices->refused_us = now_us;
		notices->refused_n = 0;
	}
	pthread_mutex_unlock(&notices->lock);
	if (!tell)
		return;
	if (n > 1)
		snprintf(times, sizeof times, " (%llu such answers since the last message)", (unsigned long long)n);
	log_warn("redis %s: answers %.200s%s%s%s", name, words, advice != NULL ? "; " : "",
	         advice != NULL ? advice : "", times);
}

/* @param told  what was told last. */
static void tell_once(struct redis_notices *notices, const struct redis_place *place, char told[TEXT_MAX],
                      const char *about, const char *warning)
{
	char text[TEXT_MAX];
	bool tell;

	snprintf(text, sizeof text, "%s%s", about, warning != NULL ? warning : "");
	pthread_mutex_lock(&notices->lock);
	tell = strcmp(told, text) != 0;
	if (tell)
		memcpy(told, text, sizeof text);
	pthread_mutex_unlock(&notices->lock);
	if (!tell)
		return;
	log_info("redis %s: %s", place->name, about);
	if (warning != NULL && *warning != '\0')
		log_warn("redis %s: %s", place->name, warning);
}

void redis_notices_about(struct redis_notices *notices, struct redis_place *place, const char *about,
                         const char *warning)
{
	tell_once(notices, place, place->about, about, warning);
}

void redis_notices_decides(struct redis_notices *notices, struct redis_place *place, const char *about,
                           const char *warning)
{
	tell_once(notices, place, place->decides, about, warning);
}
