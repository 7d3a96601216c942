# SPDX-License-Identifier: Apache-2.0
"""The module among a server's other means: transactions, scripts, watched keys, caches of clients, keyspace notifications.
A denied take is no change for any of them."""
import pytest

from support.module import (PLAIN_COMMANDS, Listener, RedisError, assert_same, command, follow, in_step, names_of,
                            server_version)
from support.takes import Policy
from support.waiting import wait_until

HOUR = 3600000
TWO = Policy("sliding-log", 2, HOUR)
EACH = [Policy("sliding-log", 2, HOUR), Policy("sliding-log", 300, HOUR), Policy("sliding-counter", 2, HOUR),
        Policy("fixed-window", 2, HOUR), Policy("token-bucket", 2, 366 * 86400000)]
NAMES = [f"{policy.algorithm}-{policy.limit}" for policy in EACH]


def take(key, policy=TWO, cost=1):
    return ["SLUICE.TAKE", key, *policy.words(cost)]


# Transactions and scripts


def test_a_transaction_takes_all_at_once(start_store, store):
    replica = start_store(module=False)
    follow(replica, store)
    in_step(store, replica)
    with store.client() as client:
        replies = client.pipeline(["MULTI"], take("a"), ["INCR", "n"], take("a"), take("a"), ["SLUICE.MTAKE", "EACH", 2, "a", "b",
                                  *TWO.words()], ["SLUICE.PEEK", "b", *TWO.words()], ["SLUICE.RESET", "b"], take("b"), ["EXEC"])
    assert replies[0] == "OK" and set(replies[1:-1]) == {"QUEUED"}
    first, count, second, third, both, peek, reset, after = replies[-1]
    assert (first[:3], count, second[:3], third[:3]) == ([1, 2, 1], 1, [1, 2, 0], [0, 2, 0])
    assert [answer[:3] for answer in both] == [[0, 2, 0], [1, 2, 1]] and peek[:3] == [1, 2, 1]
    assert (reset, after[:3]) == (1, [1, 2, 1])
    in_step(store, replica)
    assert_same(store, replica, at_least=3)


def test_a_transaction_that_is_dropped_takes_nothing(store):
    with store.client() as client:
        client.pipeline(["MULTI"], take("a"), ["DISCARD"])
        # That it has too few words is known before it is carried out only since Redis 7.
        words = ["SLUICE.TAKE", "a"] if server_version() >= (7,) else ["NO.SUCH", "a"]
        replies = client.pipeline(["MULTI"], take("a"), words, ["EXEC"])
    assert str(replies[-1]).startswith("EXECABORT"), replies
    assert store.ask("EXISTS", "a") == 0


def test_a_transaction_goes_to_replicas_as_one(store):
    """Others must not see the half of it."""
    with Listener(store) as listener, store.client() as client:
        listener.read_keys()
        client.pipeline(["MULTI"], take("a"), take("b"), ["EXEC"], ["SET", "the end", "x"])
        told = listener.read_until(b"the end")
    names = [words[0].decode() for words in told if words[0] not in (b"PING", b"SELECT")]
    assert names[0] == "MULTI" and names[-1] == "EXEC" and names.count("MULTI") == 1, names
    assert set(names) <= PLAIN_COMMANDS


def test_one_command_of_many_keys_goes_to_replicas_as_one(store):
    with Listener(store) as listener, store.client() as client:
        listener.read_keys()
        client.pipeline(["SLUICE.MTAKE", "ALL", 3, "a", "b", "c", *TWO.words()], ["SET", "the end", "x"])
        told = listener.read_until(b"the end")
    names = [words[0].decode() for words in told if words[0] not in (b"PING", b"SELECT")]
    assert names[0] == "MULTI" and names[-1] == "EXEC" and names.count("SET") == 3, names


