# SPDX-License-Identifier: Apache-2.0
"""A Redis whose module answers what no module of ours would: every request is answered, once, by the policy; nothing is
believed, and all is well when the answers are right again."""
import itertools
import struct

import pytest

from support.liar import HANG_UP, Liar
from support.waiting import wait_until
from support.wire import build

ANSWER_LEN = 29
REQUESTS, AT_ONCE = 120, 12
NUMBERS = itertools.count()  # of clients
ATTEMPTS_MAX = 40  # to connect, in some seconds: they wait for longer and longer


def bulk(data):
    return b"$%d\r\n%s\r\n" % (len(data), data)


def answers(truth):
    return truth.split(b"\r\n", 1)[1][:-2]


def with_last(truth, **fields):
    """The true answer, but for something about its last key."""
    values = dict(zip(("flags", "remaining", "retry", "reset", "at"), struct.unpack("<BIddd", answers(truth)[-ANSWER_LEN:])))
    values.update(fields)
    return bulk(answers(truth)[:-ANSWER_LEN] + struct.pack("<BIddd", *values.values()))


LIES = {
    "a byte too few": lambda truth: bulk(answers(truth)[:-1]),
    "a key too many": lambda truth: bulk(answers(truth) + bytes(ANSWER_LEN)),
    "twice": lambda truth: truth * 2,
    "nothing": lambda truth: bulk(b""),
    "zeros": lambda truth: bulk(bytes(len(answers(truth)))),
    "all flags": lambda truth: with_last(truth, flags=255),
    "a fault of one key": lambda truth: with_last(truth, flags=4),
    "more than all left": lambda truth: with_last(truth, remaining=0xffffffff),
    "no number": lambda truth: with_last(truth, reset=float("nan")),
    "no end": lambda truth: with_last(truth, at=float("inf")),
    "a wait in the past": lambda truth: with_last(truth, retry=-2.0),
    "nil": lambda truth: b"$-1\r\n",
    "an integer": lambda truth: b":1\r\n",
    "an array": lambda truth: b"*2\r\n:1\r\n:1\r\n",
    "a status": lambda truth: b"+OK\r\n",
    "an error without words": lambda truth: b"-\r\n",
    "an error with much in it": lambda truth: b"-%s%n " + b"x" * 70000 + b"\r\n",
    "no reply": lambda truth: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "a length beyond all": lambda truth: b"$2147483647\r\n",
    "a count beyond all": lambda truth: b"*2147483647\r\n",
    "an end in the middle": lambda truth: (truth[:20], HANG_UP),
    "an end instead": lambda truth: (HANG_UP,),
}


@pytest.fixture
def liar(store):
    with Liar((store.host, store.port)) as one:
        yield one


@pytest.fixture
def server(start, liar):
    return start(config=f"""trusted_proxies: [127.0.0.0/8]
limiter: {{store: '{liar.url}', timeout: 2s, on_failure: closed}}
limits:
  - {{name: few, algorithm: sliding-log, limit: 10, window: 60s}}
  - {{name: many, algorithm: token-bucket, limit: 100, window: 60s}}
""", threads=1)


def by_module(server):
    return server.metrics()[("sluice_limiter_module_connections", ())]


def ask_at_once(server):
    """Many clients, of which some ask in one turn of the server's loop. Returns the answers; each request has one."""
    names = (f"10.0.{number // 250}.{number % 250}" for number in NUMBERS)
    wires = [server.connect() for _ in range(AT_ONCE)]
    found = []
    for _ in range(REQUESTS // AT_ONCE):
        for wire in wires:
            wire.send(build("GET", "/", [("X-Forwarded-For", next(names))]))
        found += [wire.read_answer() for wire in wires]
    for wire in wires:
        wire.send_ended()
        assert wire.pending + wire.socket.recv(1) == b""
        wire.close()
    return found


def by_policy(answer):
    return answer.status == 429 and answer["Retry-After"] == "1"


@pytest.mark.parametrize("lie", LIES)
def test_what_no_module_of_ours_would_answer(server, liar, lie):
    calls = itertools.count()

    def answer(words, truth):
        """The probe of a new connection is answered well: the server is believed to be able, each time anew."""
        if words[0] != b"SLUICE.MTAKE" or any(b"~probe" in word for word in words) or next(calls) % 3 > 0:
            return None
        return LIES[lie](truth())

    assert by_module(server) == 1
    liar.answer = answer
    found = ask_at_once(server)
    assert all(answer.status == 200 or by_policy(answer) for answer in found), found
    assert any(by_policy(answer) for answer in found)
    assert liar.connections <= ATTEMPTS_MAX
    liar.answer = None
    wait_until(lambda: by_module(server) == 1, what="the module to be used again")
    assert [answer.status for answer in ask_at_once(server)] == [200] * REQUESTS
