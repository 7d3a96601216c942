# SPDX-License-Identifier: Apache-2.0
"""What the module refuses, and how: an error that says what is wrong, nothing changed, and a server that goes on."""
import random
import struct

import pytest

from support.module import RedisError, command, contents
from support.takes import ALGORITHMS, Policy, packed_requests

WORDS = ["sliding-log", 10, "60s"]
POLICY = Policy("sliding-log", 10, 60000)
HUGE = b"9" * (1 << 20)
NUMBERS = ["-1", "4294967296", "4294967297", "18446744073709551615", "18446744073709551616", "18446744073709551617", "1e3",
           "1.5", "0x10", "+1", " 1", "1 ", "", "1\x00", "\x00", "ten", "²", "NaN", "-0", "01x", HUGE]
WINDOWS = ["0", "0s", "60", "-60s", "60 s", "s", "", "1x", "999us", "0ms", "367d", "1e3s", "60s\x00", "\x00", "1.5s", "60ss",
           "18446744073709551616s", "18446744073709551615ms", "9223372036854775807d", HUGE + b"s"]


@pytest.fixture
def store(shared_store):
    shared_store.ask("FLUSHALL")
    return shared_store


def refusal(store, *words):
    """The error that a call gets; it must have changed nothing."""
    before, counted = contents(store), store.counters()["errors"]
    with store.client() as client:
        reply = client.pipeline(words)[0]
    assert isinstance(reply, RedisError), (words, reply)
    assert contents(store) == before
    assert int(store.counters()["errors"]) >= int(counted)
    return str(reply)


# Arity


@pytest.mark.parametrize("name, most", [("SLUICE.TAKE", ["k", "sliding-log", "10"]), ("SLUICE.PEEK", ["k", "sliding-log", "10"]),
                                        ("SLUICE.REFUND", ["k", "sliding-log", "10", "60s", "AT"]), ("SLUICE.RESET", []),
                                        ("SLUICE.MTAKE", ["EACH", "1", "k", "sliding-log"]), ("CL.THROTTLE", ["k", "1", "1"])])
def test_too_few_words(store, name, most):
    for n in range(len(most) + 1):
        said = refusal(store, name, *most[:n])
        assert said.startswith("ERR") and ("wrong number of arguments" in said or any(
            word in said.lower() for word in ("window", "limit", "policy", "numkeys"))), said


@pytest.mark.parametrize("words", [
    ["SLUICE.TAKE", "k", *WORDS, "more"], ["SLUICE.TAKE", "k", *WORDS, "COST"], ["SLUICE.TAKE", "k", *WORDS, "BURST"],
    ["SLUICE.TAKE", "k", *WORDS, "COST", "1", "COST", "1"], ["SLUICE.TAKE", "k", *WORDS, "PEEK", "PEEK"],
    ["SLUICE.TAKE", "k", *WORDS, ""], ["SLUICE.TAKE", "k", *WORDS, HUGE], ["SLUICE.TAKE", "k", *WORDS, "COS\x00", "1"],
    ["SLUICE.PEEK", "k", *WORDS, "WITHTIME"], ["SLUICE.PEEK", "k", *WORDS, "PEEK"], ["SLUICE.INFO", "more"],
    ["SLUICE.REFUND", "k", *WORDS, "AT"], ["SLUICE.REFUND", "k", *WORDS, "COST", "1"],
    ["SLUICE.REFUND", "k", *WORDS, "COST", "1", "COST", "1"], ["CL.THROTTLE", "k", "1", "1", "1", "1", "1"],
    ["SLUICE.MTAKE", "EACH", "1", "k", *WORDS, "more"], ["SLUICE.MTAKE", "EACH", "1", "k", *WORDS, *WORDS],
    ["SLUICE.MTAKE", "EACH", "3", "k", "l", "m", *WORDS, *WORDS], ["SLUICE.MTAKE", "SOME", "1", "k", *WORDS],
    ["SLUICE.MTAKE", "", "1", "k", *WORDS], ["SLUICE.MTAKE", "EACH\x00", "1", "k", *WORDS],
    ["SLUICE.MTAKE", "ALL", "1", "k", "PACKED", packed_requests([Policy("sliding-log", 1, 1)], [[(0, 1)]])],
    ["SLUICE.MTAKE", "EACH", "1", "k", *WORDS, "PEEK"]], ids=lambda words: " ".join(str(word)[:12] for word in words))
def test_words_too_many(store, words):
    assert refusal(store, *words).startswith("ERR")


