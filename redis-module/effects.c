/* SPDX-License-Identifier: Apache-2.0 */
/*
 * effects.c: changes as plain commands: SET and SETRANGE of the bytes, PEXPIREAT with an absolute time, DEL. So a
 * replica, an append-only file and a server without the module come to hold the same.
 *
 * Does anybody listen? To make up a command for replicas takes as long as half the decision, also when there is no
 * replica and no append-only file, in which case the server throws it away. It does not say so. But it keeps a string
 * that it is to send, and frees one that it is not: so when, of two strings made and freed one after the other, the
 * second has the address of the first, the first was freed, and nobody listens. (That the allocator gives the same
 * place again is only likely; when it does not, the next change is replicated like the first.)
 *
 * How long does that hold? Somebody who begins to listen gets everything that was there before with a snapshot, for
 * which the server forks, or takes up where it left, which it can only do when it was being listened to before, or was
 * itself a replica. So it holds until the server forks or changes its role; to be on the safe side it is asked again in
 * each turn of the server's loop. In a Cluster, where slots are handed over by other ways, and in servers that do not
 * tell when a turn begins, it holds within one command only. What a command finds that comes from no connection holds
 * for it alone: of what another module calls the server may be told to tell nobody, whoever listens; and it may be
 * called in the middle of a command of ours, when a key expires that this one comes upon.
 */
#include "redis-module/effects.h"

#include <string.h>

#include "core/state.h"
#include "redis-module/key.h"
#include "redis-module/module.h"
#include "redis-module/note.h"

#define VERSION_PXAT 0x060200
#define VERSION_KNOWN 0x09ffff /* newer servers may have other ways: there it is asked for each command */

void effects_begin(void)
{
	if (!module.turns_known)
		module.hearing = HEARING_UNKNOWN;
	module.unheard_in = NULL;
}

/* Of a long ring only what changed is sent. A long string may also hold the state of another algorithm, which took the
 * place of a ring. */
static bool is_ring(const struct key *key)
{
	return key->len > NOTE_STRING_MAX && key->state[STATE_ALGORITHM] == SLUICE_SLIDING_LOG;
}

void effect_before(struct effect *effect, const struct key *key)
{
	bool ring = is_ring(key);

	effect->capacity = ring ? load32(key->state + LOG_CAPACITY) : 0;
	effect->count = ring ? load32(key->state + LOG_COUNT) : 0;
}

/* Whether a command comes from a connection and stands for itself. What another module calls has a client of its own,
 * in no table, or (Valkey 9) is told to be from its caller's connection; but it may not block, no more than commands of
 * a transaction or a script. */
static bool from_connection(RedisModuleCtx *ctx)
{
	return (redis.GetContextFlags(ctx) & REDIS_FLAG_DENY_BLOCKING) == 0 &&
	       redis.GetClientInfoById(NULL, redis.GetClientId(ctx)) == REDIS_OK;
}

/* Finds out, once in a turn, whether the server kept a string that was sent and then freed. */
static void listen_for(RedisModuleCtx *ctx, const RedisModuleString *freed, const char *bytes, size_t len)
{
	RedisModuleString *again;

	if (module.hearing != HEARING_UNKNOWN)
		return;
	again = redis.CreateString(NULL, bytes, len);
	if (again != freed)
		module.hearing = HEARD;
	else if (from_connection(ctx))
		module.hearing = UNHEARD;
	else
		module.unheard_in = ctx;
	redis.FreeString(NULL, again);
}

static void send_range(RedisModuleCtx *ctx, const struct key *key, size_t from, size_t len)
{
	const char *bytes = (const char *)key->state + from;
	RedisModuleString *offset = from > 0 ? redis.CreateStringFromLongLong(NULL, (long long)from) : module.zero;
	RedisModuleString *value = redis.CreateString(NULL, bytes, len);
	RedisModuleString *words[] = { key->name, offset, value };

	redis.Replicate(ctx, "SETRANGE", "v", words, (size_t)3);
	if (from > 0)
		redis.FreeString(NULL, offset);
	redis.FreeString(NULL, value);
	listen_for(ctx, value, bytes, len);
}

/* A take of a ring writes the head, and its entries after the others, around the end of the ring. */
static void send_take(const struct effect *effect, RedisModuleCtx *ctx, const struct key *key)
{
	uint32_t capacity = load32(key->state + LOG_CAPACITY), count = load32(key->state + LOG_COUNT);
	uint64_t head = load32(key->state + LOG_HEAD);
	uint32_t first = (uint32_t)((head + count - effect->appended) % capacity);
	uint32_t straight = effect->appended < capacity - first ? effect->appended : capacity - first;

	send_range(ctx, key, 0, LOG_RING);
	send_range(ctx, key, LOG_RING + (size_t)LOG_ENTRY * first, (size_t)LOG_ENTRY * straight);
	if (effect->appended > straight)
		send_range(ctx, key, LOG_RING, (size_t)LOG_ENTRY * (effect->appended - straight));
}

