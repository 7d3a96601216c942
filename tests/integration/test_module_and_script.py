# SPDX-License-Identifier: Apache-2.0
"""The module and the Lua script on the same keys: each understands what the other has written, to the unit and the
microsecond."""
import random
import threading

import pytest

from support.module import assert_same, contents, follow, in_step
from support.redis import is_valkey
from support.takes import (ALGORITHMS, PEEK, REFUND, RESET, TAKE, Answer, Policy, packed_requests, random_policy, script,
                           script_words, unpack_answers)

MINUTES = 3600000
YEAR = 366 * 86400000
EXACT = [Policy("sliding-log", 10, MINUTES), Policy("sliding-log", 700, MINUTES), Policy("sliding-log", 5000, MINUTES),
         Policy("sliding-log", 16, 4 * MINUTES), Policy("sliding-counter", 700, MINUTES), Policy("fixed-window", 700, MINUTES),
         Policy("token-bucket", 700, YEAR), Policy("token-bucket", 500, YEAR, 700)]
NAMES = [f"{policy.algorithm}-{policy.most}" for policy in EXACT]


@pytest.fixture
def store(shared_store):
    shared_store.ask("FLUSHALL")
    return shared_store


class Both:
    """Asks the module and the script on one connection."""

    def __init__(self, store):
        self.client = store.client()
        self.load = self.client.ask("SCRIPT", "LOAD", script())

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.client.close()

    def by_script(self, verb, keys, takes):
        """@param takes  (policy, cost, time to give back to or None) for each key."""
        return script_words(verb, keys, takes, self.load)

    def peeks_agree(self, key, policy, cost):
        """A peek by the script between two by the module. Time only ever gives back, so its answer lies between theirs."""
        look = ["SLUICE.TAKE", key, *policy.words(cost), "PEEK", "WITHTIME"]
        first, said, last = self.client.pipeline(look, self.by_script(PEEK, [key], [(policy, cost, None)]), look)
        said = unpack_answers(said)[0]
        first, last = (Answer(told[0], *told[2:]) for told in (first, last))
        about = (key, policy, cost, first, said, last)
        # Valkey 9 adds up the time of a script from how long commands took, and is at times a microsecond behind.
        assert first.at_us - (5 if is_valkey() else 0) <= said.at_us <= last.at_us, about
        assert first.flags <= said.flags <= last.flags and first.remaining <= said.remaining <= last.remaining, about
        if first.flags == last.flags == 0:  # waits are told from now, so these are moments
            if first.retry_us < 0:
                assert said.retry_us == -1, about
            else:
                assert_between(first.retry_us + first.at_us, said.retry_us + said.at_us, last.retry_us + last.at_us, about)
        if 0 not in (first.reset_us, last.reset_us):
            assert_between(first.reset_us + first.at_us, said.reset_us + said.at_us, last.reset_us + last.at_us, about)


def assert_between(first, said, last, about):
    """Moments may differ by what one rounding gives or takes."""
    assert min(first, last) - 1 <= said <= max(first, last) + 1, about


