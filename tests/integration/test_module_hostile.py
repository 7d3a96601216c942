# SPDX-License-Identifier: Apache-2.0
"""Whatever is sent to the module, and whatever its keys hold: it answers, and what it refuses changes nothing.

`make test` runs this on a module that was built with sanitizers, as all tests of the module once more. SLUICE_SEED repeats
a run, SLUICE_TEST_HOSTILE_COMMANDS makes it longer.
"""
import os
import random

import pytest

from support.hostile import Hostile, well_formed
from support.module import RedisError, assert_all_expire, assert_same, follow, in_step
from support.takes import TAKE, script, script_words

COMMANDS = int(os.environ.get("SLUICE_TEST_HOSTILE_COMMANDS", "200000"))
A_PIPELINE = 250
MEMORY = str(256 << 20)  # a ring of 16 million entries is 64 MB


@pytest.fixture
def hostile():
    seed = int(os.environ.get("SLUICE_SEED") or random.SystemRandom().randrange(2 ** 32))
    print(f"SLUICE_SEED={seed}")
    return Hostile(seed)


def assert_alive(store):
    assert store.ask("PING") == "PONG"
    assert store.process.poll() is None


def drop_other_kinds(store):
    """What is no string was never the module's."""
    with store.client() as client:
        for key in client.ask("KEYS", "*"):
            if client.ask("TYPE", key.encode("latin-1")) != "string":
                client.ask("DEL", key.encode("latin-1"))


@pytest.mark.parametrize("protocol", [2, 3])
def test_any_arguments_on_any_key(start_store, hostile, protocol):
    store, replica = start_store(), start_store(module=False)
    store.ask("CONFIG", "SET", "maxmemory", MEMORY)
    follow(replica, store)
    in_step(store, replica)
    refused = decided = 0
    with store.client() as client:
        client.ask("HELLO", protocol)
        hostile.load = client.ask("SCRIPT", "LOAD", script())
        for _ in range(COMMANDS // 2 // A_PIPELINE):
            if hostile.random.random() < 0.05:  # not after the last of them: what is compared then are keys
                client.ask("FLUSHALL")
            commands = [hostile.placed() if hostile.random.random() < 0.1 else hostile.command() for _ in range(A_PIPELINE)]
            for words, reply in zip(commands, client.pipeline(*commands)):
                if isinstance(words[0], str):
                    continue  # it was placed there
                assert well_formed(words, reply), (words, reply)
                hostile.learn(words, reply)
                refused += isinstance(reply, RedisError)
                decided += not isinstance(reply, RedisError)
            state = client.pipeline(["GET", hostile.random.choice(hostile.keys)])[0]
            hostile.learn_state(None if isinstance(state, RedisError) else state)
    assert_alive(store)
    assert min(refused, decided) > COMMANDS // 20
    in_step(store, replica)
    assert_same(store, replica)
    drop_other_kinds(store)
    assert_all_expire(store)
    store.ask("DEBUG", "RELOAD")
    assert_alive(store)


def seen(replies):
    """What the server held, and how much was changed so far; without what expired by itself."""
    digest, persistence, stats = replies
    told = dict(line.split(":", 1) for line in (persistence + stats).splitlines() if ":" in line)
    return digest, told["rdb_changes_since_last_save"], told["expired_keys"]


def test_what_is_refused_or_denied_changes_nothing(store, hostile):
    store.ask("CONFIG", "SET", "maxmemory", MEMORY)
    question = [["DEBUG", "DIGEST"], ["INFO", "persistence"], ["INFO", "stats"]]
    compared = 0
    with store.client() as client:
        hostile.load = client.ask("SCRIPT", "LOAD", script())
        for i in range(COMMANDS // 20):
            words = hostile.command()
            replies = client.pipeline(hostile.placed(), *question, words, *question)
            reply, before, after = replies[4], seen(replies[1:4]), seen(replies[5:])
            denied = isinstance(reply, list) and words[0] in (b"SLUICE.TAKE", b"SLUICE.PEEK") and reply[0] == 0
            if (isinstance(reply, RedisError) or denied or words[0] == b"SLUICE.PEEK") and before[2] == after[2]:
                assert before == after, (words, reply)
                compared += 1
            hostile.learn(words, reply)
            if i % 10 == 0:
                state = client.pipeline(["GET", hostile.random.choice(hostile.keys)])[0]
                hostile.learn_state(None if isinstance(state, RedisError) else state)
            if i % 500 == 0:
                client.ask("FLUSHALL")
    assert_alive(store)
    assert compared > COMMANDS // 100


def test_a_key_without_expiry_gets_one_by_what_is_taken(store, hostile):
    """What was put there by another hand, for ever."""
    taken = 0
    with store.client() as client:
        hostile.load = client.ask("SCRIPT", "LOAD", script())
        for _ in range(COMMANDS // 100):
            policy, words = hostile.policies()[0], hostile.take()
            placed = client.pipeline(["DEL", words[1]], script_words(TAKE, [words[1]], [(policy, 1, None)], hostile.load),
                                     ["PERSIST", words[1]], words, ["PTTL", words[1]])
            if isinstance(placed[3], list) and placed[3][0] == 1 and b"PEEK" not in words:
                assert placed[4] > 0, (policy, words)
                taken += 1
    assert_alive(store)
    assert taken > COMMANDS // 1000
