#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a decision costs Redis: CPU of redis-server and memory, the script beside the plain pipeline that is commonly used.

  plain   MULTI, ZADD key now now, ZREMRANGEBYSCORE key 0 now-window, ZCARD key, EXPIRE key window, EXEC: one round trip
          a request
  script  what Sluice sends (bench/redis_calls.c writes it), 64 calls a write

In each round all kinds take turns on one server; a figure is the median over the rounds of user and system time of the
server's process, a ratio the median of the ratios within the rounds. The server has one core, the load the other.

usage: redis.py BUILD [--rounds N] [--calls N]
"""
import argparse
import os
import statistics
import struct
import subprocess
import tempfile
import time

import servers
from resp import Redis, spell

PIPELINE = 64
WINDOW_S = 60
RINGS = 8  # large ones; in a round each takes some 4,000 entries more


def calls(build, verb, limit, n, keys, clients):
    """The bytes that Sluice sends for requests of so many clients in turn."""
    out = subprocess.run([os.path.join(build, "bench", "bench_redis_calls"), verb, str(limit), str(keys), str(clients)],
                         check=True, stdout=subprocess.PIPE).stdout
    size = len(out) // clients
    one = [out[i * size:(i + 1) * size] for i in range(clients)]
    return [b"".join(one[(i + k) % clients] for k in range(PIPELINE)) for i in range(0, n, PIPELINE)]


def plain(n, clients, name="plain"):
    batches = []
    for i in range(n):
        now = time.time() + i * 1e-6
        key = f"{name}:{i % clients:06d}"
        batches.append(spell("MULTI") + spell("ZADD", key, f"{now:.6f}", f"{now:.6f}") +
                       spell("ZREMRANGEBYSCORE", key, 0, f"{now - WINDOW_S:.6f}") + spell("ZCARD", key) +
                       spell("EXPIRE", key, WINDOW_S) + spell("EXEC"))
    return batches


class Kind:
    def __init__(self, name, batches, requests, replies):
        self.name, self.batches, self.requests, self.replies, self.us = name, batches, requests, replies, []

    def turn(self, redis):
        self.us.append(redis.run(self.batches, self.replies) / self.requests)


def large_rings(redis, build):
    """Rings of a limit of 10,000 whose beginning has expired before, so that their oldest entry lies anywhere."""
    redis.run(calls(build, "take", 10000, PIPELINE, 1, RINGS), PIPELINE)
    now = int(time.time() * 1e6)
    for key in redis.ask("KEYS", "*-0010000:*"):
        prefix = redis.ask("GETRANGE", key, 0, 3)
        ring = prefix + struct.pack("<QIII", now, 1000, 5000, 10000) + struct.pack("<I", now % 2**32) * 10000
        redis.ask("SET", key, ring, "PX", WINDOW_S * 2000)


def ratio(kind, other):
    return statistics.median(a / b for a, b in zip(kind.us, other.us))


def cpu(redis, build, args):
    n = args.calls // PIPELINE * PIPELINE

    def script(name, verb, limit, keys, clients):
        return Kind(name, calls(build, verb, limit, n, keys, clients), n, PIPELINE)

    many = max(1, n // 8)  # in a round each client asks eight times: all pass at a limit of 10
    kinds = {
        "plain": Kind("plain pipeline, one round trip a request", plain(n // 4, 100), n // 4, 6),
        "large": Kind("the same, sets of 5,000 entries", plain(n // 4, 4, "large"), n // 4, 6),
        "10": script("script, limit 10, allowed", "take", 10, 1, many),
        "10000": script("script, limit 10,000, allowed, rings of 5,000", "take", 10000, 1, RINGS),
        "denied": script("script, limit 10, denied", "take", 10, 1, 16),
        "keys": script("script, {} limits a request, allowed".format(args.keys), "take", 10, args.keys, many),
        "set": Kind("bare SET with PX", [spell("SET", "bare", "x" * 60, "PX", 60000) * PIPELINE] * (n // PIPELINE), n, PIPELINE),
    }
    for _ in range(args.rounds):
        redis.ask("FLUSHALL")
        large_rings(redis, build)
        redis.run(calls(build, "take", 10, 1024, 1, 16), PIPELINE)
        for client in range(4):
            members = [f"{time.time() - i / 1000:.6f}" for i in range(5000)]
            redis.ask("ZADD", f"large:{client:06d}", *(word for member in members for word in (member, member)))
        for name in ("plain", "large", "10000", "denied", "set"):
            kinds[name].turn(redis)
        for name in ("10", "keys"):  # each with clients that nobody has seen
            redis.ask("FLUSHALL")
            kinds[name].turn(redis)
    for kind in kinds.values():
        print(f"{statistics.median(kind.us):7.2f} us  {kind.name}")
    print(f"ratio {ratio(kinds['10'], kinds['plain']):.3f}  script to plain pipeline, limit 10; aim at most 0.2")
    print(f"ratio {ratio(kinds['10000'], kinds['large']):.3f}  the same, limit 10,000; aim at most 0.2")
    print(f"ratio {ratio(kinds['keys'], kinds['10']):.2f}  {args.keys} limits to one, of Redis alone")


def memory(redis, build):
    key = "rate_limit:per-client:{10.0.0.160}"
    redis.ask("FLUSHALL")
    redis.run(calls(build, "attack", 10, 20480, 1, 1), PIPELINE)
    for i in range(20000):
        redis.ask("ZADD", "plain", f"{1.7e9 + i / 1000:.6f}", f"{1.7e9 + i / 1000:.6f}")
    script, sorted_set = (int(redis.ask("MEMORY", "USAGE", name, "SAMPLES", "0")) for name in (key, "plain"))
    print(f"{script} bytes of one client after 20,000 requests, aim at most 160; {sorted_set} in a sorted set")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--calls", type=int, default=32768)
    parser.add_argument("--keys", type=int, default=10)
    args = parser.parse_args()
    os.sched_setaffinity(0, {int(servers.CLIENT_CORE)} & os.sched_getaffinity(0) or os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        redis = Redis(folder)
        try:
            load = subprocess.run([os.path.join(args.build, "bench", "bench_redis_calls"), "load"], check=True,
                                  stdout=subprocess.PIPE).stdout
            redis.run([load], 1)
            cpu(redis, args.build, args)
            memory(redis, args.build)
        finally:
            redis.stop()


main()
