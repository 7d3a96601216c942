#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""CPU time per HTTP request: sluice beside nginx, and beside the least that the kernel asks for.

Each round loads every server in turn with the same wrk (64 connections, kept alive) from the other core; a server's CPU
time is read from /proc/PID/stat. Printed are medians over the rounds, and the median of the ratios within each round.

usage: serving.py BUILD [--rounds N] [--seconds N] [--only NAME]
"""
import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import servers

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
MANY = """
local n = 0
request = function()
  n = (n * 1103515245 + 12345) % 2147483648
  local a = math.floor(n / 2048) % {clients}
  wrk.headers["X-Forwarded-For"] = string.format("10.%d.%d.%d", a / 65536 % 256, a / 256 % 256, a % 256)
  return wrk.format()
end
"""


def load(server, seconds, script):
    command = ["taskset", "-c", servers.CLIENT_CORE, "wrk", "-t1", "-c64", f"-d{seconds}s"]
    if script:
        command += ["-s", script]
    user, system = server.cpu_ticks()
    out = subprocess.run([*command, server.url()], capture_output=True, text=True, check=True).stdout
    user_after, system_after = server.cpu_ticks()
    requests = int(re.search(r"(\d+) requests in", out).group(1))
    return ((user_after - user) * TICK_US / requests, (system_after - system) * TICK_US / requests,
            requests / seconds)


def compare(title, started, reference, aim, args, script=None, after=None):
    """Prints a line a server; the first is ours. `after` prints more before they are stopped."""
    results = {server.name: [] for server in started}
    for _ in range(args.rounds):
        for server in started:
            results[server.name].append(load(server, args.seconds, script))
    print(f"\n{title}")
    for server in started:
        rounds = results[server.name]
        user, system, rate = (statistics.median(column) for column in zip(*rounds))
        total = statistics.median(user + system for user, system, _ in rounds)
        print(f"  {server.name:<28} {total:6.2f} us CPU a request (user {user:.2f}, system {system:.2f}), "
              f"{rate:8,.0f} requests/s")
    ours = results[started[0].name]
    for name, rounds in list(results.items())[1:]:
        ratio = statistics.median((a[0] + a[1]) / (b[0] + b[1]) for a, b in zip(ours, rounds))
        mark = f"  aim at most {aim}: {'met' if ratio <= aim else 'MISSED'}" if name == reference else ""
        print(f"  {started[0].name} / {name}: {ratio:.2f}{mark}")
    if after:
        after()
    for server in started:
        server.stop()
        if hasattr(server, "nginx_folder"):
            shutil.rmtree(server.nginx_folder, ignore_errors=True)


def redirect(build, args):
    compare("redirect of a cached link, limiter on, one client, logs off",
            [servers.sluice(build, "sluice", "1000000/1s"),
             servers.nginx("nginx limit_req + return", "/redirect"),
             servers.nginx("nginx limit_req, cheapest", "/cheapest"), servers.floor(build)],
            "nginx limit_req + return", 0.9, args)


def redirect_many(build, args):
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(MANY.format(clients=1000000))
        script.flush()
        compare("redirect, 1,000,000 clients behind a trusted proxy, logs off",
                [servers.sluice(build, "sluice", "10000/60s", trusted=True),
                 servers.nginx("nginx limit_req + return", "/redirect", trusted=True)],
                "nginx limit_req + return", 0.9, args, script.name)


def redirect_logged(build, args):
    compare("redirect, one client, each with its access log in a file",
            [servers.sluice(build, "sluice", "1000000/1s", log="text"),
             servers.nginx("nginx limit_req + return", "/redirect", log=True)],
            "nginx limit_req + return", 0.9, args)


def denial(build, args):
    compare("denial (429), one client, logs off",
            [servers.sluice(build, "sluice", "2/1h", deny=True),
             servers.nginx("nginx limit_req", "/denied", status=429), servers.floor(build)],
            "nginx limit_req", 0.9, args)


def denial_logged(build, args):
    compare("denial (429), one client, each with its logs in files",
            [servers.sluice(build, "sluice", "2/1h", log="text", deny=True),
             servers.nginx("nginx limit_req", "/denied", log=True, status=429)],
            "nginx limit_req", 0.9, args)


def redirect_redis(build, args):
    redis = servers.redis()
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(MANY.format(clients=100000))
        script.flush()
        compare("redirect, the limit held in Redis, 100,000 clients behind a trusted proxy, logs off; nginx: each for itself",
                [servers.sluice(build, "sluice, Redis", "10000/60s", trusted=True,
                                limiter=f"redis://127.0.0.1:{redis.port}"),
                 servers.nginx("nginx limit_req + return", "/redirect", trusted=True),
                 servers.sluice(build, "sluice, in process", "10000/60s", trusted=True)],
                "nginx limit_req + return", 1.4, args, script.name)
    redis.stop()


def denial_redis(build, args):
    for log in ("off", "text"):
        redis = servers.redis()
        ours = servers.sluice(build, "sluice, Redis", "2/1h", log=log, deny=True,
                              limiter=f"redis://127.0.0.1:{redis.port}")
        before = redis_asked(redis, ours)
        compare(f"denial (429), the limit held in Redis, one client, logs {'off' if log == 'off' else 'in files'}",
                [ours, servers.nginx("nginx limit_req", "/denied", log=log != "off", status=429)],
                "nginx limit_req", 0.95, args, after=lambda: report_commands(redis, ours, before))
        redis.stop()


def redis_asked(redis, server):
    text = servers.ask(server.port, path="/metrics")[1].decode()
    denied = re.search(r'sluice_decisions_total{limit="per-client",outcome="denied",by="store"} (\d+)', text)
    return servers.redis_commands(redis), int(denied.group(1))


def report_commands(redis, server, before):
    commands, denied = (now - then for now, then in zip(redis_asked(redis, server), before))
    print(f"  Redis: {commands} commands in all (heartbeats too) while {denied:,} requests were denied: "
          f"{commands / denied:.5f} a request  aim at most 0.001: {'met' if commands <= denied / 1000 else 'MISSED'}")


def start(build, args):
    times = []
    for _ in range(21):
        port = servers.free_port()
        with tempfile.TemporaryDirectory() as folder:
            begin = time.monotonic()
            process = subprocess.Popen([os.path.join(build, "sluice"), "serve", "--listen", f"127.0.0.1:{port}"],
                                       cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while True:
                try:
                    servers.ask(port)
                    break
                except OSError:
                    if time.monotonic() - begin > 10:
                        sys.exit("sluice did not start")
            times.append((time.monotonic() - begin) * 1000)
            process.terminate()
            process.wait()
    median = statistics.median(times)
    print(f"\nstart to first answer: {median:.1f} ms (worst of {len(times)}: {max(times):.1f})  aim at most 50: "
          f"{'met' if median <= 50 else 'MISSED'}")


BENCHES = {"redirect": redirect, "redirect-many": redirect_many, "redirect-logged": redirect_logged,
           "denial": denial, "denial-logged": denial_logged,
           "redirect-redis": redirect_redis, "denial-redis": denial_redis, "start": start}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", choices=BENCHES)
    args = parser.parse_args()
    for name, bench in BENCHES.items():
        if args.only in (None, name):
            bench(os.path.abspath(args.build), args)


if __name__ == "__main__":
    main()
