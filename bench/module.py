#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a decision of the module costs Redis: CPU of redis-server and memory, beside plain commands and the script.

One redis-server on one core, 100,000 keys of the kind that is measured, the load on the other core: four connections with a
write of 32 commands (or one of 64 keys) under way on each, so that the server is never idle. In each round all kinds
take turns; a figure is the median over the rounds of user and system time of all the server's threads a decision, a ratio the median of
the ratios within the rounds. A client with one connection is measured as well. Time is read from /proc/PID/task/TID/schedstat, as /proc/PID/stat has steps of 10 ms; that both
agree is printed. Then the same with an append-only file, and with a replica (on the load's core).

usage: module.py BUILD [--rounds N] [--module FILE] [--only KIND,KIND] [--plain]
"""
import argparse
import json
import os
import re
import statistics
import subprocess
import tempfile
import time

import module_traffic
import resp
import servers

CONNECTIONS = 4
ALONE = ("incr", "incr64", "take", "denied", "mtake", "mtake-denied", "script")  # what is measured with one connection, too
AIMS = [  # kind, beside, aim
    ("take", "incr", 1.4), ("denied", "incr", None), ("new", "incr-new", None), ("moving", "incr", None), ("peek", "get", None),
    ("mtake", "incr64", 0.9), ("mtake-text", "incr64", None), ("mtake-denied", "incr64", None),
    ("take", "script", 0.2), ("denied", "script-denied", None), ("all", "script-all", None),
    ("full-10000", "full-10", 1.2), ("edge-10000", "edge-10", 1.2), ("throttle", "take", None)]
HEARD = ("incr", "incr64", "take", "denied", "mtake", "script")  # what is measured with an append-only file and a replica


class Kind:
    def __init__(self, name, title, before, measured, admitted=None):
        self.name, self.title, self.before, self.measured, self.admitted = name, title, before, measured, admitted
        self.us, self.off = [], 0.0


class Bench:
    """A Redis with the module, and what was measured on it."""

    def __init__(self, build, kinds, *options, connections=CONNECTIONS):
        self.build, self.kinds, self.connections, self.seen = build, kinds, connections, [0, 0]
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        self.redis = resp.Redis(self.folder.name, *options)
        script = subprocess.run([os.path.join(build, "bench", "bench_redis_calls"), "load"], check=True, stdout=subprocess.PIPE).stdout
        self.redis.run([script], 1)

    def play(self, traffic):
        out = subprocess.run(["taskset", "-c", servers.CLIENT_CORE, os.path.join(self.build, "bench", "bench_redis_replay"),
                              str(self.redis.port), str(self.redis.process.pid), str(self.connections), str(traffic.passes),
                              traffic.path], check=True, stdout=subprocess.PIPE).stdout
        return json.loads(out)

    def turn(self, kind):
        self.redis.ask("FLUSHALL", "SYNC")
        self.settle()
        for traffic in kind.before:
            self.play(traffic)
        got = self.play(kind.measured)
        kind.us.append(got["cpu_ns"] / 1e3 / kind.measured.decisions)
        self.seen[0] += got["cpu_ns"] / 1e3
        self.seen[1] += got["stat_ticks"] * resp.TICK_US
        if kind.admitted is not None:
            kind.off = max(kind.off, abs(got["allowed"] / got["decided"] - kind.admitted))

    def settle(self):
        """Cuts the append-only file off, and waits until a replica has what there is."""
        if self.redis.ask("CONFIG", "GET", "appendonly")[1] == b"yes":
            self.redis.ask("BGREWRITEAOF")
        end = time.monotonic() + 60
        while time.monotonic() < end:
            info = self.redis.ask("INFO").decode()
            if (not re.search("aof_rewrite_(in_progress|scheduled):1", info) and "rdb_bgsave_in_progress:1" not in info
                    and not re.search("slave0:.*state=(?!online)", info)):
                return
            time.sleep(0.02)
        raise SystemExit("Redis does not come to rest")

    def measure(self, rounds):
        for _ in range(rounds):
            for kind in self.kinds.values():
                self.turn(kind)

    def report(self, title, aims=True):
        print(f"\n{title}: us of CPU a decision (and between which bounds half of the rounds lie)")
        for kind in self.kinds.values():
            low, high = quarters(kind.us)
            print(f"{statistics.median(kind.us):7.3f} us ({low:.3f} to {high:.3f})  {kind.title}"
                  + (f"; but {kind.off:.1%} were decided otherwise" if kind.off > 0.005 else ""))
        for name, beside, aim in AIMS:
            if name in self.kinds and beside in self.kinds:
                ratio = statistics.median(a / b for a, b in zip(self.kinds[name].us, self.kinds[beside].us))
                print(f"ratio {ratio:.3f}  {name} to {beside}" +
                      (f"; aim at most {aim}: {'met' if ratio <= aim else 'MISSED'}" if aims and aim else ""))

    def stop(self):
        self.redis.stop()
        self.folder.cleanup()


def quarters(values):
    ordered = sorted(values)
    return ordered[len(ordered) // 4], ordered[-1 - len(ordered) // 4]


def memory(bench):
    redis = bench.redis
    print("\nmemory of one client, limit 10, 10 entries, by MEMORY USAGE")
    for name in ("203.0.113.7", "rate_limit:per-client:{203.0.113.7}"):
        redis.ask("FLUSHALL", "SYNC")
        for _ in range(10):
            redis.ask("SLUICE.TAKE", name, "sliding-log", 10, "1h")
            ours = int(redis.ask("MEMORY", "USAGE", name))
        redis.ask("DEL", name)
        for i in range(10):
            member = f"{time.time() + i / 1000:.6f}"
            redis.ask("ZADD", name, member, member)
        redis.ask("EXPIRE", name, 3600)
        print(f"{ours:5} bytes, in a sorted set {int(redis.ask('MEMORY', 'USAGE', name))}: key {name}" +
              (f"; aim at most 120: {'met' if ours <= 120 else 'MISSED'}" if name[0] == "2" else ""))
    redis.ask("FLUSHALL", "SYNC")
    empty = used(redis)
    clients = module_traffic.CLIENTS
    batches = [b"".join(module_traffic.take(client, 10, "1h") for client in range(i, i + 100)) for i in range(0, clients, 100)]
    for _ in range(10):
        redis.run(batches, 100)
    print(f"{(used(redis) - empty) / clients:5.0f} bytes a client, all included (used_memory of {clients:,} clients with keys of "
          f"{len(module_traffic.key(0))} bytes)")


def used(redis):
    return int(re.search(r"used_memory:(\d+)", redis.ask("INFO", "memory").decode()).group(1))


def again(kinds, names):
    """The same kinds, of which nothing was measured yet."""
    return {name: Kind(name, kinds[name].title, kinds[name].before, kinds[name].measured, kinds[name].admitted) for name in names}


def alone(build, module, rounds, kinds):
    """A client that waits for each of its writes to be answered, as redis-benchmark does with one connection."""
    bench = Bench(build, again(kinds, ALONE), "--loadmodule", module, connections=1)
    bench.measure(rounds)
    bench.report("one connection, so that the server also sleeps and wakes for each write")
    bench.stop()


def heard(build, module, folder, rounds, kinds):
    """The same decisions when somebody listens, so that each effect is written out as a command."""
    mine = ("--loadmodule", module, "--auto-aof-rewrite-percentage", "0", "--client-output-buffer-limit", "replica 0 0 0")
    for title, options in (("with an append-only file, everysec", ("--appendonly", "yes", "--appendfsync", "everysec")),
                           ("with a replica", ())):
        bench = Bench(build, again(kinds, HEARD), *mine, *options)
        replica = None
        if not options:
            copy = os.path.join(folder, "replica")
            os.mkdir(copy)
            replica = resp.Redis(copy, "--replicaof", f"127.0.0.1 {bench.redis.port}", core=servers.CLIENT_CORE)
            while b"state=online" not in bench.redis.ask("INFO", "replication"):
                time.sleep(0.02)
        bench.measure(rounds)
        bench.report(title, aims=False)
        bench.stop()
        if replica:
            replica.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--module", help="another sluice.so")
    parser.add_argument("--only", help="kinds, with commas between them")
    parser.add_argument("--plain", action="store_true", help="only the first table")
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    module = os.path.abspath(args.module or os.path.join(build, "redis-module", "sluice.so"))
    kinds = {}
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        traffic = os.path.join(folder, "traffic")
        os.mkdir(traffic)
        module_traffic.build_kinds(build, traffic, lambda name, *rest: kinds.__setitem__(name, Kind(name, *rest)))
        wanted = args.only.split(",") if args.only else list(kinds)
        bench = Bench(build, {name: kinds[name] for name in wanted}, "--loadmodule", module)
        try:
            bench.measure(args.rounds)
            bench.report("one Redis, nobody listens")
            print(f"{bench.seen[1] / bench.seen[0]:.4f} of this time in /proc/PID/stat, over {bench.seen[0] / 1e6:.0f} s of it")
            if not args.plain:
                memory(bench)
        finally:
            bench.stop()
        if not args.plain:
            alone(build, module, args.rounds, kinds)
            heard(build, module, folder, args.rounds, kinds)


main()
