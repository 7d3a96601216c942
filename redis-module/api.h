/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api.h: the entry points of Redis and Valkey that the module calls, by our own declarations.
 *
 * A server hands out its functions by name; the names, parameters and numbers here are what its module interface
 * documents (https://redis.io/docs/latest/develop/reference/modules/modules-api-ref/). Valkey serves the same names.
 *
 * Rules: server thread only, as all of a module is. Strings and keys that a function creates belong to the caller; a
 * NULL context means that nobody frees them behind its back.
 *
 * Leaves out: everything that the module does not call.
 */
#ifndef SLUICE_MODULE_API_H
#define SLUICE_MODULE_API_H

#include <stddef.h>
#include <stdint.h>

typedef struct RedisModuleCtx RedisModuleCtx;
typedef struct RedisModuleString RedisModuleString;
typedef struct RedisModuleKey RedisModuleKey;
typedef struct RedisModuleCommand RedisModuleCommand;
typedef struct RedisModuleCallReply RedisModuleCallReply;
typedef struct RedisModuleInfoCtx RedisModuleInfoCtx;

/* An event of the server: its number, and the version of what it passes, always 1. */
struct redis_event {
	uint64_t id;
	uint64_t version;
};

/*
 * What a server tells of a command: COMMAND DOCS, COMMAND INFO, and where its keys are. Arrays end with an element of
 * zeros. The server copies all of it.
 */
enum redis_argument_type {
	REDIS_ARGUMENT_STRING = 0,
	REDIS_ARGUMENT_INTEGER = 1,
	REDIS_ARGUMENT_KEY = 3,
	REDIS_ARGUMENT_TOKEN = 6,  /* a word without a value */
	REDIS_ARGUMENT_ONE_OF = 7, /* one of its parts */
	REDIS_ARGUMENT_BLOCK = 8,  /* all of its parts */
};
enum { REDIS_ARGUMENT_OPTIONAL = 1 << 0, REDIS_ARGUMENT_MULTIPLE = 1 << 1 };

struct redis_argument {
	const char *name;
	enum redis_argument_type type;
	int key_spec; /* of a key: which of the command's */
	const char *token;
	const char *summary;
	const char *since;
	int flags;
	const char *deprecated_since;
	const struct redis_argument *parts;
	const char *shown_as;
};

enum { REDIS_BEGIN_INDEX = 2 };                      /* `begin`: at a fixed position */
enum { REDIS_FIND_RANGE = 2, REDIS_FIND_COUNT = 3 }; /* `find`: up to a position, or as many as an argument says */
enum {
	REDIS_KEY_READ_ONLY = 1 << 0,
	REDIS_KEY_READ_WRITE = 1 << 1,
	REDIS_KEY_REMOVE = 1 << 3,
	REDIS_KEY_ACCESS = 1 << 4,
	REDIS_KEY_UPDATE = 1 << 5,
	REDIS_KEY_DELETE = 1 << 7,
};

struct redis_key_spec {
	const char *notes;
	uint64_t flags;
	int begin;
	union {
		int position;
		struct {
			const char *word;
			int from;
		} keyword;
	} begins;
	int find;
	union {
		struct {
			int last_key, step, limit; /* relative to where it begins; -1: up to the last argument */
		} range;
		struct {
			int count_at, first_key, step; /* likewise */
		} count;
	} finds;
};

struct redis_history {
	const char *since, *changes;
};

/* Tells a server the lengths of these structures, as later ones may be longer. */
struct redis_info_version {
	int version;
	size_t history_len, key_spec_len, argument_len;
};

struct redis_command_info {
	const struct redis_info_version *version;
	const char *summary, *complexity, *since;
	const struct redis_history *history;
	const char *tips; /* for clients and proxies, separated by blanks */
	int arity;        /* with the command's own name; -n: at least n */
	const struct redis_key_spec *key_specs;
	const struct redis_argument *arguments;
};

typedef int redis_command_function(RedisModuleCtx *ctx, RedisModuleString **argv, int argc);
typedef void redis_event_function(RedisModuleCtx *ctx, struct redis_event event, uint64_t what, void *data);
typedef void redis_info_function(RedisModuleInfoCtx *ctx, int for_crash_report);

enum { REDIS_OK = 0, REDIS_ERR = 1 };
enum { REDIS_API_VERSION = 1 };
enum { REDIS_READ = 1, REDIS_WRITE = 2 }; /* of OpenKey and StringDMA */
enum { REDIS_TYPE_EMPTY = 0, REDIS_TYPE_STRING = 1 };
enum { REDIS_NOTIFY_GENERIC = 1 << 2, REDIS_NOTIFY_STRING = 1 << 3 };
enum { REDIS_NO_IMPLICIT_SIGNAL = 1 << 1 };                               /* of SetModuleOptions */
enum { REDIS_FLAG_CLUSTER = 1 << 5, REDIS_FLAG_DENY_BLOCKING = 1 << 21 }; /* of GetContextFlags */
enum { REDIS_EVENT_ROLE = 0, REDIS_EVENT_FORK = 13, REDIS_EVENT_LOOP = 15 };
#define REDIS_NO_EXPIRE INT64_C(-1)
#define REDIS_WRONGTYPE "WRONGTYPE Operation against a key holding the wrong kind of value"

/* X(result, name, parameters): in every server from 6.0 on. */
#define REDIS_API_REQUIRED(X)                                                                                          \
	X(void, SetModuleAttribs, (RedisModuleCtx *, const char *name, int version, int api_version))                  \
	X(int, IsModuleNameBusy, (const char *name))                                                                   \
	X(void, SetModuleOptions, (RedisModuleCtx *, int options))                                                     \
	X(int, CreateCommand,                                                                                          \
	  (RedisModuleCtx *, const char *name, redis_command_function *, const char *flags, int first_key,             \
	   int last_key, int step))                                                                                    \
	X(int, SubscribeToServerEvent, (RedisModuleCtx *, struct redis_event, redis_event_function *))                 \
	X(int, RegisterInfoFunc, (RedisModuleCtx *, redis_info_function *))                                            \
	X(int, InfoAddSection, (RedisModuleInfoCtx *, const char *name))                                               \
	X(int, InfoAddFieldULongLong, (RedisModuleInfoCtx *, const char *name, unsigned long long value))              \
	X(int, InfoAddFieldCString, (RedisModuleInfoCtx *, const char *name, const char *value))                       \
	X(void, Log, (RedisModuleCtx *, const char *level, const char *format, ...))                                   \
	X(unsigned long long, GetClientId, (RedisModuleCtx *))                                                         \
	X(int, GetClientInfoById, (void *info, uint64_t id))                                                           \
	X(int, GetContextFlags, (RedisModuleCtx *))                                                                    \
	X(int, WrongArity, (RedisModuleCtx *))                                                                         \
	X(int, ReplyWithError, (RedisModuleCtx *, const char *text))                                                   \
	X(int, ReplyWithArray, (RedisModuleCtx *, long len))                                                           \
	X(int, ReplyWithLongLong, (RedisModuleCtx *, long long value))                                                 \
	X(int, ReplyWithStringBuffer, (RedisModuleCtx *, const char *bytes, size_t len))                               \
	X(int, ReplyWithSimpleString, (RedisModuleCtx *, const char *text))                                            \
	X(int, IsKeysPositionRequest, (RedisModuleCtx *))                                                              \
	X(void, KeyAtPos, (RedisModuleCtx *, int position))                                                            \
	X(RedisModuleKey *, OpenKey, (RedisModuleCtx *, RedisModuleString * name, int mode))                           \
	X(void, CloseKey, (RedisModuleKey *))                                                                          \
	X(int, KeyType, (RedisModuleKey *))                                                                            \
	X(int, DeleteKey, (RedisModuleKey *))                                                                          \
	X(char *, StringDMA, (RedisModuleKey *, size_t * len, int mode))                                               \
	X(int, StringTruncate, (RedisModuleKey *, size_t len))                                                         \
	X(int, StringSet, (RedisModuleKey *, RedisModuleString *))                                                     \
	X(int64_t, GetExpire, (RedisModuleKey *))                                                                      \
	X(int64_t, Milliseconds, (void))                                                                               \
	X(RedisModuleString *, CreateString, (RedisModuleCtx *, const char *bytes, size_t len))                        \
	X(RedisModuleString *, CreateStringFromLongLong, (RedisModuleCtx *, long long value))                          \
	X(void, FreeString, (RedisModuleCtx *, RedisModuleString *))                                                   \
	X(const char *, StringPtrLen, (const RedisModuleString *, size_t *len))                                        \
	X(RedisModuleCallReply *, Call, (RedisModuleCtx *, const char *command, const char *format, ...))              \
	X(const char *, CallReplyStringPtr, (RedisModuleCallReply *, size_t * len))                                    \
	X(void, FreeCallReply, (RedisModuleCallReply *))                                                               \
	X(int, Replicate, (RedisModuleCtx *, const char *command, const char *format, ...))                            \
	X(int, ReplicateVerbatim, (RedisModuleCtx *))                                                                  \
	X(int, SignalModifiedKey, (RedisModuleCtx *, RedisModuleString * name))                                        \
	X(int, NotifyKeyspaceEvent, (RedisModuleCtx *, int type, const char *event, RedisModuleString *name))          \
	X(void *, Alloc, (size_t bytes))                                                                               \
	X(void, Free, (void *))

/* Y(result, name, parameters, what is missing without it): NULL on servers that are too old. */
#define REDIS_API_OPTIONAL(Y)                                                                                          \
	Y(int64_t, GetAbsExpire, (RedisModuleKey *), "direct-expiry")                                                  \
	Y(int, SetAbsExpire, (RedisModuleKey *, int64_t at_ms), "direct-expiry")                                       \
	Y(int, IsSubEventSupported, (struct redis_event, uint64_t what), "loop-events")                                \
	Y(int, GetServerVersion, (void), "server-version")                                                             \
	Y(RedisModuleCommand *, GetCommand, (RedisModuleCtx *, const char *name), "command-docs")                      \
	Y(int, SetCommandInfo, (RedisModuleCommand *, const struct redis_command_info *), "command-docs")              \
	Y(int, SetCommandACLCategories, (RedisModuleCommand *, const char *categories), "acl-categories")              \
	Y(int, AddACLCategory, (RedisModuleCtx *, const char *name), "own-acl-category")

struct redis_api {
#define REDIS_API_MEMBER(result, name, parameters) result(*name) parameters;
#define REDIS_API_OPTIONAL_MEMBER(result, name, parameters, missing) result(*name) parameters;
	REDIS_API_REQUIRED(REDIS_API_MEMBER)
	REDIS_API_OPTIONAL(REDIS_API_OPTIONAL_MEMBER)
#undef REDIS_API_MEMBER
#undef REDIS_API_OPTIONAL_MEMBER
	/* Which of the optional abilities this server lacks, separated by blanks; "" for none. */
	char missing[128];
};

/* The one table: commands of a module are called without a context of its own. Filled once by api_load(). */
extern struct redis_api redis;

/** Asks the server for the entry points.
 *  @param ctx  that RedisModule_OnLoad was called with: it begins with the function that hands them out.
 *  @return NULL, or the name of a required one that this server lacks. */
const char *api_load(RedisModuleCtx *ctx);

#endif
