/* SPDX-License-Identifier: Apache-2.0 */
/*
 * key.c: states in strings of the server, changed in place.
 *
 * Expiry. A state is needed until its whole quota is back. Its key lives at least a second longer (the script's keys do
 * too), as the server's own notion of now may lag. To move the expiry costs two lookups, so it is set an eighth of the
 * window later than needed (a second to a minute), and moved only when the state would else outlive its key.
 */
#include "redis-module/key.h"

#include <string.h>

#include "redis-module/clock.h"
#include "redis-module/note.h"

/* Whatever a refund changes, it lowers a count or a debt among these first bytes. */
#define HEAD_LEN 28

#define SPARE_MS INT64_C(1000)
#define SLACK_MIN_MS INT64_C(1000)
#define SLACK_MAX_MS INT64_C(60000)

void key_open(struct key *key, RedisModuleCtx *ctx, RedisModuleString *name, int mode)
{
	key->ctx = ctx;
	key->name = name;
	key->news = (struct news){ .events = 0 };
	key->handle = redis.OpenKey(ctx, name, mode);
}

int key_read(struct key *key, int mode)
{
	key->state = NULL;
	key->len = 0;
	if (key->handle == NULL)
		return KEY_OK;
	key->state = (uint8_t *)redis.StringDMA(key->handle, &key->len, mode);
	if (key->state == NULL)
		return KEY_WRONGTYPE;
	if (key->len ==
	    0) /* an empty string holds no state; a key that is not there gives a string of the server's own */
		key->state = NULL;
	return KEY_OK;
}

void key_release(struct key *key)
{
	if (key->handle != NULL)
		redis.CloseKey(key->handle);
	key->handle = NULL;
}

void key_tell(const struct key *key)
{
	if (key->news.events != 0)
		effect_tell(&key->news, key->ctx, key->name);
}

void key_close(struct key *key)
{
	key_release(key);
	key_tell(key);
}

int key_peek(const struct key *key, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
             struct sluice_decision *out)
{
	return sluice_peek(key->state, key->len, policy, now_us, cost, out) == SLUICE_OK ? KEY_OK : KEY_MALFORMED;
}

/* Gives the key a new string with these bytes. */
static void put_string(struct key *key, const void *bytes, size_t len)
{
	RedisModuleString *string = redis.CreateString(NULL, bytes, len);

	redis.StringSet(key->handle, string);
	redis.FreeString(NULL, string);
	key_read(key, REDIS_READ | REDIS_WRITE);
}

/* A new state comes into a string made for it, of its full length when that is small. A larger one grows by doubling:
 * a new string each time, because the server would double it once more when it enlarges one in place. */
static int make_room(struct key *key, const struct sluice_policy *policy, size_t room)
{
	size_t compact = sluice_state_compact(policy);
	uint8_t *moved;

	if (compact > 0)
		room = compact;
	if (key->state == NULL) {
		redis.StringTruncate(key->handle, room);
		key_read(key, REDIS_READ | REDIS_WRITE);
		return sluice_state_move(key->state, key->len, NULL, 0, policy);
	}
	moved = redis.Alloc(room); /* the server ends itself rather than return NULL */
	if (sluice_state_move(moved, room, key->state, key->len, policy) != SLUICE_OK) {
		redis.Free(moved);
		return SLUICE_EFORMAT;
	}
	put_string(key, moved, room);
	redis.Free(moved);
	return SLUICE_OK;
}

static int64_t expiry_of(const struct key *key)
{
	int64_t left_ms;

	if (redis.GetAbsExpire != NULL)
		return redis.GetAbsExpire(key->handle);
	left_ms = redis.GetExpire(key->handle);
	return left_ms == REDIS_NO_EXPIRE ? REDIS_NO_EXPIRE : redis.Milliseconds() + left_ms;
}

/* Sees to it that the key lives until its state is empty, and a little longer.
 * @param note  of the state before the change: note.h.
 * @return the new expiry in ms, or 0 when the present one will do. */
static int64_t move_expiry(struct key *key, const struct sluice_policy *policy, uint64_t until_us, bool fresh,
                           uint32_t note)
{
	int64_t needed_ms = module_expiry_ms(until_us) + SPARE_MS;
	int64_t slack_ms = (int64_t)(policy->window_us / 8000);
	int64_t expiry_ms;

	if (!fresh && note_covers(note, needed_ms))
		return 0;
	expiry_ms = fresh ? REDIS_NO_EXPIRE : expiry_of(key);
	if (expiry_ms >= needed_ms) {
		note_write(key->state, key->len, expiry_ms);
		return 0;
	}
	slack_ms = slack_ms < SLACK_MIN_MS ? SLACK_MIN_MS : slack_ms;
	needed_ms += slack_ms < SLACK_MAX_MS ? slack_ms : SLACK_MAX_MS;
	note_write(key->state, key->len, needed_ms);
	return needed_ms;
}

int key_take(struct key *key, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost,
             struct sluice_decision *out)
{
	struct effect effect = { .fresh = false, .appended = cost };
	uint32_t note = note_read(key->state, key->len);
	int result;

	effect_before(&effect, key);
	/* Nearly every state has room. To ask first would be to read it twice. */
	result = sluice_take(key->state, key->len, policy, now_us, cost, out);
	if (result == SLUICE_EROOM) {
		effect.fresh = true;
		if (make_room(key, policy, sluice_state_room(key->state, key->len, policy, now_us, cost)) != SLUICE_OK)
			return KEY_MALFORMED;
		result = sluice_take(key->state, key->len, policy, now_us, cost, out);
	}
	if (result != SLUICE_OK)
		return KEY_MALFORMED;
	if (!out->allowed)
		return KEY_OK;
	effect.expiry_ms = move_expiry(key, policy, now_us + out->reset_after_us, effect.fresh, note);
	effect_write(&effect, key);
	return KEY_OK;
}

int key_refund(struct key *key, const struct sluice_policy *policy, uint64_t now_us, uint32_t cost, uint64_t at_us,
               struct sluice_decision *out)
{
	struct effect effect = { 0 };
	uint8_t before[HEAD_LEN];
	size_t len = key->len < HEAD_LEN ? key->len : HEAD_LEN;

	if (key->state == NULL)
		return key_peek(key, policy, now_us, 1, out);
	memcpy(before, key->state, len);
	effect_before(&effect, key);
	if (sluice_refund(key->state, key->len, policy, now_us, cost, at_us, out) != SLUICE_OK)
		return KEY_MALFORMED;
	if (memcmp(before, key->state, len) != 0) {
		note_write(key->state, key->len, 0);
		effect_write(&effect, key);
	}
	return KEY_OK;
}

void key_put(struct key *key, const struct sluice_policy *policy, const void *state, size_t len, uint64_t until_us)
{
	struct effect effect = { .fresh = key->len != len };

	if (effect.fresh)
		put_string(key, state, len);
	else
		memcpy(key->state, state, len);
	effect_before(&effect, key);
	effect.expiry_ms = move_expiry(key, policy, until_us, effect.fresh, 0);
	effect_write(&effect, key);
}