static void send_set(const struct effect *effect, RedisModuleCtx *ctx, const struct key *key)
{
	RedisModuleString *value = redis.CreateString(NULL, (const char *)key->state, key->len);
	RedisModuleString *expiry = redis.CreateStringFromLongLong(NULL, effect->expiry_ms);
	RedisModuleString *set[] = { key->name, value, module.pxat, expiry }, *expire[] = { key->name, expiry };

	redis.Replicate(ctx, "SET", "v", set, (size_t)(module.set_pxat ? 4 : 2));
	if (!module.set_pxat)
		redis.Replicate(ctx, "PEXPIREAT", "v", expire, (size_t)2);
	redis.FreeString(NULL, expiry);
	redis.FreeString(NULL, value);
	listen_for(ctx, value, (const char *)key->state, key->len);
}

static void send(const struct effect *effect, RedisModuleCtx *ctx, const struct key *key)
{
	if (module.hearing == UNHEARD || module.unheard_in == ctx) {
		redis.ReplicateVerbatim(
			ctx); /* goes nowhere; it counts as a change, for the times when the server saves */
		return;
	}
	if (effect->fresh) {
		send_set(effect, ctx, key);
		return;
	}
	if (effect->expiry_ms > 0)
		redis.Replicate(ctx, "PEXPIREAT", "sl", key->name, (long long)effect->expiry_ms);
	/* Laid anew when its capacity changed, and shifted when an entry that was left out was stored. */
	if (is_ring(key) && effect->appended > 0 && effect->capacity == load32(key->state + LOG_CAPACITY) &&
	    effect->count >> LOG_LEFT_OUT == 0)
		send_take(effect, ctx, key);
	else
		send_range(ctx, key, 0, key->len);
}

void effect_write(const struct effect *effect, struct key *key)
{
	send(effect, key->ctx, key);
	redis.SignalModifiedKey(key->ctx, key->name);
	key->news.events = effect->fresh ? NEWS_SET : NEWS_SETRANGE;
	if (effect->expiry_ms == 0)
		return;
	key->news.events |= NEWS_EXPIRE;
	if (redis.SetAbsExpire != NULL)
		redis.SetAbsExpire(key->handle, effect->expiry_ms);
	else
		key->news.expiry_ms = effect->expiry_ms;
}

void effect_tell(const struct news *news, RedisModuleCtx *ctx, RedisModuleString *name)
{
	RedisModuleCallReply *reply;

	if ((news->events & (NEWS_SET | NEWS_SETRANGE)) != 0)
		redis.NotifyKeyspaceEvent(ctx, REDIS_NOTIFY_STRING, (news->events & NEWS_SET) != 0 ? "set" : "setrange",
		                          name);
	if ((news->events & NEWS_EXPIRE) == 0)
		return;
	if (news->expiry_ms == 0) {
		redis.NotifyKeyspaceEvent(ctx, REDIS_NOTIFY_GENERIC, "expire", name);
		return;
	}
	/* SetExpire would count from the server's clock at another moment, and so another time than the one that is
	 * sent. The command tells the event itself. */
	reply = redis.Call(ctx, "PEXPIREAT", "sl", name, (long long)news->expiry_ms);
	if (reply != NULL)
		redis.FreeCallReply(reply);
}

void effect_delete(RedisModuleCtx *ctx, RedisModuleString *name)
{
	redis.Replicate(ctx, "DEL", "s", name);
	redis.SignalModifiedKey(ctx, name);
	redis.NotifyKeyspaceEvent(ctx, REDIS_NOTIFY_GENERIC, "del", name);
}

static void on_event(RedisModuleCtx *ctx, struct redis_event event, uint64_t what, void *data)
{
	(void)ctx;
	(void)event;
	(void)what;
	(void)data;
	module.hearing = HEARING_UNKNOWN;
}

int effects_open(RedisModuleCtx *ctx)
{
	static const uint64_t events[] = { REDIS_EVENT_LOOP, REDIS_EVENT_FORK, REDIS_EVENT_ROLE };
	int version = redis.GetServerVersion != NULL ? redis.GetServerVersion() : 0;
	bool known = redis.IsSubEventSupported != NULL && version <= VERSION_KNOWN &&
	             (redis.GetContextFlags(ctx) & REDIS_FLAG_CLUSTER) == 0;

	module.zero = redis.CreateString(NULL, "0", 1);
	module.pxat = redis.CreateString(NULL, "PXAT", 4);
	module.set_pxat = version >= VERSION_PXAT;
	for (size_t i = 0; known && i < sizeof events / sizeof events[0]; i++) {
		struct redis_event event = { events[i], 1 };

		known = redis.IsSubEventSupported(event, 0) &&
		        redis.SubscribeToServerEvent(ctx, event, on_event) == REDIS_OK;
	}
	module.turns_known = known;
	return REDIS_OK;
}

void effects_close(void)
{
	redis.FreeString(NULL, module.zero);
	redis.FreeString(NULL, module.pxat);
}