def test_words_in_upper_and_lower_case(store):
    for words in (["TOKEN-Bucket", 10, "60s", "burst", 3, "Cost", 2], ["Sliding-LOG", 10, "60s", "peek"]):
        assert store.ask("sluice.TAKE", "k", *words)[0] == 1
    assert store.ask("SLUICE.MTAKE", "eAcH", 1, "k", *WORDS)[0][0] == 1


# Numbers and names


@pytest.mark.parametrize("text", NUMBERS + ["0", "16777217"], ids=lambda text: repr(text)[:20])
def test_numbers_out_of_range(store, text):
    for name, words in {"limit": ["sliding-log", text, "60s"], "burst": ["token-bucket", "10", "60s", "BURST", text],
                        "cost": [*WORDS, "COST", text]}.items():
        if name == "cost" and text == "16777217":
            continue  # is denied for ever: it is above the limit
        for command_words in (["SLUICE.TAKE", "k", *words], ["SLUICE.PEEK", "k", *words],
                              ["SLUICE.MTAKE", "EACH", "1", "k", *words], ["SLUICE.MTAKE", "ALL", "2", "k", "l", *WORDS, *words],
                              ["SLUICE.REFUND", "k", *words[:3], "AT", "5", *words[3:]]):
            said = refusal(store, *command_words)
            assert said.startswith("ERR ") and name in said.lower(), said
            assert len(said) < 500 and "\n" not in said


@pytest.mark.parametrize("text", NUMBERS + ["0", "1025"], ids=lambda text: repr(text)[:20])
def test_numbers_of_keys_out_of_range(store, text):
    said = refusal(store, "SLUICE.MTAKE", "EACH", text, *["k"] * 1025, *WORDS)
    assert said.startswith("ERR ") and ("numkeys" in said.lower() or "number of keys" in said.lower()), said


@pytest.mark.parametrize("text", WINDOWS, ids=lambda text: repr(text)[:20])
def test_windows_out_of_range(store, text):
    for words in (["SLUICE.TAKE", "k", "sliding-log", "10", text], ["SLUICE.MTAKE", "EACH", "1", "k", "fixed-window", "10", text]):
        said = refusal(store, *words)
        assert said.startswith("ERR ") and "window" in said.lower(), said


@pytest.mark.parametrize("text", ["", "sliding", "sliding-log ", "sliding_log", "sliding-log\x00", "\x00", "1", HUGE],
                         ids=lambda text: repr(text)[:20])
def test_algorithms_that_there_are_not(store, text):
    for words in (["SLUICE.TAKE", "k", text, "10", "60s"], ["SLUICE.MTAKE", "ALL", "1", "k", text, "10", "60s"]):
        said = refusal(store, *words)
        assert said.startswith("ERR ") and "algorithm" in said.lower(), said
        assert len(said) < 500


def test_a_burst_is_for_a_bucket_alone(store):
    for algorithm in ALGORITHMS[:3]:
        said = refusal(store, "SLUICE.TAKE", "k", algorithm, 10, "60s", "BURST", 5)
        assert said.startswith("ERR ") and "burst" in said.lower(), said


@pytest.mark.parametrize("text", [text for text in NUMBERS if text not in ("4294967296", "4294967297")], ids=lambda text: repr(text)[:20])
def test_times_of_refunds_out_of_range(store, text):
    said = refusal(store, "SLUICE.REFUND", "k", *WORDS, "AT", text)
    assert said.startswith("ERR ") and ("time" in said.lower() or "at" in said.lower().split()), said


@pytest.mark.parametrize("text", ["18446744073709551616", "9223372036854775808", "-9223372036854775809", "1e3", "1.5", "0x10", " 1",
                                  "1 ", "", "1\x00", "\x00", "ten", HUGE], ids=lambda text: repr(text)[:20])
def test_numbers_of_cl_throttle_that_are_none(store, text):
    for i, name in enumerate(("max_burst", "count", "period", "quantity")):
        words = ["1", "1", "1", "1"]
        words[i] = text
        said = refusal(store, "CL.THROTTLE", "k", *words)
        assert said.startswith("ERR ") and name in said.lower(), said


@pytest.mark.parametrize("words", [["-1", "1", "1"], ["1", "0", "1"], ["1", "-1", "1"], ["1", "1", "0"], ["1", "1", "-1"]], ids=str)
def test_numbers_of_cl_throttle_out_of_range(store, words):
    assert refusal(store, "CL.THROTTLE", "k", *words).startswith("ERR ")


