# SPDX-License-Identifier: Apache-2.0
"""The module's life in a server: loaded, refused, unloaded, asked how it is; and when the server is full."""
import random

import pytest

from support.module import RedisError, assert_same, command, contents, expiry_words, follow, in_step, module_path
from support.redis import is_valkey, server_version
from support.takes import ALGORITHMS, TAKE, Load, Policy, Traffic, count_answers, script, script_words
from support.waiting import wait_until

TEN = Policy("sliding-log", 10, 600000)
COMMANDS = {"sluice.take", "sluice.peek", "sluice.refund", "sluice.reset", "sluice.mtake", "sluice.info", "cl.throttle"}


def take_words(policy=TEN, key="k"):
    return ["SLUICE.TAKE", key, *policy.words()]


def take(store, key="k", policy=TEN):
    return store.ask(*take_words(policy, key))


def loaded(store):
    """Without those that some servers bring along."""
    found = [dict(zip(words[::2], words[1::2])) for words in store.ask("MODULE", "LIST")]
    return [module for module in found if module["name"] not in ("lua", "vectorset")]


def remembers_commands():
    """Redis 8 takes the last command of a connection once more when the next has the same name."""
    return server_version() >= (8,) and not is_valkey()


def commands(store):
    return {entry[0] for entry in store.ask("COMMAND") if entry[0].startswith(("sluice.", "cl."))}


# Load and unload


def test_loaded_with_the_server(store):
    (module,) = loaded(store)
    assert module["name"] == "sluice" and module["ver"] > 0
    assert commands(store) == COMMANDS
    assert "sluice" in store.log()


def test_loaded_at_run_time(start_store):
    store = start_store(module=False)
    assert store.ask("MODULE", "LOAD", module_path()) == "OK"
    assert take(store)[:3] == [1, 10, 9]


@pytest.mark.parametrize("arguments, offered", [(["cl-throttle", "yes"], True), (["cl-throttle", "no"], False),
                                                (["CL-THROTTLE", "NO"], False)])
def test_cl_throttle_is_offered_or_not(start_store, arguments, offered):
    store = start_store(module_arguments=arguments)
    assert commands(store) == (COMMANDS if offered else COMMANDS - {"cl.throttle"})
    assert take(store)[:3] == [1, 10, 9]


@pytest.mark.parametrize("arguments", [["cl-throttle"], ["cl-throttle", "maybe"], ["cl-throttle", ""], ["other"], ["other", "yes"],
                                       ["cl-throttle", "yes", "more"], ["cl-throttle", "no\0"], ["cl-throttle", "yes", "cl-throttle"],
                                       ["x" * 100000]], ids=lambda words: " ".join(words)[:30])
def test_a_bad_argument_is_refused(start_store, arguments):
    store = start_store(module=False)
    with pytest.raises(RedisError, match="ERR"):
        store.ask("MODULE", "LOAD", module_path(), *arguments)
    said = [line for line in store.log().splitlines() if "sluice" in line.lower()]
    assert any("cl-throttle" in line or "argument" in line for line in said), store.log()[-1000:]
    assert not loaded(store) and not commands(store)
    assert store.ask("MODULE", "LOAD", module_path()) == "OK"
    assert take(store)[:3] == [1, 10, 9]


def test_a_bad_argument_at_the_start_of_the_server(start_store):
    with pytest.raises(AssertionError, match="ended with 1") as ended:
        start_store(module_arguments=["cl-throttle", "maybe"])
    assert "cl-throttle" in str(ended.value)


def test_loaded_twice(store):
    take(store)
    with pytest.raises(RedisError, match="ERR"):
        store.ask("MODULE", "LOAD", module_path())
    assert "there is a module sluice already" in store.log()
    assert len(loaded(store)) == 1
    assert take(store)[:3] == [1, 10, 8]
    assert store.counters()["decisions"] == 2


def test_unloaded_and_loaded_again(store):
    for left in (9, 8, 7):
        assert take(store)[:3] == [1, 10, left]
    before = contents(store)
    assert store.ask("MODULE", "UNLOAD", "sluice") == "OK"
    assert not loaded(store) and not commands(store)
    with pytest.raises(RedisError, match="unknown command"):
        take(store)
    assert "# sluice" not in store.ask("INFO", "everything")
    assert contents(store) == before
    assert store.ask("MODULE", "LOAD", module_path()) == "OK"
    assert take(store)[:3] == [1, 10, 6]