def test_a_script_takes(start_store, store):
    replica = start_store(module=False)
    follow(replica, store)
    in_step(store, replica)
    lua = """
        local first = redis.call('SLUICE.TAKE', KEYS[1], 'sliding-log', '2', '1h')
        local second = redis.call('SLUICE.MTAKE', 'EACH', '2', KEYS[1], KEYS[2], 'sliding-log', '2', '1h')
        local third = redis.call('SLUICE.TAKE', KEYS[1], 'sliding-log', '2', '1h')
        redis.call('SET', KEYS[3], first[1] .. second[1][1] .. second[2][1] .. third[1])
        return {first, second, third, redis.call('SLUICE.PEEK', KEYS[2], 'sliding-log', '2', '1h')}
    """
    first, second, third, peek = store.ask("EVAL", lua, 3, "a", "b", "c")
    assert (first[:3], [answer[:3] for answer in second]) == ([1, 2, 1], [[1, 2, 0], [1, 2, 1]])
    assert (third[:3], peek[:3]) == ([0, 2, 0], [1, 2, 1])
    assert store.ask("GET", "c") == "1110"
    in_step(store, replica)
    assert_same(store, replica, at_least=3)
    assert names_of([[name.encode()] for name in replica.info("commandstats")])  # it tells, and none is ours:
    assert not any("sluice" in name for name in replica.info("commandstats"))


@pytest.mark.skipif(server_version() < (7,), reason="functions came with Redis 7.0")
def test_a_function_takes(start_store, store):
    replica = start_store(module=False)
    follow(replica, store)
    in_step(store, replica)
    store.ask("FUNCTION", "LOAD", "#!lua name=shop\nredis.register_function('buy', function(keys) "
              "return redis.call('SLUICE.TAKE', keys[1], 'sliding-log', '2', '1h') end)")
    assert [store.ask("FCALL", "buy", 1, "a")[:3] for _ in range(3)] == [[1, 2, 1], [1, 2, 0], [0, 2, 0]]
    in_step(store, replica)
    assert_same(store, replica)


def test_an_error_within_a_script(store):
    with pytest.raises(RedisError, match="limit"):
        store.ask("EVAL", "return redis.call('SLUICE.TAKE', KEYS[1], 'sliding-log', '0', '1h')", 1, "a")
    store.ask("LPUSH", "list", "x")
    with pytest.raises(RedisError, match="WRONGTYPE"):
        store.ask("EVAL", "return redis.call('SLUICE.TAKE', KEYS[1], 'sliding-log', '1', '1h')", 1, "list")
    said = store.ask("EVAL", "return redis.pcall('SLUICE.TAKE', KEYS[1], 'sliding-log', '1', '1h')['err']", 1, "list")
    assert said.startswith("WRONGTYPE"), said


@pytest.mark.skipif(server_version() < (7,), reason="EVAL_RO came with Redis 7.0")
def test_a_script_that_only_reads_may_peek_and_not_take(store):
    call = "return redis.call('{}', KEYS[1], 'sliding-log', '2', '1h')"
    assert store.ask("EVAL_RO", call.format("SLUICE.PEEK"), 1, "a")[:3] == [1, 2, 2]
    with pytest.raises(RedisError, match="read-only"):
        store.ask("EVAL_RO", call.format("SLUICE.TAKE"), 1, "a")
    assert store.ask("EXISTS", "a") == 0


# Watched keys


def survives(store, *words):
    """Whether a transaction that watches `k` and `other` is carried out when these words come in between."""
    with store.client() as watcher:
        watcher.ask("WATCH", "k", "other")
        store.ask(*words)
        return watcher.pipeline(["MULTI"], ["PING"], ["EXEC"])[-1] is not None


@pytest.mark.parametrize("policy", EACH, ids=NAMES)
def test_watched_keys_are_touched_by_what_is_allowed_alone(store, policy):
    assert not survives(store, *take("k", policy))
    assert not survives(store, *take("k", policy, policy.limit - 1))
    for words in (take("k", policy), ["SLUICE.PEEK", "k", *policy.words()], [*take("k", policy), "PEEK"],
                  ["SLUICE.MTAKE", "EACH", 2, "k", "other", *policy.words(policy.limit + 1)],
                  ["SLUICE.MTAKE", "ALL", 2, "k", "other", *policy.words()],
                  ["SLUICE.REFUND", "k", *policy.words(), "AT", 1], ["SLUICE.RESET", "nobody"]):
        assert survives(store, *words), words
    assert not survives(store, "SLUICE.RESET", "k")
    assert not survives(store, "SLUICE.MTAKE", "ALL", 2, "k", "other", *policy.words())
    at = store.ask(*take("k", policy), "WITHTIME")[5]
    assert not survives(store, "SLUICE.REFUND", "k", *policy.words(), "AT", at)