# Other kinds of keys

KINDS = {
    "list": ["RPUSH", "k", "a"],
    "hash": ["HSET", "k", "a", "b"],
    "set": ["SADD", "k", "a", "1"],
    "set of numbers": ["SADD", "k", "1"],
    "sorted set": ["ZADD", "k", "1", "a"],
    "stream": ["XADD", "k", "*", "a", "b"],
}
# Strings that are no states.
LOG = struct.pack("<BBHIIIII", 1, 1, 1, 0, 1, 0, 0, 10)
STRINGS = {
    "number": b"5", "large number": b"1234567890123", "text": b"hello", "one byte": b"\x01", "long text": b"x" * 100000,
    "zeros": b"\0" * 64, "next format": b"\x02" + LOG[1:], "no algorithm": b"\x01\x00" + LOG[2:],
    "fifth algorithm": b"\x01\x05" + LOG[2:], "short": LOG[:12], "shorter": LOG[:23], "tick of 0": LOG[:2] + b"\0\0" + LOG[4:],
    "capacity of 0": LOG[:20] + b"\0\0\0\0", "head beyond": LOG[:12] + b"\x0b" + LOG[13:],
    "count beyond": LOG[:16] + b"\x0b" + LOG[17:], "count beyond the bytes": LOG[:16] + b"\x0a" + LOG[17:],
    "time of the far future": LOG[:4] + b"\xff" * 8 + LOG[12:],
    "counter cut short": b"\x01\x02\0\0" + b"\0" * 23, "window that has not begun": b"\x01\x03\0\0" + b"\0" * 12 + b"\x01" + b"\0" * 7,
    "bucket that drains nothing": b"\x01\x04\0\0" + b"\0" * 20,
    "hyperloglog": None,
}
RND = random.Random(7)
for _n in (1, 11, 12, 23, 24, 28, 64, 1000):
    STRINGS[f"{_n} random bytes"] = bytes([RND.randrange(2, 256)]) + RND.randbytes(_n - 1)


def calls(key):
    return [["SLUICE.TAKE", key, *WORDS], ["SLUICE.TAKE", key, *WORDS, "PEEK"], ["SLUICE.PEEK", key, *WORDS],
            ["SLUICE.TAKE", key, "sliding-log", 10000, "60s"], ["SLUICE.TAKE", key, "sliding-counter", 10, "60s"],
            ["SLUICE.TAKE", key, "fixed-window", 10, "60s"], ["SLUICE.TAKE", key, "token-bucket", 10, "60s"],
            ["SLUICE.REFUND", key, *WORDS, "AT", 5], ["SLUICE.RESET", "other", key], ["SLUICE.MTAKE", "ALL", 2, "other", key, *WORDS],
            ["CL.THROTTLE", key, 1, 1, 1]]


def dump(store, key):
    with store.client() as client:
        return client.pipeline(["DUMP", key], ["PTTL", key])


@pytest.mark.parametrize("kind", KINDS)
def test_keys_of_another_kind(store, kind):
    store.ask(*KINDS[kind])
    store.ask("SLUICE.TAKE", "other", *WORDS)
    before = dump(store, "k")
    for words in calls("k"):
        assert refusal(store, *words).startswith("WRONGTYPE "), words
    first, second = store.ask("SLUICE.MTAKE", "EACH", 2, "k", "l", *WORDS)
    assert isinstance(first, RedisError) and str(first).startswith("WRONGTYPE") and second[:3] == [1, 10, 9]
    packed = store.ask("SLUICE.MTAKE", "EACH", 3, "k", "m", "n", "PACKED",
                       packed_requests([POLICY], [[(0, 1), (0, 1)], [(0, 1)]])).encode("latin-1")
    assert [packed[0], packed[29], packed[58]] == [8, 8, 1] and not any(packed[1:29]) and not any(packed[30:58])
    assert store.ask("EXISTS", "m") == 0 and store.ask("EXISTS", "n") == 1
    assert dump(store, "k") == before


