# SPDX-License-Identifier: Apache-2.0
"""The commands that module.py plays: for each kind of work the bytes that are measured, and those that come before.

Written to files that bench_redis_replay reads. The order of the keys is not the one they were made in, so that what is near
in time is not near in memory. Leaves out: running and arithmetic (module.py).
"""
import os
import struct
import subprocess

from resp import spell

CLIENTS = 100000
STRIDE = 61803  # has no divisor in common with CLIENTS
ORDER = [i * STRIDE % CLIENTS for i in range(2 * CLIENTS)]
PIPELINE, KEYS = 32, 64
SLIDING_LOG = 1


def key(client, limit=10, number=0):
    """As bench_redis_calls writes them."""
    return f"rate_limit:limit-{number:02}-{limit:07}:{{10.{client:07}}}"


def take(client, limit=10, window="1s", *more):
    return spell("SLUICE.TAKE", key(client, limit), "sliding-log", limit, window, *more)


def takes(window="1s", *more, order=None):
    return [take(client, 10, window, *more) for client in order or ORDER]


def packed(n, requests, limit, window_ms):
    """@param n  keys of each of so many requests."""
    policy = struct.pack("<BIIQ", SLIDING_LOG, limit, 0, window_ms * 1000)
    return b"\1\1" + policy + (bytes([n]) + struct.pack("<BI", 0, 1) * n) * requests


def mtakes(*policy):
    """@param policy  the words after the keys."""
    return [spell("SLUICE.MTAKE", "EACH", KEYS, *(key(client) for client in ORDER[i:i + KEYS]), *policy)
            for i in range(0, len(ORDER), KEYS)]


