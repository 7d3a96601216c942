# SPDX-License-Identifier: Apache-2.0
"""SLUICE.REFUND, SLUICE.RESET and SLUICE.INFO: what they answer, what they change, and what they leave alone."""
import pytest

from support.module import RedisError, contents, differences, module_path, same
from support.takes import PEEK, REFUND, Policy, script, script_takes

LOG, COUNTER, WINDOW, BUCKET = policies = [Policy("sliding-log", 10, 1000000), Policy("sliding-counter", 10, 1000000),
                                           Policy("fixed-window", 10, 1000000), Policy("token-bucket", 10, 1000000)]
by_algorithm = pytest.mark.parametrize("policy", policies, ids=lambda policy: policy.algorithm)


def take(client, key, policy, cost=1):
    """The time that was decided for."""
    answer = client.ask("SLUICE.TAKE", key, *policy.words(cost), "WITHTIME")
    assert answer[0] == 1
    return answer[5]


def refund(client, key, policy, at_us, cost=1):
    return client.ask("SLUICE.REFUND", key, *policy.words()[:3], "AT", at_us, *policy.words(cost)[3:])


def changes(store):
    return int(store.info("persistence")["rdb_changes_since_last_save"])


# REFUND


@by_algorithm
def test_what_is_given_back_may_be_taken_again(store, policy):
    with store.client() as client:
        at_us = take(client, "k", policy, 8)
        assert client.ask("SLUICE.TAKE", "k", *policy.words(3))[0] == 0
        answer = refund(client, "k", policy, at_us, 5)
        assert answer[:4] == [1, 10, 7, 0] and 0 < answer[4] <= 2 * 10 ** 9
        assert client.ask("SLUICE.PEEK", "k", *policy.words())[:4] == [1, 10, 7, 0]
        assert client.ask("SLUICE.TAKE", "k", *policy.words(7))[:3] == [1, 10, 0]


@by_algorithm
def test_no_more_is_given_back_than_was_taken(store, policy):
    with store.client() as client:
        at_us = take(client, "k", policy, 3)
        expiry = contents(store)[b"k"][1]
        assert refund(client, "k", policy, at_us, 4)[:4] == [1, 10, 10, 0]
        # The key stays, and goes when it would have gone.
        before, so_far = contents(store), changes(store)
        assert expiry > 0 and same(before[b"k"][1], expiry)
        assert refund(client, "k", policy, at_us, 4)[:4] == [1, 10, 10, 0]
        assert not differences(contents(store), before) and changes(store) == so_far  # nobody is told of nothing
        assert client.ask("SLUICE.TAKE", "k", *policy.words(11))[0] == 0
        assert client.ask("SLUICE.TAKE", "k", *policy.words(10))[:3] == [1, 10, 0]


@by_algorithm
def test_what_was_not_taken_then_is_not_given_back(store, policy):
    with store.client() as client:
        at_us = take(client, "k", policy, 4)
        before = contents(store)
        for other_us in (0, at_us - 10 ** 13, at_us + 1, at_us + 10 ** 9):
            assert refund(client, "k", policy, other_us)[:4] == [1, 10, 6, 0], other_us
        assert not differences(contents(store), before)


@by_algorithm
def test_nothing_is_given_back_to_nobody(store, policy):
    assert refund(store, "k", policy, 10 ** 15) == [1, 10, 10, 0, 0]
    assert store.ask("DBSIZE") == 0


def test_a_bucket_gives_back_the_last_take_only(store):
    with store.client() as client:
        first_us = take(client, "k", BUCKET, 3)
        while take(client, "k", BUCKET) == first_us:
            refund(client, "k", BUCKET, first_us)
        assert refund(client, "k", BUCKET, first_us, 3)[:3] == [1, 10, 6]


@pytest.mark.parametrize("limit", [16, 1000, 5000])
def test_from_the_middle_of_a_log(store, limit):
    policy = Policy("sliding-log", limit, 1000000)
    with store.client() as client:
        times = [take(client, "k", policy) for _ in range(12)]
        take(client, "k", policy, limit - 12)
        assert client.ask("SLUICE.TAKE", "k", *policy.words())[0] == 0
        for given, at_us in enumerate(times[2:9], 1):
            assert refund(client, "k", policy, at_us)[:3] == [1, limit, given]
        assert client.ask("SLUICE.TAKE", "k", *policy.words(7))[:3] == [1, limit, 0]
        assert refund(client, "k", policy, times[10], 1)[:3] == [1, limit, 1]


@by_algorithm
def test_the_script_understands_what_is_left(store, policy):
    """What a server of Sluice without the module would do is the same, on the same bytes."""
    with store.client() as client:
        load = client.ask("SCRIPT", "LOAD", script())
        for cost in (1, 2, 6):
            at_us = take(client, "k", policy, 6)
            client.ask("SET", "l", client.ask("GET", "k").encode("latin-1"))
            answer = refund(client, "k", policy, at_us, cost)
            other, = script_takes(client, REFUND, ["l"], [(policy, cost, at_us)], load)
            assert (answer[2], answer[3]) == (other.remaining, other.retry_us)
            for key in ("k", "l"):
                ours = client.ask("SLUICE.PEEK", key, *policy.words())
                theirs, = script_takes(client, PEEK, [key], [(policy, 1, None)], load)
                assert ours[2] == theirs.remaining == 4 + cost, key
            client.ask("DEL", "k", "l")