@pytest.mark.parametrize("kind", STRINGS)
def test_strings_that_are_no_states(store, kind):
    """A key that is no state of ours is refused by TAKE and its like; RESET forgets it only when it is one."""
    if STRINGS[kind] is None:
        store.ask("PFADD", "k", "a", "b", "c")
    else:
        store.ask("SET", "k", STRINGS[kind])
    before = dump(store, "k")
    for words in calls("k"):
        algorithms = {word for word in words if word in ALGORITHMS} or {"token-bucket"}
        if words[0] != "SLUICE.RESET" and any(understood(STRINGS[kind], algorithm) for algorithm in algorithms):
            continue
        if words[0] == "SLUICE.RESET" and begins_like_a_state(STRINGS[kind]):
            continue  # to forget a damaged state is how to be rid of it
        said = refusal(store, *words)
        assert said.startswith(("ERR ", "WRONGTYPE ")), said
    algorithm = next(name for name in ALGORITHMS if not understood(STRINGS[kind], name))
    first, second = store.ask("SLUICE.MTAKE", "EACH", 2, "k", "l", algorithm, 10, "60s")
    assert isinstance(first, RedisError) and second[:3] == [1, 10, 9], first
    packed = store.ask("SLUICE.MTAKE", "EACH", 3, "k", "m", "n", "PACKED",
                       packed_requests([Policy(algorithm, 10, 60000)], [[(0, 1), (0, 1)], [(0, 1)]])).encode("latin-1")
    assert [packed[0], packed[29], packed[58]] == [4, 4, 1] and not any(packed[1:29]) and not any(packed[30:58])
    assert store.ask("EXISTS", "m") == 0
    assert dump(store, "k") == before


def understood(state, algorithm):
    """Whether the bytes are those of another algorithm, which are replaced whatever they say."""
    return begins_like_a_state(state) and ALGORITHMS[state[1] - 1] != algorithm


def begins_like_a_state(state):
    return (state is not None and len(state) >= 12 and state[0] == 1 and 1 <= state[1] <= 4
            and (state[1] == 1) == (state[2:4] != b"\0\0"))


def test_a_hyperloglog_stays_one(store):
    store.ask("PFADD", "k", "a", "b", "c")
    for words in calls("k"):
        with store.client() as client:
            client.pipeline(words)
    assert store.ask("PFCOUNT", "k") == 3


def test_a_key_that_comes_twice_in_one_request(store):
    """Each for itself it is taken from twice; all or nothing it can't be."""
    both = store.ask("SLUICE.MTAKE", "EACH", 3, "k", "l", "k", *WORDS)
    assert [answer[:3] for answer in both] == [[1, 10, 9], [1, 10, 9], [1, 10, 8]]
    for words in (["ALL", 3, "k", "l", "k", *WORDS],
                  ["EACH", 3, "l", "k", "k", "PACKED", packed_requests([POLICY], [[(0, 1)], [(0, 1), (0, 1)]])]):
        assert refusal(store, "SLUICE.MTAKE", *words).startswith("ERR key"), words


@pytest.mark.parametrize("words, said", [
    (["ALL", 3, "l", "k", "k", *WORDS], 'key "k" comes twice in one request'),
    (["EACH", 1, "k", *WORDS, *WORDS], '"sliding-log" stands after a policy for each key (numkeys is 1)'),
    (["EACH", 2, "k", "l", *WORDS, "PEEK"], 'not "PEEK"'),
    (["ALL", 3, "k", "l", *WORDS], 'not "10"')], ids=str)
def test_what_is_wrong_with_a_batch_is_quoted(store, words, said):
    assert said in refusal(store, "SLUICE.MTAKE", *words)


def test_the_costs_of_one_command_are_bounded(store):
    """Together they lay down no more than one take may, so that one command keeps the server no longer."""
    half, most = ["sliding-log", 16777216, "1d", "COST", 8388608], ["sliding-log", 16777216, "1d", "COST", 8388609]
    assert "must not exceed 16777216" in refusal(store, "SLUICE.MTAKE", "EACH", 2, "k", "l", *half, *most)
    assert "must not exceed 16777216" in refusal(store, "SLUICE.MTAKE", "ALL", 2, "k", "l", *most)
    assert store.ask("EXISTS", "k", "l") == 0
    # What is never admitted, or keeps no entries, lays none down.
    bucket = ["token-bucket", 16777216, "16777216s", "COST", 16777216]
    never = ["sliding-log", 1000, "1s", "COST", 4294967295]
    assert [answer[0] for answer in store.ask("SLUICE.MTAKE", "EACH", 4, "a", "b", "c", "d", *bucket, *bucket, *never,
                                              "sliding-log", 10, "1s")] == [1, 1, 0, 1]


# Packed requests

SOUND = packed_requests([POLICY], [[(0, 1)], [(0, 2)]])