# Caches of clients


@pytest.mark.parametrize("policy", EACH, ids=NAMES)
def test_a_cache_of_a_client_hears_of_changes_alone(store, policy):
    with store.client() as client:
        client.ask("HELLO", 3)
        client.ask("CLIENT", "TRACKING", "ON")

        def hears(*words):
            client.ask("GET", "k")  # it is in the client's cache
            client.pushes.clear()
            store.ask(*words)
            client.ask("PING")
            return client.pushes == [["invalidate", ["k"]]]

        assert hears(*take("k", policy, policy.limit))
        assert not hears(*take("k", policy))
        assert not hears("SLUICE.PEEK", "k", *policy.words())
        assert not hears("SLUICE.MTAKE", "EACH", 1, "k", *policy.words())
        assert hears("SLUICE.RESET", "k")


def test_a_peek_of_a_client_that_caches_is_remembered(store):
    """PEEK reads a key, as GET does."""
    with store.client() as client:
        client.ask("HELLO", 3)
        client.ask("CLIENT", "TRACKING", "ON")
        assert client.ask("SLUICE.PEEK", "k", *TWO.words())[:3] == [1, 2, 2]
        store.ask(*take("k"))
        client.ask("PING")
        assert client.pushes == [["invalidate", ["k"]]]


# Keyspace notifications


class Events:
    """What subscribers of the keys of database 0 hear."""

    def __init__(self, store):
        store.settings(notify_keyspace_events="KA")
        self.store, self.client = store, store.client()
        self.client.ask("PSUBSCRIBE", "__keyspace@0__:*")

    def of(self, *words):
        """The events that a command makes, key by key."""
        self.store.ask(*words)
        self.store.ask("PUBLISH", "__keyspace@0__:", "over")
        heard = []
        while (said := self.client.read())[3] != "over":
            heard.append((said[2].split(":", 1)[1], said[3]))
        return heard


@pytest.mark.parametrize("policy", EACH, ids=NAMES)
def test_keyspace_notifications(store, policy):
    events = Events(store)
    heard = events.of(*take("k", policy))
    assert heard in ([("k", "set"), ("k", "expire")], [("k", "set")]), heard
    for _ in range(policy.limit - 1):
        heard = events.of(*take("k", policy))
        assert heard and heard[0] in (("k", "setrange"), ("k", "set")) and heard[1:] in ([], [("k", "expire")]), heard
    for words in (take("k", policy), ["SLUICE.PEEK", "k", *policy.words()], ["SLUICE.MTAKE", "EACH", 1, "k", *policy.words()],
                  ["SLUICE.REFUND", "k", *policy.words(), "AT", 1], ["SLUICE.RESET", "nobody"]):
        assert events.of(*words) == [], words
    assert events.of("SLUICE.RESET", "k") == [("k", "del")]
    at = store.ask(*take("k", policy), "WITHTIME")[5]
    events = Events(store)
    assert events.of("SLUICE.REFUND", "k", *policy.words(), "AT", at) == [("k", "setrange")]
    store.ask("DEL", "k")
    events = Events(store)
    heard = events.of("SLUICE.MTAKE", "ALL", 2, "k", "l", *policy.words())
    assert [event for event in heard if event[1] != "expire"] == [("k", "set"), ("l", "set")], heard


def test_the_event_of_expiry(store):
    events = Events(store)
    heard = events.of(*take("k", Policy("sliding-log", 2, 1)))
    wait_until(lambda: store.ask("DBSIZE") == 0, what="the key to expire")
    heard += events.of("PING")
    assert heard[-1] == ("k", "expired"), heard


def test_events_are_heard_when_others_write_at_the_same_time(store):
    """In one pipeline: each take has its own."""
    events = Events(store)
    with store.client() as client:
        client.flood(*[command(*take(f"k{i}")) for i in range(100)])
    heard = events.of("PING")
    assert [key for key, event in heard if event == "set"] == [f"k{i}" for i in range(100)]