def under_ten_limits():
    return [spell("SLUICE.MTAKE", "ALL", 10, *(key(client, number=n) for n in range(10)), "sliding-log", 10, "60s")
            for client in ORDER[:CLIENTS // 10]]


def script_calls(build, limit=10, keys=1, clients=CLIENTS, window_ms=1000):
    """What Sluice sends to a Redis without the module, in the order of the clients."""
    out = subprocess.run([os.path.join(build, "bench", "bench_redis_calls"), "take", str(limit), str(keys), str(clients),
                          str(window_ms)], check=True, stdout=subprocess.PIPE).stdout
    size = len(out) // clients
    return [out[i * size:(i + 1) * size] for i in range(clients)]


class Traffic:
    """A file of commands, `together` of them in a write, played `passes` times; `each`: decisions (or keys) a command."""

    def __init__(self, folder, commands, together, each=1, passes=1):
        self.decisions = len(commands) * each * passes
        self.passes = passes
        self.path = os.path.join(folder, f"{len(os.listdir(folder)):03}")
        with open(self.path, "wb") as file:
            for i in range(0, len(commands), together):
                batch = commands[i:i + together]
                bytes_ = b"".join(batch)
                file.write(struct.pack("=II", len(bytes_), len(batch)) + bytes_)


def build_kinds(build, folder, kind):
    """Calls kind(name, title, before, measured, admitted) for each kind of work.

    before: what is played to an empty Redis first. admitted: which part of what is decided, None for what decides nothing."""

    def traffic(commands, together=PIPELINE, **more):
        return Traffic(folder, commands, together, **more)

    sequence = range(CLIENTS)
    incr = [spell("INCR", key(client)) for client in ORDER]
    counters = traffic([spell("INCR", key(client)) for client in sequence], KEYS)
    fresh = traffic(takes(order=sequence), KEYS)
    full = traffic(takes("60s", "COST", 10, order=sequence), KEYS)
    calls = script_calls(build)
    script = [calls[client] for client in ORDER]
    late = script_calls(build, window_ms=60000)
    eight = 4  # passes of a file that has each client twice

    kind("ping", "PING, 32 in a write", [], traffic([spell("PING")] * len(ORDER), passes=eight))
    kind("get", "GET, 32 in a write", [counters], traffic([spell("GET", key(client)) for client in ORDER], passes=eight))
    kind("incr", "INCR, 32 in a write", [counters], traffic(incr, passes=eight))
    kind("incr64", "INCR, 64 in a write", [counters], traffic(incr, KEYS, passes=eight))
    kind("set", "SET with PX of 60 bytes, 32 in a write", [counters],
         traffic([spell("SET", key(client), "x" * 60, "PX", 60000) for client in ORDER], passes=eight))
    kind("take", "SLUICE.TAKE, 32 in a write, allowed", [fresh], traffic(takes(), passes=eight), 1)
    kind("denied", "  denied", [full], traffic(takes("60s"), passes=eight), 0)
    kind("new", "  of clients that are new", [], traffic(takes("60s", order=ORDER[:CLIENTS])), 1)
    moving = [client for span in range(60, 200, 20) for client in takes(f"{span}s", order=ORDER[:CLIENTS])]
    kind("moving", "  allowed, and each moves the expiry", [fresh], traffic(moving), 1)
    kind("incr-new", "INCR of keys that are new", [], traffic(incr[:CLIENTS]))
    kind("peek", "SLUICE.PEEK, 32 in a write",
         [fresh], traffic([spell("SLUICE.PEEK", key(client), "sliding-log", 10, "1s") for client in ORDER], passes=eight), 1)
    kind("throttle", "CL.THROTTLE, 32 in a write, admitted",
         [], traffic([spell("CL.THROTTLE", key(client), 1000, 100000, 1) for client in ORDER], passes=eight))
    kind("mtake", "SLUICE.MTAKE EACH of 64 keys, PACKED, allowed", [fresh],
         traffic(mtakes("PACKED", packed(1, KEYS, 10, 300)), 1, each=KEYS, passes=eight), 1)
    kind("mtake-denied", "  denied", [full],
         traffic(mtakes("PACKED", packed(1, KEYS, 10, 60000)), 1, each=KEYS, passes=eight), 0)
    kind("mtake-text", "SLUICE.MTAKE EACH of 64 keys, in words, allowed", [fresh],
         traffic(mtakes("sliding-log", 10, "300ms"), 1, each=KEYS, passes=eight), 1)
    kind("script", "the script, 32 in a write, allowed", [fresh], traffic(script), 1)
    kind("script-denied", "  denied", [full], traffic([late[client] for client in ORDER]), 0)
    kind("all", "SLUICE.MTAKE ALL of 10 limits, 32 in a write, allowed (a request)", [],
         traffic(under_ten_limits(), passes=8), 1)
    ten = script_calls(build, keys=10, clients=CLIENTS // 10, window_ms=60000)
    kind("script-all", "the script, 10 limits (a request)", [], traffic([ten[client % len(ten)] for client in ORDER[:CLIENTS]][:2 * len(ten)]), 1)
    one_key(kind, traffic)


def one_key(kind, traffic):
    """A large ring beside a small one. Full, and at the edge: a key takes as often as its oldest entries leave, so that of
    the ring of 10,000 some 8,000 count; a limit of 10 in the shortest window is that on 100 keys in turn."""
    full = [traffic([take(0, limit, "60s", "COST", limit)]) for limit in (10, 10000)]
    for limit, before in zip((10, 10000), full):
        kind(f"full-{limit}", f"SLUICE.TAKE of one key with limit {limit:,}, denied", [before],
             traffic([take(0, limit, "60s")] * len(ORDER), passes=4), 0)
    small = traffic([take(client % 100, 10, "1ms") for client in range(len(ORDER))], passes=4)
    large = traffic([take(0, 10000, "10ms")] * len(ORDER), passes=4)
    kind("edge-10", "SLUICE.TAKE of 100 keys with limit 10, allowed, one leaves as one enters", [small], small, 1)
    kind("edge-10000", "SLUICE.TAKE of one key with limit 10,000, the same", [large], large, 1)
