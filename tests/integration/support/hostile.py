# SPDX-License-Identifier: Apache-2.0
"""Commands of the module as somebody might send them who means no good, or whose program is broken: valid ones with bytes
turned, words left out, doubled and swapped, and numbers of all sizes, on keys that hold states, what was a state, and
anything else. And what an answer to them may look like.

All of it comes from one seed.

Leaves out: the server (support/module.py).
"""
import random

from support.redis import RedisError
from support.takes import ANSWER, RESET, TAKE, packed_requests, random_policy, script_words

NUMBERS = [b"0", b"1", b"2", b"-1", b"-0", b"+1", b"01", b"1e3", b"0x10", b"1.5", b"16777215", b"16777216", b"16777217",
           b"2147483647", b"2147483648", b"4294967295", b"4294967296", b"9007199254740991", b"9007199254740992",
           b"9223372036854775807", b"9223372036854775808", b"-9223372036854775808", b"18446744073709551615",
           b"18446744073709551616", b"9" * 40]
ODD_WORDS = [b"", b"\0", b" ", b"\r\n", b"nan", b"inf", b"\xff\xfe", b"%s%n", b"\x1b[2J", b"BURST", b"COST", b"PEEK", b"WITHTIME",
             b"AT", b"PACKED", b"ALL", b"EACH", b"sliding-log", b"token-bucket", b"60s", b"1ms", b"366d", b"367d", b"x" * 31,
             b"x" * 32, b"y" * 5000]
# What a key may hold that no server of ours has written. Of strings: all with an expiry.
OTHER_STRINGS = [b"", b"1", b"12345", b"-1", b"1700000000000000000", b"1893456000000000000", b"9223372036854775807",
                 b"\x01\x01\x01\x00", b"\x01" * 24, b"\x02" + b"\0" * 23, b"\xff" * 64, b"text of somebody else's"]
OTHER_KINDS = [["RPUSH", None, "a", "b"], ["HSET", None, "f", "v"], ["SADD", None, "1", "2"], ["ZADD", None, "1", "m"],
               ["XADD", None, "*", "f", "v"]]
ERRORS = ("ERR ", "WRONGTYPE ", "OOM ")


class Hostile:
    """@param keys  how many; few, so that most commands find something."""

    def __init__(self, seed, keys=60):
        self.random = random.Random(seed)
        self.keys = [b"h:%d" % i for i in range(keys)]
        self.keys[-3:] = [b"", b"\0\r\n\xff", b"h:" + b"k" * 600]
        self.times = [b"1700000000000000"]
        self.states = list(OTHER_STRINGS)
        self.load = None  # what SCRIPT LOAD answered

    # Commands that are understood

    def policies(self, n=1):
        return [random_policy(self.random, (1, 100, 1500, 60000, 3600000, 366 * 86400000)) for _ in range(n)]

    def _words(self, policy):
        words = policy.words(self.random.choice((1, 1, 2, 5, policy.most, policy.most + 1)))
        return [str(word).encode() for word in words]

    def _some_keys(self):
        return self.random.sample(self.keys, self.random.choice((1, 1, 2, 3, 8, 20)))

    def take(self):
        options = self.random.sample([b"PEEK", b"WITHTIME"], self.random.randrange(3))
        return [b"SLUICE.TAKE", self.random.choice(self.keys), *self._words(*self.policies()), *options]

    def peek(self):
        return [b"SLUICE.PEEK", self.random.choice(self.keys), *self._words(*self.policies())]

    def refund(self):
        words = self._words(*self.policies())
        return [b"SLUICE.REFUND", self.random.choice(self.keys), *words[:3], b"AT", self.random.choice(self.times), *words[3:]]

    def reset(self):
        return [b"SLUICE.RESET", *self._some_keys()[:3]]

    def mtake(self):
        keys = self._some_keys()
        policies = self.policies(self.random.choice((1, len(keys))))
        return [b"SLUICE.MTAKE", self.random.choice((b"ALL", b"EACH")), b"%d" % len(keys), *keys,
                *(word for policy in policies for word in self._words(policy))]

    def packed(self):
        keys, requests = self._some_keys(), []
        policies, left = self.policies(self.random.choice((1, 2, 5))), len(keys)
        while left > 0:
            n = min(left, self.random.choice((1, 1, 2, 3, 9)))
            requests.append([(self.random.randrange(len(policies)), self.random.choice((1, 2, 9, 10000))) for _ in range(n)])
            left -= n
        return [b"SLUICE.MTAKE", b"EACH", b"%d" % len(keys), *keys, b"PACKED", packed_requests(policies, requests)]

    def info(self):
        return [b"SLUICE.INFO"]

    def throttle(self):
        numbers = [self.random.choice((b"0", b"1", b"15", b"30", b"60", b"3600")) for _ in range(self.random.choice((3, 4)))]
        return [b"CL.THROTTLE", self.random.choice(self.keys), *numbers]

    # What becomes of them

    def _turn(self, word):
        """Some bytes, or the end, of a word are others."""
        word = bytearray(word)
        for _ in range(self.random.choice((1, 1, 2, 8))):
            how = self.random.randrange(4)
            if how == 0 and word:
                word[self.random.randrange(len(word))] ^= 1 << self.random.randrange(8)
            elif how == 1 and word:
                word[self.random.randrange(len(word))] = self.random.randrange(256)
            elif how == 2:
                del word[self.random.randrange(len(word) + 1):]
            else:
                at = self.random.randrange(len(word) + 1)
                word[at:at] = self.random.randbytes(self.random.choice((1, 4, 17)))
        return bytes(word)

    def _spoil(self, words):
        """One change of a command. Its name stays."""
        at, how = self.random.randrange(1, len(words)) if len(words) > 1 else 0, self.random.randrange(8)
        if at == 0 or how == 0:
            words.insert(self.random.randrange(1, len(words) + 1), self.random.choice(ODD_WORDS))
        elif how == 1:
            del words[at]
        elif how == 2:
            words.insert(at, words[at])
        elif how == 3:
            other = self.random.randrange(1, len(words))
            words[at], words[other] = words[other], words[at]
        elif how == 4:
            words[at] = self.random.choice(NUMBERS)
        elif how == 5:
            words[at] = self.random.choice(ODD_WORDS)
        else:
            words[at] = self._turn(words[at])
        return words

    def command(self):
        """The words of one, as likely as not as they should be."""
        make = self.random.choice((self.take, self.take, self.peek, self.refund, self.reset, self.mtake, self.packed, self.packed,
                                   self.throttle, self.throttle, self.info))
        words = make()
        for _ in range(self.random.choice((0, 0, 0, 1, 1, 2, 4))):
            words = self._spoil(words)
        return words

    def placed(self):
        """A command that puts something into a key, by another hand than the module's."""
        key, how = self.random.choice(self.keys), self.random.randrange(10)
        if how == 0:
            return [key if word is None else word for word in self.random.choice(OTHER_KINDS)]
        if how == 1:
            return ["DEL", key]
        if how == 2:
            policy = self.policies()[0]
            return script_words(self.random.choice((TAKE, TAKE, RESET)), [key], [(policy, 1, None)], self.load)
        state = self.random.choice(self.states)
        if how > 4:
            state = self._turn(state)
        return ["SET", key, state, "PX", self.random.choice((60000, 3600000))]

    def learn(self, words, reply):
        """Times to give back to come from answers."""
        if isinstance(reply, list) and len(reply) == 6 and words[0] == b"SLUICE.TAKE":
            self.times.append(b"%d" % reply[5])
            del self.times[:-20]

    def learn_state(self, state):
        """States to be damaged come from the server."""
        if state:
            self.states.append(state.encode("latin-1"))
            del self.states[len(OTHER_STRINGS):-40]


