#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What the module saves end to end: allowed redirects of a cached link through sluice and a Redis with the module, beside the
same with a Redis without it, for which sluice sends its script. 100,000 clients behind a trusted proxy.

Each round loads both servers in turn with the same wrk (64 connections, kept alive) and counts the CPU time of the server and that of
its Redis meanwhile, from /proc/PID/stat. Printed are medians over the rounds; ratios are medians of those within the rounds.

usage: module_serving.py BUILD [--rounds N] [--seconds N]
"""
import argparse
import os
import re
import socket
import statistics
import subprocess
import tempfile

import servers
import serving

CONNECTIONS = 64
LOAD = """
local n = 0
request = function()
  n = (n + 1) % 100000
  wrk.headers["X-Forwarded-For"] = string.format("10.%d.%d.%d", n / 65536 % 256, n / 256 % 256, n % 256)
  return wrk.format()
end
"""
COMMANDS = {"module": "sluice.mtake", "script": "evalsha"}


def calls(redis, command):
    with socket.create_connection(("127.0.0.1", redis.port), 5) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"INFO commandstats\r\n")
        text = answer.read(int(answer.readline()[1:])).decode()
    called = re.search(rf"cmdstat_{re.escape(command)}:calls=(\d+)", text)
    return int(called.group(1)) if called else 0


def decided(server):
    text = servers.ask(server.port, path="/metrics")[1].decode()
    return int(re.search(r'sluice_decisions_total{limit="per-client",outcome="allowed",by="store"} (\d+)', text).group(1))


class Pair:
    """A server and its Redis."""

    def __init__(self, build, name, *options):
        self.name, self.redis, self.rounds = name, servers.redis(*options), []
        self.server = servers.sluice(build, name, "10/5s", trusted=True, limiter=f"redis://127.0.0.1:{self.redis.port}")

    def now(self):
        return (sum(self.server.cpu_ticks()) * serving.TICK_US, sum(self.redis.cpu_ticks()) * serving.TICK_US,
                calls(self.redis, COMMANDS[self.name]))

    def load(self, seconds, script):
        before, decided_before = self.now(), decided(self.server)
        out = subprocess.run(["taskset", "-c", servers.CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script,
                              self.server.url()], capture_output=True, text=True, check=True).stdout
        after, requests = self.now(), decided(self.server) - decided_before
        if "Non-2xx" in out or "Socket errors" in out:
            raise SystemExit(f"{self.name}: not all was allowed:\n{out}")
        if after[2] == before[2]:
            raise SystemExit(f"{self.name}: Redis has seen no {COMMANDS[self.name]}")
        self.rounds.append(tuple((now - then) / requests for now, then in zip(after, before)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=int, default=4)
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    module = os.path.join(build, "redis-module", "sluice.so")
    pairs = [Pair(build, "module", "--loadmodule", module), Pair(build, "script")]
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LOAD)
        script.flush()
        for _ in range(args.rounds):
            for pair in pairs:
                pair.load(args.seconds, script.name)
    print("\nallowed redirect, the limit in Redis, 100,000 clients behind a trusted proxy, logs off: us of CPU a request")
    for pair in pairs:
        ours, of_redis, called = (statistics.median(column) for column in zip(*pair.rounds))
        both = statistics.median(a + b for a, b, _ in pair.rounds)
        print(f"  {pair.name}: sluice {ours:5.2f}, Redis {of_redis:5.2f}, both {both:5.2f}; {1 / called:.1f} requests a call")
    for what, cost, aim in (("sluice", lambda r: r[0], None), ("Redis", lambda r: r[1], None), ("both", lambda r: r[0] + r[1], 0.7)):
        ratio = statistics.median(cost(a) / cost(b) for a, b in zip(*(pair.rounds for pair in pairs)))
        print(f"  module / script, {what}: {ratio:.2f}" + (f"  aim at most {aim}: {'met' if ratio <= aim else 'MISSED'}" if aim else ""))


if __name__ == "__main__":
    main()
