#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Two servers, one Redis, one PostgreSQL, all on this machine: Sluice beside a small Flask application (reference/app.py).

Both plants stand at once, on the same Redis and the same PostgreSQL; only one is under load at a time, in turns. Load is
one wrk a server. Printed are medians over the rounds and the ratio of them.

    allowed   redirects of one link, each of a client that has not used up its 10 in 60 s
    denied    redirects of clients that are far over it, one a server
    latency   p99 of an allowed redirect at half the rate of `allowed`, beside that of a PING to Redis meanwhile

usage: plant.py BUILD [--rounds N] [--seconds N] [--only NAME]
"""
import argparse
import atexit
import itertools
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests" / "integration"))

import servers  # noqa: E402
from support.postgres import Postgres  # noqa: E402
from support.redis import Redis  # noqa: E402

URL = "https://example.com/some/long/path/to/a/page?with=query"
FORM = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "203.0.113.1"}
CONNECTIONS = 32
CLIENTS = 100000  # of one wrk
# Requests are made beforehand, so that the load costs as little as it can. Arguments: first client, clients, pause in ms.
LOAD = """
local requests, next, pause = {}, 0, 0
init = function(args)
  local first, clients = tonumber(args[1]), tonumber(args[2])
  pause = tonumber(args[3])
  for i = 1, clients do
    local a = first + i
    wrk.headers["X-Forwarded-For"] = string.format("10.%d.%d.%d", a / 65536 % 256, a / 256 % 256, a % 256)
    requests[i] = wrk.format()
  end
end
request = function()
  next = next % #requests + 1
  return requests[next]
