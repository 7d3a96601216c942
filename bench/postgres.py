#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Links in PostgreSQL beside SQLite and a plain client: starts a PostgreSQL (fsync on), runs bench_postgres on it, and
compares what a redirect of a cached link costs a server with either store.

usage: postgres.py BUILD [FOLDER]   (the folder for SQLite's file; /tmp is where PostgreSQL's files are)
"""
import os
import re
import statistics
import subprocess
import sys

import servers

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from support.postgres import Postgres  # noqa: E402


TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")
ROUNDS, SECONDS = 5, 2


def cpu_us(server):
    """Of one request, under load from the other core."""
    before = sum(server.cpu_ticks())
    out = subprocess.run(["taskset", "-c", servers.CLIENT_CORE, "wrk", "-t1", "-c64", f"-d{SECONDS}s", server.url()],
                         capture_output=True, text=True, check=True).stdout
    return (sum(server.cpu_ticks()) - before) * TICK_US / int(re.search(r"(\d+) requests in", out).group(1))


def redirect(build, uri):
    started = [servers.sluice(build, name, "1000000/1s", links=links)
               for name, links in (("PostgreSQL", uri), ("SQLite", "sqlite:sluice.db"))]
    rounds = [[cpu_us(server) for server in started] for _ in range(ROUNDS)]
    for server in started:
        server.stop()
    print("redirect of a cached link, limiter on, logs off: us of CPU a request")
    for server, values in zip(started, zip(*rounds)):
        print(f"  {server.name:<14} {statistics.median(values):.2f}")
    print(f"  PostgreSQL / SQLite: {statistics.median(a / b for a, b in rounds):.2f}")


def main():
    build, folder = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "/tmp"
    postgres = Postgres(settings="shared_buffers = 256MB\n")
    try:
        uri = postgres.uri(user="postgres")
        failed = subprocess.run([os.path.join(build, "bench", "bench_postgres"), uri, folder], check=False).returncode
        redirect(build, postgres.uri(postgres.fresh_database()))
        sys.exit(failed)
    finally:
        postgres.close()


main()