@pytest.mark.skipif(remembers_commands(), reason="Redis 8 closes the connections: the next test")
def test_unloaded_and_loaded_again_under_load(start_store, store):
    """Takes in between are refused by the server; none is lost or counted twice."""
    replica = start_store(module=False)
    store.ask("CONFIG", "SET", "appendonly", "yes")
    follow(replica, store)
    limit = Policy("fixed-window", 16777216, 36000000)
    allowed = 0
    with store.client() as client, store.client() as operator:
        for _ in range(30):
            with store.held():  # the operator's words come in the middle of the takes
                client.send(command("SLUICE.TAKE", "k", *limit.words()) * 50)
                operator.send(command("MODULE", "UNLOAD", "sluice"))
            replies = [client.read_any() for _ in range(50)]
            assert operator.read() == "OK"
            allowed += sum(isinstance(reply, list) and reply[0] for reply in replies)
            assert all(isinstance(reply, list) or "unknown command" in str(reply) for reply in replies)
            refused = client.pipeline(["SLUICE.TAKE", "k", *limit.words()])[0]
            assert "unknown command" in str(refused)
            assert operator.ask("MODULE", "LOAD", module_path()) == "OK"
    assert limit.limit - store.ask("SLUICE.PEEK", "k", *limit.words())[2] == allowed
    in_step(store, replica)
    assert_same(store, replica)


def test_a_connection_that_outlives_the_module(store):
    """Redis 8 would take its last command once more, which is there no longer: there it does not outlive it."""
    with store.client() as client, store.client() as other:
        for left in (9, 8, 7):
            assert client.ask("SLUICE.TAKE", "k", *TEN.words())[:3] == [1, 10, left]
            assert other.ask("PING") == "PONG"
            assert store.ask("MODULE", "UNLOAD", "sluice") == "OK"
            try:
                with pytest.raises(RedisError, match="unknown command"):
                    client.ask("SLUICE.TAKE", "k", *TEN.words())
                assert not remembers_commands()
            except OSError:
                assert remembers_commands() and "1 connections whose last command was ours" in store.log()
                client.__init__((store.host, store.port))
            assert other.ask("PING") == "PONG"
            assert store.ask("MODULE", "LOAD", module_path()) == "OK"


def test_not_unloaded_while_its_commands_wait_in_a_transaction(store):
    """Redis would carry out what is there no longer, and end. (redis/redis issue 4826)"""
    with store.client() as client:
        client.pipeline(["MULTI"], ["SLUICE.TAKE", "k", *TEN.words()])
        with pytest.raises(RedisError, match="unload"):
            store.ask("MODULE", "UNLOAD", "sluice")
        assert "commands wait in a transaction" in store.log()
        assert client.ask("EXEC")[0][:3] == [1, 10, 9]
        replies = client.pipeline(["MULTI"], ["SLUICE.TAKE", "k", *TEN.words()], ["MODULE", "UNLOAD", "sluice"],
                                  ["SLUICE.TAKE", "k", *TEN.words()], ["EXEC"])[-1]
        assert replies[0][:3] == [1, 10, 8] and isinstance(replies[1], RedisError) and replies[2][:3] == [1, 10, 7]
        assert client.ask("MULTI") == "OK"  # in which nothing waits yet
        assert store.ask("MODULE", "UNLOAD", "sluice") == "OK"
        refused, dropped = client.pipeline(["SLUICE.TAKE", "k", *TEN.words()], ["EXEC"])
        assert "unknown command" in str(refused) and str(dropped).startswith("EXECABORT")
    assert not commands(store)


@pytest.mark.skipif(server_version() < (6, 2), reason="CLIENT PAUSE holds up the operator as well")
def test_not_unloaded_while_its_commands_are_held_up(store):
    """By CLIENT PAUSE, or while a FAILOVER is on its way. The server looks a command up before it is held up, and newer ones
    don't look again."""
    with store.client() as client, store.client() as operator:
        assert operator.ask("CLIENT", "PAUSE", 600000, "WRITE") == "OK"
        client.send(command("SLUICE.TAKE", "k", *TEN.words()))
        wait_until(lambda: any(" flags=b " in line and " cmd=sluice.take " in line
                               for line in operator.ask("CLIENT", "LIST").splitlines()), what="the take to be held up")
        with pytest.raises(RedisError, match="unload"):
            operator.ask("MODULE", "UNLOAD", "sluice")
        assert "held up" in store.log()
        assert operator.ask("CLIENT", "UNPAUSE") == "OK"
        assert client.read()[:3] == [1, 10, 9]
        assert operator.ask("MODULE", "UNLOAD", "sluice") == "OK"


# INFO


def section(store):
    """What INFO says of us."""
    return {name.split("_", 1)[1]: value for name, value in store.info("sluice").items() if name.startswith("sluice_")}


