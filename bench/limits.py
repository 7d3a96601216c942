#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a request under ten limits costs, beside one under one limit: allowed redirects of a cached link, 100,000 clients
behind a trusted proxy, all limits in one Redis, each server with keys of its own.

Each round loads both servers in turn with the same wrk (64 connections, kept alive) and counts the CPU time of the server
and that of Redis meanwhile, and how many calls of the script Redis has seen: the round trips. Printed are medians over the
rounds; ratios are medians of those within the rounds.

usage: limits.py BUILD [--rounds N] [--seconds N] [--limits N]
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


def script_calls(redis):
    with socket.create_connection(("127.0.0.1", redis.port), 5) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"INFO commandstats\r\n")
        text = answer.read(int(answer.readline()[1:]))
    called = re.search(rb"cmdstat_evalsha:calls=(\d+)", text)
    return int(called.group(1)) if called else 0


def decided(server):
    """How many requests the server has let pass: more than wrk counts, which leaves when some are under way."""
    text = servers.ask(server.port, path="/metrics")[1].decode()
    return int(re.search(r'sluice_decisions_total{limit="limit-00",outcome="allowed",by="store"} (\d+)', text).group(1))


def server_under(build, redis, n):
    limits = "".join(f"  - {{name: limit-{i:02}, limit: 100, window: {60 + i}s, by: [client-ip]}}\n" for i in range(n))
    config = f"limiter: {{prefix: 'under-{n}:'}}\nlimits:\n{limits}"
    return servers.sluice(build, f"{n} limit{'s' if n > 1 else ''}", None, trusted=True, config=config,
                          limiter=f"redis://127.0.0.1:{redis.port}")


def load(server, redis, seconds, script):
    """Returns what a request costs: CPU us of the server, of Redis, and calls."""
    before, decided_before = (sum(server.cpu_ticks()), sum(redis.cpu_ticks()), script_calls(redis)), decided(server)
    out = subprocess.run(["taskset", "-c", servers.CLIENT_CORE, "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script, server.url()],
                         capture_output=True, text=True, check=True).stdout
    after = (sum(server.cpu_ticks()), sum(redis.cpu_ticks()), script_calls(redis))
    requests = decided(server) - decided_before
    if "Non-2xx" in out or "Socket errors" in out:
        raise SystemExit(f"{server.name}: not all was allowed:\n{out}")
    units = (serving.TICK_US, serving.TICK_US, 1)
    return tuple((now - then) * unit / requests for now, then, unit in zip(after, before, units))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--limits", type=int, default=10)
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    redis = servers.redis()
    one, many = server_under(build, redis, 1), server_under(build, redis, args.limits)
    results = {one: [], many: []}
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(LOAD)
        script.flush()
        for _ in range(args.rounds):
            for server, rounds in results.items():
                rounds.append(load(server, redis, args.seconds, script.name))
    print("\nallowed redirect, limits in Redis, 100,000 clients behind a trusted proxy, logs off")
    for server, rounds in results.items():
        ours, of_redis, calls = (statistics.median(column) for column in zip(*rounds))
        print(f"  {server.name:<10} sluice {ours:6.2f} us CPU a request, Redis {of_redis:6.2f} us, "
              f"both {statistics.median(a + b for a, b, _ in rounds):6.2f} us; {calls:.4f} round trips")

    def ratio(cost):
        return statistics.median(cost(b) / cost(a) for a, b in zip(results[one], results[many]))

    both, calls = ratio(lambda r: r[0] + r[1]), max(r[2] for r in results[many])
    print(f"  {many.name} / {one.name}: sluice {ratio(lambda r: r[0]):.2f}, Redis {ratio(lambda r: r[1]):.2f}, "
          f"both {both:.2f}  aim at most 3: {'met' if both <= 3 else 'MISSED'}; "
          f"one round trip: {'met' if calls <= 1.001 else 'MISSED'}")


if __name__ == "__main__":
    main()
