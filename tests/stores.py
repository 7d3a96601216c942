#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Tests the script and the module on other versions of Redis and Valkey than the machine's.

usage: tests/stores.py BUILD-FOLDER STORES-FOLDER [NAME...]

The servers are fetched by scripts/stores to STORES-FOLDER, where they are kept. On each run the conformance of script and
module, and the system tests that talk to a Redis. A server that can't be fetched is a failure.

At the end stand a table of the servers, and a line `N passed, N failed, N skipped`. The exit status is 1 when a test failed.

Leaves out: the redis-server of the machine, which `make test` runs.
"""
import os
import subprocess
import sys
import tempfile

from run import ROOT, Counts, environment, files_of, meson_tests, system_tests

CONFORMANCE = ["conformance_redis", "conformance_redis_states", "redis_faults", "conformance_module", "conformance_module_states",
               "conformance_mixed", "conformance_mixed_states", "module_faults"]
SYSTEM = ("test_redis_", "test_module_", "test_inspect")


def fetch(folder, names):
    """Returns (name, version, program) of each server that is there, and whether all are."""
    done = subprocess.run([os.path.join(ROOT, "scripts", "stores"), folder, *names], stdout=subprocess.PIPE, text=True, check=False)
    return [line.split("\t") for line in done.stdout.splitlines()], done.returncode == 0


def what_is_missing(build, program):
    """What the module says on load that this server lacks; or that it was not loaded."""
    with tempfile.TemporaryDirectory(prefix="sluice-stores-") as folder:
        log = os.path.join(folder, "log")
        module = os.path.join(build, "redis-module", "sluice.so")
        server = subprocess.Popen([program, "--port", "0", "--unixsocket", f"{folder}/socket", "--dir", folder, "--logfile", log,
                                   "--loadmodule", module], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT)
        try:
            server.wait(2)  # which is how long it may take to say so
        except subprocess.TimeoutExpired:
            server.terminate()
            server.wait()
        with open(log, encoding="utf-8", errors="replace") as file:
            told = file.read()
    if "Module 'sluice' loaded" not in told:
        return "NOT LOADED"
    return told.split("this server lacks: ")[1].split(";")[0] if "this server lacks: " in told else "nothing"


def test(build, program):
    env = dict(environment(build), SLUICE_TEST_REDIS_SERVER=program)
    counts = meson_tests(build, env, CONFORMANCE)
    files = [file for file in files_of("integration") if os.path.basename(file.path).startswith(SYSTEM)]
    counts.add(system_tests(env, [], [[file] for file in files]))
    return counts


def main():
    if len(sys.argv) < 3 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: tests/stores.py BUILD-FOLDER STORES-FOLDER [NAME...]")
    build = os.path.abspath(sys.argv[1])
    servers, complete = fetch(sys.argv[2], sys.argv[3:])
    table, total = [], Counts(failed=0 if complete else 1)
    for name, version, program in servers:
        print(f"{name}: {version}", flush=True)
        counts = test(build, program)
        table.append((name, version, str(counts), "lacks: " + what_is_missing(build, program)))
        total.add(counts)
    for row in table:
        print("{:<17} {:<14} {:<36} {}".format(*row))
    if not complete:
        print("not all servers could be fetched: see above")
    sys.stdout.flush()
    print(total, flush=True)
    return 1 if total.failed > 0 or total.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