def test_info(store):
    assert section(store)["decisions"] == "0" and section(store)["denials"] == "0" and section(store)["errors"] == "0"
    for _ in range(12):
        take(store)
    store.ask("SLUICE.MTAKE", "EACH", 2, "k", "l", *TEN.words())
    with store.client() as client:
        client.pipeline(["SLUICE.TAKE", "k", "sliding-log", 0, "1s"], ["SLUICE.TAKE", "k", "sliding-log", 1, "x"])
    found = section(store)
    assert (found["decisions"], found["denials"], found["errors"]) == ("14", "3", "2"), found
    counted = store.counters()
    assert [int(counted[name]) for name in ("decisions", "denials", "errors")] == [14, 3, 2]
    assert counted["version"] and int(counted["state_format"]) == int(counted["packed_format"]) == 1
    assert counted["missing"] is not None
    for name in ("sluice", "everything", "modules"):
        assert "decisions:14" in store.ask("INFO", name), name


def test_info_counts_traffic(store):
    traffic = Traffic(1, keys=200)
    with store.client() as client:
        allowed, denied = count_answers(client.flood(traffic.mtake(500), traffic.takes(500), traffic.mtake(500)))
        found = section(store)
    assert (int(found["decisions"]), int(found["denials"])) == (allowed + denied, denied)


def test_sluice_info_in_resp3(store):
    with store.client() as client:
        client.ask("HELLO", 3)
        said = client.ask("SLUICE.INFO")
        names = list(said) if isinstance(said, dict) else said[::2]
    assert names == ["version", "state_format", "packed_format", "decisions", "denials", "errors", "missing"]
    assert list(store.counters()) == names


def test_answers_are_the_same_in_both_protocols(store):
    with store.client() as client:
        for protocol, left in ((2, 9), (3, 8)):
            client.ask("HELLO", protocol)
            answer = client.ask("SLUICE.TAKE", "k", *TEN.words(), "WITHTIME")
            assert answer[:4] == [1, 10, left, 0] and all(type(number) is int for number in answer) and len(answer) == 6
            both = client.ask("SLUICE.MTAKE", "ALL", 2, "a", "b", *TEN.words())
            assert [len(one) for one in both] == [5, 5] and both[0][:4] == [1, 10, left, 0]
            assert client.ask("SLUICE.TAKE", "k", *TEN.words(11))[:4] == [0, 10, left, -1]
            assert client.ask("CL.THROTTLE", f"c{protocol}", 1, 1, 60)[:4] == [0, 2, 1, -1]
            assert client.ask("SLUICE.RESET", "nobody") == 0


# How long keys live


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("window_ms", [1, 100, 2000, 60000, 86400000, 366 * 86400000])
def test_a_key_outlives_its_state_by_a_second(store, algorithm, window_ms):
    """And by no more than an eighth of the window, or a minute, and what the script gives it; whoever takes last."""
    rnd = random.Random(window_ms)
    policy = Policy(algorithm, 50, window_ms)
    with store.client() as client:
        load = client.ask("SCRIPT", "LOAD", script())
        for _ in range(100):
            key = f"k{rnd.randrange(5)}"
            cost = rnd.choice((1, 1, 5, 50))
            take = rnd.choice((["SLUICE.TAKE", key, *policy.words(cost)], ["SLUICE.MTAKE", "EACH", 1, key, *policy.words(cost)],
                               script_words(TAKE, [key], [(policy, cost, None)], load)))
            _, look, *told = client.pipeline(take, ["SLUICE.TAKE", key, *policy.words(), "PEEK", "WITHTIME"], expiry_words(key), ["TIME"])
            reset_us, at_us = look[4:]
            if reset_us == 0:  # its state is empty by now: it need not be there
                continue
            earliest_ms, latest_ms = expiry_of(at_us, *told)
            end_ms = (at_us + reset_us) / 1000  # moments, as the machine may pause between the answers
            assert end_ms + 1000 <= latest_ms + 1, (take, look, told)
            assert earliest_ms <= end_ms + 2 * window_ms + min(window_ms / 8, 60000) + 2001, (take, look, told)


def expiry_of(since_us, answer, time):
    """Between which moments a key expires, by the answers to expiry_words() and then to TIME, in ms since 1970.
    @param since_us  a moment before the first of them."""
    now_ms = int(time[0]) * 1000 + int(time[1]) / 1000
    if answer == -2:
        return 0, now_ms  # it has expired
    if server_version() >= (7,):
        return answer, answer
    return since_us / 1000 + answer, now_ms + answer  # a server before 7.0 tells how long it still lives


