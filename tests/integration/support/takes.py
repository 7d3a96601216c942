# SPDX-License-Identifier: Apache-2.0
"""Takes in words and packed, as the module and the script want them; and traffic of all kinds on the same keys.

Leaves out: the servers (support/module.py).
"""
import functools
import math
import pathlib
import random
import re
import struct
import threading
import typing

from support.module import command
from support.waiting import wait_until

LUA = pathlib.Path(__file__).parents[3] / "lua"
LUA_PARTS = ["begin", "clock", "look", "sliding_log", "sliding_counter", "fixed_window", "token_bucket", "refund", "decide"]

ALGORITHMS = ["sliding-log", "sliding-counter", "fixed-window", "token-bucket"]
TAKE, PEEK, REFUND, RESET, WHOLES = 0, 1, 2, 3, 4  # verbs of the script
RING_MAX = 256
ANSWER = struct.Struct("<BIddd")
# Many states expire while a test goes on; those of the last are there at its end, however long it takes.
WINDOWS_MS = (1, 5, 40, 300, 1500, 5000, 600000)
HEADERS = {"sliding-log": 24, "sliding-counter": 28, "fixed-window": 24, "token-bucket": 24}


class Policy(typing.NamedTuple):
    algorithm: str
    limit: int
    window_ms: int
    burst: int = 0

    @property
    def number(self):
        return ALGORITHMS.index(self.algorithm) + 1

    @property
    def most(self):
        """Units that may pass at once."""
        return self.burst or self.limit

    def words(self, cost=1):
        """algorithm limit window [BURST n] [COST n]"""
        words = [self.algorithm, self.limit, f"{self.window_ms}ms"]
        if self.burst:
            words += ["BURST", self.burst]
        return words if cost == 1 else [*words, "COST", cost]

    def packed(self):
        return struct.pack("<BIIQ", self.number, self.limit, self.burst, self.window_ms * 1000)

    def for_script(self, cost=1, given_us=None):
        window_us = self.window_ms * 1000
        tick_us = max(1, -(-window_us // 2 ** 31)) if self.number == 1 else 0
        data = struct.pack("<BIIId", self.number, 1 | self.number << 8 | tick_us << 16, self.most, cost, window_us)
        if self.number == 4:
            common = math.gcd(window_us, self.limit)
            data += struct.pack("<Id", self.limit // common, window_us // common)
        return data if given_us is None else data + struct.pack("<d", given_us)


def packed_requests(policies, requests):
    """@param requests  lists of (number of the policy, cost)."""
    data = struct.pack("<BB", 1, len(policies)) + b"".join(policy.packed() for policy in policies)
    for takes in requests:
        data += struct.pack("<B", len(takes)) + b"".join(struct.pack("<BI", *take) for take in takes)
    return data


class Answer(typing.NamedTuple):
    """An answer of 29 bytes."""
    flags: int
    remaining: int
    retry_us: float
    reset_us: float
    at_us: float


def unpack_answers(text):
    return [Answer(*found) for found in ANSWER.iter_unpack(text.encode("latin-1"))]


@functools.cache
def script():
    """The script as sluice sends it: comments stay, they change nothing."""
    return "\n".join((LUA / f"{part}.lua").read_text() for part in LUA_PARTS)


def script_words(verb, keys, takes, load):
    """The call of the script. @param takes  (policy, cost, time to give back to or None) for each key.
    @param load  what SCRIPT LOAD answered."""
    short = all(policy.number != 1 or policy.most <= RING_MAX for policy, *_ in takes)
    arguments = bytes([verb + (WHOLES if short and verb != RESET else 0)])
    arguments += b"".join(policy.for_script(cost, given) for policy, cost, given in takes)
    return ["EVALSHA", load, len(keys), *keys, arguments]


def script_takes(client, verb, keys, takes, load):
    """Asks the script. Returns an Answer for each key."""
    return unpack_answers(client.ask(*script_words(verb, keys, takes, load)))


def random_policy(rnd, windows_ms=(1, 5, 40, 300, 1500, 5000, 60000)):
    """Limits evenly over their size, 1 to 10,000."""
    algorithm, limit = rnd.choice(ALGORITHMS), round(10 ** rnd.uniform(0, 4))
    burst = round(10 ** rnd.uniform(0, 4)) if algorithm == "token-bucket" and rnd.random() < 0.5 else 0
    return Policy(algorithm, limit, rnd.choice(windows_ms), burst)


class Kind(typing.NamedTuple):
    """A key, and the ways in which it is taken from: all algorithms change now and then, limits more often."""
    key: bytes
    policies: list
    takes: list  # policies and costs as they go over the wire, with how many words they are


def _kind(rnd, key, windows_ms):
    policies = [random_policy(rnd, windows_ms)]
    if rnd.random() < 0.3:
        policies.append(policies[0]._replace(limit=max(1, policies[0].limit // 3), burst=0))
    if rnd.random() < 0.05:
        policies.append(random_policy(rnd, windows_ms))
    takes = []
    for policy in policies:
        for cost in (1, 1, 1, 2, max(1, policy.most // 20), policy.most + rnd.randrange(2)):
            words = policy.words(cost)
            takes.append((len(words), b"".join(command(word)[4:] for word in words)))
    return Kind(key, policies, takes)


class Traffic:
    """Random takes, the same for the same seed: few keys get many, many get few.

    @param tag  all keys begin with it: a Cluster wants those of one command in one slot.
    """

    def __init__(self, seed, keys=2000, tag="t:", windows_ms=WINDOWS_MS):
        self.random = rnd = random.Random(seed)
        self.kinds = [_kind(rnd, f"{tag}{i}".encode(), windows_ms) for i in range(keys)]
        # 65536 places, the first keys have most of them.
        self.places = [self.kinds[int(keys * rnd.random() ** 3)] for _ in range(65536)]
        self.words = {kind.key: command(kind.key)[4:] for kind in self.kinds}
        self.load = None

    def load_script(self, client):
        self.load = client.ask("SCRIPT", "LOAD", script())

    def some(self, n):
        return self.random.choices(self.places, k=n)

    def some_different(self, n):
        return list({kind.key: kind for kind in self.some(n)}.values())

    def mtake(self, n, mode=b"EACH"):
        """One MTAKE of n keys, which may come twice in EACH."""
        kinds = self.some(n) if mode == b"EACH" else self.some_different(n)
        n = len(kinds)
        takes = [kind.takes[int(self.random.random() * len(kind.takes))] for kind in kinds]
        count = 3 + n + sum(take[0] for take in takes)
        return b"".join((b"*%d\r\n$12\r\nSLUICE.MTAKE\r\n$4\r\nEACH\r\n" % count if mode == b"EACH" else
                         b"*%d\r\n$12\r\nSLUICE.MTAKE\r\n$3\r\nALL\r\n" % count, command(n)[4:],
                         *[self.words[kind.key] for kind in kinds], *[take[1] for take in takes]))

    def takes(self, n):
        """n takes, a command each."""
        data = []
        for kind in self.some(n):
            words, take = self.random.choice(kind.takes)
            data += (b"*%d\r\n$11\r\nSLUICE.TAKE\r\n" % (2 + words), self.words[kind.key], take)
        return b"".join(data)

    def packed(self, n):
        """One MTAKE of up to n keys as sluice sends it; requests of one to three keys."""
        kinds = self.some_different(n)
        n = len(kinds)
        policies = list(dict.fromkeys(kind.policies[0] for kind in kinds))[:255]
        at, requests = 0, []
        while at < n:
            size = min(self.random.choice((1, 1, 1, 2, 3)), n - at)
            requests.append([(policies.index(kind.policies[0]) if kind.policies[0] in policies else 0,
                              self.random.choice((1, 1, 2, 7))) for kind in kinds[at:at + size]])
            at += size
        return command("SLUICE.MTAKE", "EACH", n, *(kind.key for kind in kinds), "PACKED", packed_requests(policies, requests))

    def scripts(self, n):
        """n calls of the script, of one to three keys, and some of them peeks."""
        data = []
        for _ in range(n):
            kinds = self.some_different(self.random.choice((1, 1, 2, 3)))
            takes = [(self.random.choice(kind.policies), self.random.choice((1, 1, 2, 5)), None) for kind in kinds]
            verb = PEEK if self.random.random() < 0.1 else TAKE
            data.append(command(*script_words(verb, [kind.key for kind in kinds], takes, self.load)))
        return b"".join(data)

    def resets(self, n):
        return b"".join(command("SLUICE.RESET", *(kind.key for kind in self.some(2))) for _ in range(n))

    def refunds(self, client, n):
        """Takes n times and gives some of it back: asks at once, since the time is needed."""
        taken = [(kind.key, self.random.choice(kind.policies), self.random.choice((1, 2, 9))) for kind in self.some(n)]
        answers = client.pipeline(*(["SLUICE.TAKE", key, *policy.words(cost), "WITHTIME"] for key, policy, cost in taken))
        back = [["SLUICE.REFUND", key, *policy.words()[:3], "AT", answer[5], *policy.words(cost)[3:]]
                for (key, policy, cost), answer in zip(taken, answers) if answer[0] == 1]
        for reply in client.pipeline(*back):
            assert isinstance(reply, list), reply
        return len(taken), len(back)


TAKEN = re.compile(rb"\*5\r\n:([01])\r\n")
REFUSED = re.compile(rb"(?:^|\n)(-(?:ERR|WRONGTYPE|OOM|READONLY|MISCONF|NOSCRIPT|LOADING|BUSY|ASK|MOVED|CROSSSLOT|NOPERM) [^\r]*)")


def assert_no_error(data):
    """In raw replies."""
    wrong = REFUSED.search(data)
    assert wrong is None, wrong.group(1)


def count_answers(data):
    """(allowed, denied) of raw replies of TAKE and MTAKE, none of which may be an error."""
    assert_no_error(data)
    found = TAKEN.findall(data)
    return found.count(b"1"), found.count(b"0")


class Load:
    """Takes at full speed from several connections, until it is over.

    @param settings  of the traffic of each.
    """

    def __init__(self, server, connections=2, **settings):
        self.over = threading.Event()
        self.wrong = []
        self.takes = [0] * connections
        self.threads = [threading.Thread(target=self._run, args=(server, i, settings)) for i in range(connections)]

    def _run(self, server, number, settings):
        traffic = Traffic(number, **{"keys": 500, "tag": f"{number}:", **settings})
        try:
            with server.client() as client:
                traffic.load_script(client)
                while not self.over.is_set():
                    # Some in a pipeline, so that a turn of the loop has one behind the other.
                    data = [traffic.takes(20), traffic.mtake(64), traffic.takes(20), traffic.resets(1), traffic.scripts(5)]
                    traffic.random.shuffle(data)
                    assert_no_error(client.flood(*data))
                    self.takes[number] += 100
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(error)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        for thread in self.threads:
            thread.join()
        assert not self.wrong, self.wrong

    def goes_on(self, more=500):
        """Waits until so many more have been taken."""
        want = sum(self.takes) + more
        wait_until(lambda: sum(self.takes) >= want or self.wrong, what="takes")
