# SPDX-License-Identifier: Apache-2.0
"""CL.THROTTLE against the algorithm that redis-cell publishes, in exact arithmetic; and the keys that redis-cell left."""
import random
import struct

import pytest

from support.module import RedisError, assert_all_expire, assert_same, contents, differences, follow, in_step

CLOCKS_US = 100  # by which the clock of TIME may be off that of decisions: servers read different ones
NOT_AN_INTEGER = ["", " ", "1.5", "x", "1 ", "--1", "1e3", "9223372036854775808", "0x10", "1\0"]


class Cell:
    """What redis-cell answers: a theoretical arrival time for each key, which every unit moves on by period / count. There
    that is rounded down to whole nanoseconds; here nothing is rounded, as times are counted in parts of 1 / count us. Waits
    are rounded up."""

    def __init__(self, max_burst, count, period):
        self.limit, self.count, self.unit = max_burst + 1, count, period * 10 ** 6
        self.arrival = 0

    def seconds(self, time):
        return -(-time // (self.count * 10 ** 6))

    def ask(self, now_us, quantity):
        """(answer, arrival time after the call)"""
        now, burst = now_us * self.count, self.limit * self.unit
        arrival = max(now, self.arrival)
        after = arrival + quantity * self.unit
        early = after - burst - now
        retry = self.seconds(early) if early > 0 and quantity <= self.limit else -1
        if early <= 0:
            arrival = max(now, after)  # redis-cell fails when more is given back than was taken
        remaining = max(0, (burst - (arrival - now)) // self.unit)
        answer = [int(early > 0), self.limit, remaining, retry, self.seconds(arrival - now)]
        return answer, arrival if early <= 0 and quantity != 0 else self.arrival


def throttle(client, key, *words):
    """(the time before, the answer, the time after, what the key holds then)"""
    before, answer, after, value = client.pipeline(["TIME"], ["CL.THROTTLE", key, *words], ["TIME"], ["GET", key])
    before, after = (int(seconds) * 10 ** 6 + int(us) for seconds, us in (before, after))
    return before, answer, after, value


def at_once(client, *commands):
    """Answers of which the later ones hold for less than a second: commands in one write and one turn of the server's loop,
    so that only who stops the server between the two can come in between."""
    return client.pipeline(*commands)


def newest_us(value):
    return struct.unpack_from("<Q", value.encode("latin-1"), 4)[0]


def check(client, key, cell, words, quantity):
    """One call. A take that passed tells in its state for what time it was decided; of others it is known to a few us."""
    before_us, answer, after_us, value = throttle(client, key, *words, quantity)
    passed = quantity > 0 and answer[0] == 0 and value is not None  # which has expired when the server stood still for seconds
    before_us, after_us = before_us - CLOCKS_US, after_us + CLOCKS_US
    times_us = [newest_us(value)] if passed else range(before_us, after_us + 1)
    assert before_us <= times_us[0] <= times_us[-1] <= after_us
    arrival = next((arrival for expected, arrival in (cell.ask(now_us, quantity) for now_us in times_us) if expected == answer),
                   None)
    assert arrival is not None, (answer, cell.ask(times_us[0], quantity), cell.ask(times_us[-1], quantity))
    cell.arrival = arrival
    return answer


@pytest.mark.parametrize("words", [(0, 1, 1), (15, 30, 60), (4, 2, 1), (2, 7, 3), (9, 999983, 60), (99, 100000, 1), (0, 30000, 1),
                                   (500, 16777216, 1000), (16777215, 16777216, 3600), (3, 1, 31622400)], ids=str)
def test_answers_as_redis_cell(store, words):
    rnd, cell = random.Random(str(words)), Cell(*words)
    seen = set()
    with store.client() as client:
        for _ in range(600):
            quantity = rnd.choice([0, 1, 1, 1, 2, rnd.randint(0, words[0] + 3)])
            seen.add(check(client, "k", cell, words, quantity)[0])
    assert seen == {0, 1}  # some passed, some did not


def test_what_is_given_back(store):
    words = (9, 10, 10000)
    cell = Cell(*words)
    with store.client() as client:
        for quantity, remaining in [(7, 3), (-2, 5), (6, 5), (5, 0), (-1, 1), (-100, 10), (-1, 10), (10, 0), (-3, 3), (1, 2)]:
            assert check(client, "k", cell, words, quantity)[2] == remaining, quantity
        # A denial at a time when nothing is left, and what gives nothing back, change nothing.
        client.ask("CL.THROTTLE", "k", *words, 2)
        before, changes = contents(store), store.info("persistence")["rdb_changes_since_last_save"]
        for quantity in (1, 5, 11, 0):
            client.ask("CL.THROTTLE", "k", *words, quantity)
        client.ask("CL.THROTTLE", "other", *words, -5)
        client.ask("CL.THROTTLE", "other", *words, 0)
        client.ask("CL.THROTTLE", "other", *words, 11)
        assert not differences(contents(store), before) and store.ask("EXISTS", "other") == 0
        assert store.info("persistence")["rdb_changes_since_last_save"] == changes


def test_the_example_of_its_manual(store):
    with store.client() as client:
        answers = at_once(client, ["CL.THROTTLE", "user123", 15, 30, 60], ["CL.THROTTLE", "user123", 15, 30, 60, 1])
    assert answers == [[0, 16, 15, -1, 2], [0, 16, 14, -1, 4]]


@pytest.mark.parametrize("quantity", [17, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, 2 ** 63 - 1])
def test_more_than_may_ever_pass(store, quantity):
    assert store.ask("CL.THROTTLE", "k", 15, 30, 60, quantity) == [1, 16, 16, -1, 0]
    assert store.ask("EXISTS", "k") == 0


def test_a_limit_that_changes(store):
    """The debt takes as long to be paid as before, as it does there."""
    with store.client() as client:
        cell = Cell(9, 1, 100)
        for _ in range(5):
            check(client, "k", cell, (9, 1, 100), 1)
        for words in [(0, 1, 100), (4, 1, 100), (9, 7, 300), (99, 13, 1000), (1, 1, 2000)]:
            before, cell = cell, Cell(*words)
            cell.arrival = -(-before.arrival * cell.count // before.count)
            check(client, "k", cell, words, 0)
            check(client, "k", cell, words, 1)


# What redis-cell left behind


def left_behind(store, key, ahead_us, keeps_s=10000):
    """As redis-cell stores it: nanoseconds since 1970."""
    now_us = int(store.ask("TIME")[0]) * 10 ** 6
    store.ask("SET", key, (now_us + ahead_us) * 1000, "EX", keeps_s)
    return now_us + ahead_us


@pytest.mark.parametrize("owed", [0, 1, 7, 10])
def test_nobody_passes_twice_when_modules_are_switched(store, owed):
    words, cell = (9, 10, 10000), Cell(9, 10, 10000)  # a unit comes back in 1000 s
    cell.arrival = left_behind(store, "k", owed * 10 ** 9) * cell.count
    with store.client() as client:
        assert sum(check(client, "k", cell, words, 1)[0] == 0 for _ in range(15)) == 10 - owed
    value = store.ask("GET", "k")
    if owed < 10:
        assert len(value) == 24 and value[:2] == "\1\4"
        assert 10 ** 7 < store.ask("PTTL", "k") < 1.1 * 10 ** 7 + 3000  # as long as the debt, and the module's slack
    else:
        assert value == str(cell.arrival // cell.count * 1000)


def test_looking_at_what_was_left_changes_nothing(store):
    arrival_us = left_behind(store, "k", 6 * 10 ** 9)
    before = contents(store)
    assert store.ask("CL.THROTTLE", "k", 9, 10, 10000, 0)[:3] == [0, 10, 4]
    assert store.ask("CL.THROTTLE", "k", 9, 10, 10000, 5)[:3] == [1, 10, 4]
    assert not differences(contents(store), before) and store.ask("GET", "k") == str(arrival_us * 1000)


def test_giving_back_what_was_taken_there(store):
    left_behind(store, "k", 6 * 10 ** 9)
    assert store.ask("CL.THROTTLE", "k", 9, 10, 10000, -2)[:3] == [0, 10, 6]
    assert store.ask("CL.THROTTLE", "k", 9, 10, 10000, 7)[0] == 1
    assert store.ask("CL.THROTTLE", "k", 9, 10, 10000, 6)[:3] == [0, 10, 0]


def test_what_was_left_long_ago(store):
    store.ask("SET", "k", "1500000000000000000")
    assert store.ask("CL.THROTTLE", "k", 9, 10, 10000) == [0, 10, 9, -1, 1000]
    assert store.ask("PTTL", "k") > 0


@pytest.mark.parametrize("text", ["0", "42", "-1", "hello", "150000000000000000", "15000000000000000000", "-500000000000000000",
                                  "9999999999999999999", "15000000000000000.0"])
def test_other_strings_are_not_touched(store, text):
    store.ask("SET", "k", text)
    for quantity in (1, 0, -1):
        with pytest.raises(RedisError, match="^ERR key holds no state"):
            store.ask("CL.THROTTLE", "k", 9, 10, 10000, quantity)
    assert store.ask("GET", "k") == text and store.ask("TTL", "k") == -1


def test_other_types_are_not_touched(store):
    store.ask("RPUSH", "k", "1500000000000000000")
    with pytest.raises(RedisError, match="^WRONGTYPE"):
        store.ask("CL.THROTTLE", "k", 9, 10, 10000)
    assert store.ask("LRANGE", "k", 0, -1) == ["1500000000000000000"]


def test_replicas_and_files_hold_the_same(start_store):
    """One replica without the module; and a start from the append-only file without it."""
    store, replica = start_store(arguments=["--appendonly", "yes"]), start_store(module=False)
    rnd, now_s = random.Random(3), int(store.ask("TIME")[0])
    follow(replica, store)
    in_step(store, replica)
    keys = [f"key:{i}" for i in range(100)]
    with store.client() as client:
        client.pipeline(*(["SET", key, (now_s + rnd.randint(-500, 5000)) * 10 ** 9, "EX", 9000] for key in keys[:50]))
        for _ in range(30):
            replies = client.pipeline(*(["CL.THROTTLE", rnd.choice(keys), 9, rnd.choice([10, 7]), rnd.choice([1000, 60, 3600]),
                                         rnd.choice([1, 1, 2, 5, 0, -1, 20])] for _ in range(100)))
            assert not [reply for reply in replies if isinstance(reply, RedisError)]
    in_step(store, replica)
    assert_same(store, replica, at_least=50)
    assert_all_expire(store)
    held = contents(store)
    store.restart(module=False)
    assert not differences(contents(store), held)


# Arguments


@pytest.mark.parametrize("place, name, wrong", [
    *((0, "max_burst", text) for text in [*NOT_AN_INTEGER, "-1", "16777216"]),
    *((1, "count_per_period", text) for text in [*NOT_AN_INTEGER, "0", "-1", "16777217"]),
    *((2, "period", text) for text in [*NOT_AN_INTEGER, "0", "-1", "31622401"]),
    *((3, "quantity", text) for text in [*NOT_AN_INTEGER, "-9223372036854775809"])])
def test_wrong_arguments_are_named(store, place, name, wrong):
    words = ["15", "30", "60", "1"]
    words[place] = wrong
    with pytest.raises(RedisError, match=f"^ERR {name} must be a whole number from "):
        store.ask("CL.THROTTLE", "k", *words)
    assert store.ask("DBSIZE") == 0


def test_what_our_arithmetic_does_not_hold(store):
    with pytest.raises(RedisError, match="^ERR max_burst is too large for this rate: .* 2\\^53"):
        store.ask("CL.THROTTLE", "k", 999983, 999983, 86400)
    assert store.ask("CL.THROTTLE", "k", 999999, 1000000, 86400) == [0, 1000000, 999999, -1, 1]


@pytest.mark.parametrize("words", [(), ("k",), ("k", 15, 30), ("k", 15, 30, 60, 1, 1)])
def test_wrong_number_of_arguments(store, words):
    with pytest.raises(RedisError, match="^ERR wrong number of arguments for '(?i:cl.throttle)' command"):
        store.ask("CL.THROTTLE", *words)


def test_signs_and_zeros_as_redis_cell_reads_them(store):
    with store.client() as client:
        answers = at_once(client, ["CL.THROTTLE", "k", "+15", "030", "+60", "+1"], ["CL.THROTTLE", "k", "15", "30", "60", "-0"])
    assert answers == [[0, 16, 15, -1, 2]] * 2


def test_it_counts(store):
    for quantity in (1, 1, 1, 0, -1, 5):
        store.ask("CL.THROTTLE", "k", 1, 1, 10000, quantity)
    with pytest.raises(RedisError):
        store.ask("CL.THROTTLE", "k", 1, 0, 10000)
    counters = store.counters()
    # What is given back is no decision.
    assert {name: counters[name] for name in ("decisions", "denials", "errors")} == dict(decisions=5, denials=2, errors=1)