def test_a_key_lives_as_long_as_the_longest_window(store):
    """It may be taken from under two policies: what a short one does must not let the long one forget."""
    long, short = Policy("sliding-log", 10, 1800000), Policy("sliding-log", 10, 1000)
    with store.client() as client:
        taken = client.ask("SLUICE.TAKE", "k", *long.words(), "WITHTIME")
        assert taken[0] == 1
        for _ in range(3):
            assert client.ask("SLUICE.TAKE", "k", *short.words())[0] == 1
        _, latest_ms = expiry_of(taken[5], *client.pipeline(expiry_words("k"), ["TIME"]))
    assert latest_ms > taken[5] / 1000 + 1800000
    assert store.ask("SLUICE.PEEK", "k", *long.words())[2] == 6


def test_a_key_that_was_made_to_stay_expires_again(store):
    """At the first take that needs more than is noted of its expiry (redis-module/note.h)."""
    short, long = Policy("sliding-log", 10, 1800000), Policy("sliding-log", 10, 2000000)
    for policy, stays in (short, True), (long, False):
        assert store.ask("SLUICE.TAKE", "k", *short.words())[0] == 1
        store.ask("PERSIST", "k")
        assert store.ask("SLUICE.TAKE", "k", *policy.words())[0] == 1
        assert (store.ask("PTTL", "k") == -1) == stays
    with store.client() as client:
        look, *told = client.pipeline([*take_words(long), "PEEK", "WITHTIME"], expiry_words("k"), ["TIME"])
    earliest_ms, latest_ms = expiry_of(look[5], *told)
    end_ms = (look[5] + look[4]) / 1000  # of the state, by the take that was the last
    assert end_ms < latest_ms and earliest_ms <= end_ms + 61002


# A full server


def fill(store):
    store.settings(maxmemory=int(store.info("memory")["used_memory"]) + (1 << 20), maxmemory_policy="noeviction")
    with store.client() as client:
        for i in range(2000):
            if isinstance(client.pipeline(["SET", f"fill:{i}", "x" * 10000])[0], RedisError):
                break
        store.settings(maxmemory=1)  # whatever comes free


def test_a_full_server_takes_nothing(store):
    take(store)
    take(store, "b", Policy("token-bucket", 10, 600000))
    fill(store)
    before = contents(store)
    with store.client() as client:
        for words in (["SLUICE.TAKE", "new", *TEN.words()], ["SLUICE.TAKE", "k", *TEN.words()],
                      ["SLUICE.MTAKE", "EACH", 2, "k", "new", *TEN.words()], ["SLUICE.MTAKE", "ALL", 1, "b", "token-bucket", 10, "10m"],
                      ["CL.THROTTLE", "c", 1, 1, 1]):
            assert str(client.pipeline(words)[0]).startswith("OOM "), words
        lua = "return redis.call('SLUICE.TAKE', KEYS[1], 'sliding-log', '10', '1h')"
        assert "OOM" in str(client.pipeline(["EVAL", lua, 1, "new"])[0])
        assert contents(store) == before
        # What makes nothing larger goes on.
        assert client.ask("SLUICE.PEEK", "k", *TEN.words())[:3] == [1, 10, 9]
        assert client.ask("SLUICE.RESET", "k") == 1
        assert client.ask("SLUICE.INFO")
        store.settings(maxmemory=0)
        assert client.ask("SLUICE.TAKE", "k", *TEN.words())[:3] == [1, 10, 9]


def test_a_server_that_may_not_write(store):
    store.settings(min_replicas_to_write=1)
    with pytest.raises(RedisError, match="NOREPLICAS"):
        take(store)
    assert store.ask("SLUICE.PEEK", "k", *TEN.words())[:3] == [1, 10, 10]
    assert store.ask("DBSIZE") == 0


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl", "allkeys-random", "volatile-lfu"])
def test_a_server_that_evicts(start_store, store, policy):
    """It forgets clients, which is why operators should not; but it works on, and its replica with it."""
    replica = start_store(module=False, arguments=["--maxmemory-policy", "noeviction"])
    follow(replica, store)
    in_step(store, replica)
    store.settings(maxmemory=int(store.info("memory")["used_memory"]) + (3 << 20), maxmemory_policy=policy)
    with Load(store, connections=2, keys=20000, windows_ms=(60000, 600000)) as load:
        wait_until(lambda: int(store.info("stats")["evicted_keys"]) > 100, what="keys to be evicted")
        load.goes_on(3000)
    store.settings(maxmemory=0)  # it forgets no more
    in_step(store, replica)
    assert_same(store, replica, at_least=100)
