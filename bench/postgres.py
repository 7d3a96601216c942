#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Links in PostgreSQL beside SQLite and a plain client: starts a PostgreSQL (fsync on) and runs bench_postgres on it.

usage: postgres.py BUILD [FOLDER]   (the folder for SQLite's file; /tmp is where PostgreSQL's files are)
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from support.postgres import Postgres  # noqa: E402


def main():
    build, folder = os.path.abspath(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "/tmp"
    postgres = Postgres(settings="shared_buffers = 256MB\n")
    try:
        uri = postgres.uri(user="postgres")
        sys.exit(subprocess.run([os.path.join(build, "bench", "bench_postgres"), uri, folder], check=False).returncode)
    finally:
        postgres.close()


main()