class Walk:
    """Random commands of both kinds on a few keys; what was taken is kept, to be given back by either."""

    def __init__(self, both, seed):
        self.both, self.random = both, random.Random(seed)
        self.keys = [f"w{i}" for i in range(12)]
        self.policies = {key: [random_policy(self.random, (20, 1000, 60000, 5 * MINUTES)) for _ in range(2)] for key in self.keys}
        for key, policies in self.policies.items():
            policies.append(policies[0]._replace(limit=max(1, policies[0].limit // 2), burst=0))
            policies.append(policies[0])
        self.taken = []
        self.steps = dict.fromkeys(("take", "script take", "many", "script many", "packed", "refund", "script refund", "reset"), 0)

    def some(self, n):
        keys = self.random.sample(self.keys, n)
        rnd = self.random
        policies = [rnd.choices(self.policies[key], (6, 1, 2, 1))[0] for key in keys]
        costs = [rnd.choice((1, 1, 1, 2, 5, max(1, policy.most // 3), policy.most)) for policy in policies]
        return keys, policies, costs

    def keep(self, keys, policies, costs, allowed, at_us):
        self.taken += [(key, policy, cost, int(at)) for key, policy, cost, ok, at in zip(keys, policies, costs, allowed, at_us) if ok]
        del self.taken[:-30]

    def step(self):
        kind = self.random.choices(list(self.steps), (6, 6, 2, 2, 2, 3, 3, 1))[0]
        self.steps[kind] += 1
        keys, policies, costs = self.some(1 if kind in ("take", "script take") else self.random.choice((2, 3, 6)))
        takes = list(zip(policies, costs, [None] * len(keys)))
        client = self.both.client
        if kind == "take":
            answer = client.ask("SLUICE.TAKE", *keys, *policies[0].words(costs[0]), "WITHTIME")
            self.keep(keys, policies, costs, [answer[0]], [answer[5]])
        elif kind.startswith("script") and kind != "script refund":
            answers = unpack_answers(client.ask(*self.both.by_script(TAKE, keys, takes)))
            allowed = all(answer.flags & 1 for answer in answers)
            self.keep(keys, policies, costs, [allowed] * len(keys), [answer.at_us for answer in answers])
        elif kind == "many":
            words = [word for policy, cost in zip(policies, costs) for word in policy.words(cost)]
            client.ask("SLUICE.MTAKE", self.random.choice(("ALL", "EACH")), len(keys), *keys, *words)
        elif kind == "packed":
            request = list(enumerate(costs))
            requests = [request] if self.random.random() < 0.5 else [[take] for take in request]
            answers = unpack_answers(client.ask("SLUICE.MTAKE", "EACH", len(keys), *keys, "PACKED",
                                                packed_requests(policies, requests)))
            allowed = [answer.flags & 1 for answer in answers]
            if len(requests) == 1:
                allowed = [all(allowed)] * len(keys)
            self.keep(keys, policies, costs, allowed, [answer.at_us for answer in answers])
        elif kind == "reset":
            keys = keys[:1]
            client.ask(*self.random.choice((["SLUICE.RESET", *keys], self.both.by_script(RESET, keys, takes[:1]))))
        elif self.taken:
            key, policy, cost, at_us = self.taken.pop(self.random.randrange(len(self.taken)))
            keys, policies, costs = [key], [policy], [cost]
            if kind == "refund":
                client.ask("SLUICE.REFUND", key, *policy.words()[:3], "AT", at_us, *policy.words(cost)[3:])
            else:
                client.ask(*self.both.by_script(REFUND, [key], [(policy, cost, at_us)]))
        for key, policy, cost in zip(keys, policies, costs):
            self.both.peeks_agree(key, policy, cost)
            self.both.peeks_agree(key, self.random.choice(self.policies[key]), 1)


@pytest.mark.parametrize("seed", range(8))
def test_they_say_the_same_of_what_either_has_written(start_store, store, seed):
    replica = start_store(module=False)
    follow(replica, store)
    with Both(store) as both:
        walk = Walk(both, seed)
        for _ in range(300):
            walk.step()
        assert min(walk.steps.values()) > 0, walk.steps
    in_step(store, replica)
    assert_same(store, replica)


@pytest.mark.parametrize("policy", EXACT, ids=NAMES)
def test_a_take_by_either_is_the_same(store, policy):
    """Two keys, one taken from by the module and one by the script, in the same words: after each the answers are alike, and
    each may be the other's from then on."""
    rnd = random.Random(policy.most)
    with Both(store) as both:
        for _ in range(120):
            cost = rnd.choice((1, 1, 3, max(1, policy.most // 7), policy.most + 1))
            taken, said = both.client.pipeline(["SLUICE.TAKE", "m", *policy.words(cost)],
                                               both.by_script(TAKE, ["s"], [(policy, cost, None)]))
            said = unpack_answers(said)[0]
            assert (taken[0], taken[2]) == (said.flags & 1, said.remaining), (taken, said)
            if rnd.random() < 0.3:  # on with the other's, without moving what a bucket owes
                both.client.pipeline(["RENAME", "m", "x"], ["RENAME", "s", "m"], ["RENAME", "x", "s"])
            both.peeks_agree("m", policy, 1)
            both.peeks_agree("s", policy, 1)


@pytest.mark.parametrize("policy", EXACT, ids=NAMES)
def test_the_limit_holds_for_both_together(store, policy):
    """From many connections at once, half of them by the script: just the limit passes, and the last state says so."""
    allowed, wrong = [], []

    def run(number):
        try:
            with Both(store) as both:
                for i in range(policy.most // 2):
                    if (i + number) % 2:
                        allowed.append(both.client.ask("SLUICE.TAKE", "k", *policy.words())[0])
                    else:
                        answer = unpack_answers(both.client.ask(*both.by_script(TAKE, ["k"], [(policy, 1, None)])))[0]
                        allowed.append(answer.flags & 1)
        except Exception as error:  # pylint: disable=broad-except
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong
    assert len(allowed) == 4 * (policy.most // 2) and allowed.count(1) == policy.most
    assert store.ask("SLUICE.PEEK", "k", *policy.words())[:3] == [0, policy.most, 0]
    assert list(contents(store)) == [b"k"]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_one_gives_back_the_other_may_take(store, algorithm):
    policy = Policy(algorithm, 10, YEAR if algorithm == "token-bucket" else MINUTES)
    with Both(store) as both:
        for _ in range(10):
            answer = both.client.ask("SLUICE.TAKE", "k", *policy.words(), "WITHTIME")
        assert both.client.ask("SLUICE.TAKE", "k", *policy.words())[0] == 0
        both.client.ask(*both.by_script(REFUND, ["k"], [(policy, 1, answer[5])]))
        said = unpack_answers(both.client.ask(*both.by_script(TAKE, ["k"], [(policy, 1, None)])))[0]
        assert (said.flags & 1, said.remaining) == (1, 0)
        assert both.client.ask("SLUICE.REFUND", "k", *policy.words(), "AT", int(said.at_us))[2] == 1
        assert both.client.ask("SLUICE.TAKE", "k", *policy.words())[:3] == [1, 10, 0]