@pytest.mark.parametrize("packed", [
    b"", b"\x01", b"\x02" + SOUND[1:], b"\0" + SOUND[1:], b"\x01\0" + SOUND[2:], b"\x01\x02" + SOUND[2:], SOUND + b"\0",
    SOUND + SOUND[-6:], SOUND[:-6], packed_requests([POLICY], [[], [(0, 1)], [(0, 1)]]), packed_requests([POLICY], [[(1, 1)], [(0, 1)]]),
    packed_requests([POLICY], [[(0, 0)], [(0, 1)]]), packed_requests([POLICY._replace(limit=0)], [[(0, 1)], [(0, 1)]]),
    packed_requests([POLICY._replace(limit=2 ** 32 - 1)], [[(0, 1)], [(0, 1)]]),
    packed_requests([POLICY._replace(window_ms=0)], [[(0, 1)], [(0, 1)]]),
    packed_requests([POLICY._replace(window_ms=2 ** 50)], [[(0, 1)], [(0, 1)]]),
    packed_requests([POLICY._replace(burst=11)], [[(0, 1)], [(0, 1)]]),
    SOUND[:2] + b"\0" + SOUND[3:], SOUND[:2] + b"\x05" + SOUND[3:], b"\xff" * 1000, HUGE,
    packed_requests([POLICY], [[(0, 1)] * 3])] + [SOUND[:n] for n in range(2, len(SOUND))],
    ids=lambda packed: packed[:40].hex() + f"-{len(packed)}")
def test_packed_requests_that_are_none(store, packed):
    assert refusal(store, "SLUICE.MTAKE", "EACH", 2, "k", "l", "PACKED", packed).startswith("ERR ")


def test_random_words_break_nothing(store):
    """Hundreds of thousands of calls of random words, among them those of calls that are right: each gets one answer."""
    rnd = random.Random(3)
    names = ["SLUICE.TAKE", "SLUICE.PEEK", "SLUICE.REFUND", "SLUICE.RESET", "SLUICE.MTAKE", "SLUICE.INFO", "CL.THROTTLE"]
    words = ["k", "list", "state", "5", "sliding-log", "token-bucket", "fixed-window", "sliding-counter", "1", "2", "10", "0", "-1",
             "60s", "1ms", "1d", "AT", "BURST", "COST", "PEEK", "WITHTIME", "ALL", "EACH", "PACKED", "4294967296", "", "\x00",
             SOUND, SOUND[:20], b"\x01" * 40]
    with store.client() as client:
        client.ask("RPUSH", "list", "x")
        client.ask("SET", "5", "5")
        kept = client.ask("DUMP", "list"), client.ask("DUMP", "5")
        for _ in range(100):
            calls_ = [[rnd.choice(names), *rnd.choices(words, k=rnd.randrange(12))] for _ in range(500)]
            for name in names[:3]:  # nearly right
                calls_ += [[name, *rnd.choices(words[:4], k=1), *rnd.choices(words[4:8], k=1), *rnd.choices(words[8:13], k=1),
                            *rnd.choices(words[13:16], k=1), *rnd.choices(words[8:26], k=rnd.randrange(5))] for _ in range(100)]
            assert len(client.pipeline(*calls_)) == len(calls_)
        assert (client.ask("DUMP", "list"), client.ask("DUMP", "5")) == kept


def test_large_arguments(store):
    """A key of a megabyte is a key; words of a megabyte are none."""
    key = b"k" * (1 << 20)
    assert store.ask("SLUICE.TAKE", key, *WORDS)[:3] == [1, 10, 9]
    assert store.ask("SLUICE.MTAKE", "EACH", 2, key, "", *WORDS)[0][:3] == [1, 10, 8]
    assert store.ask("EXISTS", "") == 1  # a key without a character is one, too
    assert store.ask("SLUICE.RESET", key, "") == 2
    with store.client() as client:
        data = [command("SLUICE.TAKE", "k", HUGE, HUGE, HUGE, HUGE, HUGE)]
        assert client.flood(*data).count(b"-ERR") == 1


def test_the_counter_of_errors(store):
    before = int(store.counters()["errors"])
    store.ask("SET", "5", "5")
    for words in (["SLUICE.TAKE", "k", "sliding-log", 0, "1s"], ["SLUICE.TAKE", "5", *WORDS], ["SLUICE.PEEK", "5", *WORDS]):
        refusal(store, *words)
    assert int(store.counters()["errors"]) == before + 3
