#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Every benchmark, one after the other: nothing else should run on the machine meanwhile.

usage: run.py BUILD
"""
import os
import subprocess
import sys


def main():
    build = os.path.abspath(sys.argv[1])
    here = os.path.dirname(os.path.abspath(__file__))
    commands = [[os.path.join(build, "bench", name)] for name in ("bench_core", "bench_memory", "bench_shorten", "bench_redis_conn", "bench_limiter_front")]
    commands += [[sys.executable, os.path.join(here, name), build] for name in ("serving.py", "postgres.py", "redis.py", "module.py", "module_serving.py", "limits.py", "plant.py")]
    failed = 0
    for command in commands:
        print(f"\n== {os.path.basename(command[-2] if len(command) > 1 else command[0])}", flush=True)
        failed += subprocess.run(command, check=False).returncode != 0
    sys.exit(1 if failed else 0)


main()