# What may be answered


def _is_decision(reply, sizes=(5,)):
    if not isinstance(reply, list) or len(reply) not in sizes or not all(isinstance(number, int) for number in reply):
        return False
    allowed, limit, remaining, retry_us, reset_us, *at = reply
    return (allowed in (0, 1) and 1 <= limit <= 2 ** 24 and 0 <= remaining <= limit and retry_us >= -1 and reset_us >= 0
            and (allowed == 1) == (retry_us == 0) and all(0 <= time <= 2 ** 53 for time in at))


def _is_throttle(reply):
    if not isinstance(reply, list) or len(reply) != 5 or not all(isinstance(number, int) for number in reply):
        return False
    limited, limit, remaining, retry_s, reset_s = reply
    return limited in (0, 1) and 1 <= limit <= 2 ** 24 and 0 <= remaining <= limit and retry_s >= -1 and reset_s >= 0


def _is_packed(reply, keys):
    if len(reply) != keys * ANSWER.size:
        return False
    for flags, remaining, retry_us, reset_us, at_us in ANSWER.iter_unpack(reply.encode("latin-1")):
        if flags not in (0, 1, 4, 8) or (flags > 1 and (remaining, retry_us, reset_us, at_us) != (0, 0, 0, 0)):
            return False
        if flags <= 1 and not (retry_us >= -1 and reset_us >= 0 and 0 < at_us <= 2 ** 53 and (flags == 1) == (retry_us == 0)):
            return False
    return True


def _is_error(reply):
    text = str(reply)
    return text.startswith(ERRORS) and all(" " <= character != "\x7f" for character in text) and len(text) < 700


def well_formed(words, reply):
    """Whether this may be the answer to a command of the module."""
    name = words[0]
    if isinstance(reply, RedisError):
        return _is_error(reply)
    if name in (b"SLUICE.TAKE", b"SLUICE.PEEK", b"SLUICE.REFUND"):
        return _is_decision(reply, (5, 6) if name == b"SLUICE.TAKE" else (5,))
    if name == b"SLUICE.RESET":
        return isinstance(reply, int) and 0 <= reply < len(words)
    if name == b"CL.THROTTLE":
        return _is_throttle(reply)
    if name == b"SLUICE.INFO":
        return isinstance(reply, dict) or (isinstance(reply, list) and len(reply) % 2 == 0)
    keys = int(words[2])
    if isinstance(reply, str):
        return _is_packed(reply, keys)
    return isinstance(reply, list) and len(reply) == keys and all(
        _is_error(one) if isinstance(one, RedisError) else _is_decision(one) for one in reply)