@by_algorithm
def test_another_limit_of_the_same_algorithm(store, policy):
    """A refund under a limit that has changed since: never more than was taken."""
    with store.client() as client:
        at_us = take(client, "k", policy, 8)
        changed = policy._replace(limit=5)
        remaining = refund(client, "k", changed, at_us, 4)[2]
        # A bucket owes time: eight units of 100 s are four of 200 s.
        assert remaining == (5 if policy is BUCKET else 1)


# RESET


def test_states_are_forgotten(store):
    with store.client() as client:
        for policy in policies:
            take(client, policy.algorithm, policy)
        client.ask("SET", "left by redis-cell", "1700000000000000000", "EX", 100)
        client.ask("SET", "empty", "")
        client.ask("SETRANGE", "fixed-window", 20, b"\xff\xff\xff\xff\xff\xff")  # damaged
        names = [*(policy.algorithm for policy in policies), "left by redis-cell", "empty"]
        assert client.ask("SLUICE.RESET", *names, "nobody", names[0]) == 6
        assert client.ask("DBSIZE") == 0
        assert client.ask("SLUICE.RESET", *names) == 0
        assert client.ask("SLUICE.TAKE", "sliding-log", *LOG.words())[:3] == [1, 10, 9]


@pytest.mark.parametrize("other, refusal", [
    (("SET", "other", "hello"), "^ERR key holds no state"), (("SET", "other", "42"), "^ERR key holds no state"),
    (("SET", "other", b"\1\4\0\0"), "^ERR key holds no state"), (("SET", "other", b"\1\0" + b"\0" * 22), "^ERR key holds no state"),
    (("SET", "other", b"\1\5" + b"\0" * 22), "^ERR key holds no state"),
    (("SET", "other", b"\2\4" + b"\0" * 22), "^ERR key holds no state"),
    (("SET", "other", b"\1\1" + b"\0" * 22), "^ERR key holds no state"),
    (("RPUSH", "other", "a"), "^WRONGTYPE"), (("HSET", "other", "a", "b"), "^WRONGTYPE")])
def test_nothing_is_forgotten_when_one_is_no_state(store, other, refusal):
    with store.client() as client:
        take(client, "k", LOG)
        take(client, "l", LOG)
        client.ask(*other)
        before = contents(store)
        for words in (("other",), ("k", "other"), ("k", "l", "other"), ("other", "k"), ("k", "other", "l")):
            with pytest.raises(RedisError, match=refusal):
                client.ask("SLUICE.RESET", *words)
        assert not differences(contents(store), before)
    assert store.counters()["errors"] == 5


def test_reset_works_when_memory_is_full(store):
    """So does a refund: both make room."""
    with store.client() as client:
        at_us = take(client, "k", LOG, 3)
        store.settings(maxmemory=1)
        with pytest.raises(RedisError, match="^OOM"):
            client.ask("SLUICE.TAKE", "k", *LOG.words())
        assert refund(client, "k", LOG, at_us)[2] == 8
        assert client.ask("SLUICE.RESET", "k") == 1


# INFO


def test_info_tells_what_programs_ask_for(store):
    said = store.ask("SLUICE.INFO")
    assert said[::2] == ["version", "state_format", "packed_format", "decisions", "denials", "errors", "missing"]
    counters = dict(zip(said[::2], said[1::2]))
    assert counters["version"].count(".") == 2
    assert [counters[name] for name in ("state_format", "packed_format", "decisions", "denials", "errors")] == [1, 1, 0, 0, 0]


def test_the_section_of_info(store):
    with store.client() as client:
        for _ in range(12):
            client.ask("SLUICE.TAKE", "k", *LOG.words())
        client.ask("SLUICE.PEEK", "k", *LOG.words())
        refund(client, "k", LOG, 1)
        client.ask("SLUICE.RESET", "k")
        client.ask("SET", "other", "hello")
        for words in (["SLUICE.TAKE", "other", *LOG.words()], ["SLUICE.RESET", "other"], ["SLUICE.REFUND", "k", *LOG.words(), "AT", "x"]):
            with pytest.raises(RedisError):
                client.ask(*words)
    section = store.info("sluice")
    said = store.counters()
    assert section.keys() == {"sluice_version", "sluice_decisions", "sluice_denials", "sluice_errors"}
    assert section["sluice_version"] == said["version"]
    assert [int(section["sluice_" + name]) for name in ("decisions", "denials", "errors")] == [13, 3, 3]
    assert [said[name] for name in ("decisions", "denials", "errors")] == [13, 3, 3]
    assert "sluice_decisions" not in store.ask("INFO")  # which leaves modules out unless it is asked for everything
    assert "sluice_decisions:13" in store.ask("INFO", "everything") and "sluice_decisions:13" in store.ask("INFO", "modules")


# Categories


def test_a_category_of_our_own(store):
    """Where the server can have one, and also after the module was loaded again."""
    own = "own-acl-category" not in store.counters()["missing"].split()
    for _ in range(2):
        assert ("sluice" in store.ask("ACL", "CAT")) == own
        if own:
            store.ask("ACL", "SETUSER", "bob", "reset", "on", ">secret", "~*", "+@sluice")
            with store.client() as client:
                client.ask("AUTH", "bob", "secret")
                take(client, "k", LOG)
                assert client.ask("CL.THROTTLE", "l", 1, 1, 1)[0] == 0
                with pytest.raises(RedisError, match="^NOPERM"):
                    client.ask("GET", "k")
        store.ask("MODULE", "UNLOAD", "sluice")
        store.ask("MODULE", "LOAD", module_path())