end
"""
PAUSED = "delay = function() return math.random(0, 2 * pause) end\n"


class Plant:
    """Two servers of one kind and their link."""

    def __init__(self, name, started):
        self.name, self.servers = name, started
        for server in started:
            self.wait_for(server)
        for server in started:
            server.path = self.path_from(server)
        self.check()

    def wait_for(self, server):
        """gunicorn listens before its workers can answer."""
        end = time.monotonic() + 60
        while True:
            try:
                assert servers.ask(server.port, headers={"X-Forwarded-For": "203.0.113.2"})[0] == 200, self.name
                return
            except TimeoutError:
                assert time.monotonic() < end, f"{self.name} does not answer"

    def path_from(self, server):
        status, body, _ = servers.ask(self.servers[0].port, "POST", "/shorten", f"url={URL}", FORM)
        assert status == 200, (self.name, status, body)
        return re.search(rb'"(/\w+)"', body).group(1).decode()

    def check(self):
        """It does what is measured: 10 pass over both servers, the next does not."""
        for i in range(12):
            server = self.servers[i % 2]
            status, _, fields = servers.ask(server.port, path=server.path, headers={"X-Forwarded-For": "203.0.113.9"})
            assert status == (302 if i < 10 else 429), (self.name, i, status)
            assert status == 429 or fields["Location"] == URL, fields


def uri(postgres, database):
    return postgres.uri(database, "sluice:secret")


def sluice(build, redis, postgres, folder):
    config = folder / "sluice.yaml"
    config.write_text("trusted_proxies: [127.0.0.0/8]\nserver: {threads: 1}\nlog: {access: off}\n"
                      f"limiter: {{store: '{redis.url}'}}\nlinks: {{store: '{uri(postgres, 'sluice')}'}}\n")
    ports = [servers.free_port() for _ in range(2)]
    return Plant("sluice", [servers.Server(f"sluice {port}", [os.path.join(build, "sluice"), "serve", "--config", str(config),
                                                              "--listen", f"127.0.0.1:{port}"], port, "/", core=None)
                            for port in ports])


def reference(redis, postgres):
    env = {"REDIS": redis.url + "/1", "DATABASE": uri(postgres, "reference"), "PYTHONPATH": str(HERE / "reference")}
    ports = [servers.free_port() for _ in range(2)]
    return Plant("reference", [servers.Server(f"reference {port}", ["/usr/bin/python3", "-m", "gunicorn", "--workers", "2", "--bind",
                                                                    f"127.0.0.1:{port}", "app:app"], port, "/", env,
                                              core=None)
                               for port in ports])


class Wrk:
    """One wrk for each server of a plant, at once."""

    fresh = itertools.count(1, 1)

    def __init__(self, folder):
        self.script, self.paused = folder / "load.lua", folder / "paused.lua"
        self.script.write_text(LOAD)
        self.paused.write_text(LOAD + PAUSED)

    def run(self, plant, seconds, attack=False, pause_ms=None):
        """@param attack  from one client a server; otherwise from ones that nobody has seen.
        Returns (2xx and 3xx, others) a second."""
        running = []
        for i, server in enumerate(plant.servers):
            words = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s"]
            if attack:
                words += ["-H", f"X-Forwarded-For: 203.0.113.{100 + i}", server.url()]
            else:
                words += ["-s", str(self.paused if pause_ms else self.script), server.url(), "--",
                          str(next(self.fresh) * CLIENTS), str(CLIENTS), str(pause_ms or 0)]
            running.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        good = bad = 0.0
        for one in running:
            out = one.communicate()[0]
            assert one.returncode == 0, out
            total, took = re.search(r"(\d+) requests in ([0-9.]+)s", out).groups()
            other = re.search(r"Non-2xx or 3xx responses: (\d+)", out)
            wrong = int(other.group(1)) if other else 0
            good += (int(total) - wrong) / float(took)
            bad += wrong / float(took)
        return good, bad


def compare(what, column, plants, wrk, args, aim, **load):
    rates = {plant.name: [] for plant in plants}
    for _ in range(args.rounds):
        for plant in plants:
            rates[plant.name].append(wrk.run(plant, args.seconds, **load)[column])
    medians = {name: statistics.median(some) for name, some in rates.items()}
    print(f"\n{what}, a second, two servers")
    for name, rate in medians.items():
        print(f"  {name:<10} {rate:10,.0f}   of {', '.join(f'{one:,.0f}' for one in rates[name])}")
    ratio = medians["sluice"] / medians["reference"]
    print(f"  sluice / reference: {ratio:.0f}   aim at least {aim}: {'met' if ratio >= aim else 'MISSED'}")
    return medians["sluice"]


def allowed(plants, wrk, args):
    return compare("allowed redirects", 0, plants, wrk, args, 100)


def denied(plants, wrk, args):
    compare("denials", 1, plants, wrk, args, 20, attack=True)


class Probe:
    """In turns, while something else goes on: an allowed redirect, and a bare round trip to Redis; both from here, on kept
    connections, so that what this program and the scheduler add is in both."""

    clients = itertools.count()

    def __init__(self, server, redis):
        self.server, self.redis = server, redis
        self.over = threading.Event()
        self.redirects_ms, self.pings_ms = [], []
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        with self.redis.client() as client, socket.create_connection(("127.0.0.1", self.server.port)) as web:
            web.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for i in self.clients:
                if self.over.wait(0.001):
                    return
                request = (f"GET {self.server.path} HTTP/1.1\r\nHost: bench\r\n"
                           f"X-Forwarded-For: 172.16.{i // 256 % 256}.{i % 256}\r\n\r\n").encode()
                begun = time.perf_counter()
                client.ask("PING")
                middle = time.perf_counter()
                web.sendall(request)
                answer = web.recv(65536)
                end = time.perf_counter()
                assert answer.startswith(b"HTTP/1.1 302 ") and answer.endswith(b"\r\n\r\n"), answer
                self.pings_ms.append((middle - begun) * 1000)
                self.redirects_ms.append((end - middle) * 1000)

    def p99(self):
        """Of redirects, of pings."""
        self.over.set()
        self.thread.join()
        return [sorted(times)[len(times) * 99 // 100] for times in (self.redirects_ms, self.pings_ms)]


def latency(plants, wrk, args, redis, rate):
    """wrk pauses each connection so long that all of them together ask for half of `rate`."""
    pause_ms = max(1, round(2 * CONNECTIONS * 2 / rate * 1000))
    found = []
    for _ in range(args.rounds):
        probe = Probe(plants[0].servers[0], redis)
        good, _ = wrk.run(plants[0], args.seconds, pause_ms=pause_ms)
        redirect, ping = probe.p99()
        found.append((redirect - ping, redirect, ping, good))
    over, redirect, ping, good = (statistics.median(column) for column in zip(*found))
    print(f"\np99 of an allowed redirect at {good:,.0f} a second: {redirect:.2f} ms; of a PING to Redis meanwhile {ping:.2f} ms"
          f"\n  more: {over:.2f} ms   aim at most 1: {'met' if over <= 1 else 'MISSED'}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--only", choices=("allowed", "denied", "latency"))
    args = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="sluice-bench-plant-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    redis = Redis(folder / "redis", arguments=["--appendonly", "yes"])
    atexit.register(redis.finish)
    # As Debian sets it up: with a password over TCP, which each new connection proves that it knows.
    postgres = Postgres(hba="local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n")
    atexit.register(postgres.close)
    for name in ("sluice", "reference"):
        postgres.new_database(name)
    plants = [sluice(os.path.abspath(args.build), redis, postgres, folder), reference(redis, postgres)]
    wrk = Wrk(folder)
    if args.only in (None, "denied"):
        denied(plants, wrk, args)
    if args.only != "denied":
        rate = allowed(plants, wrk, args)
        if args.only != "allowed":
            latency(plants, wrk, args, redis, rate)


main()
