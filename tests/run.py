#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs every test of one build folder and counts them.

usage: tests/run.py BUILD-FOLDER [--plant] [pytest arguments]

First the tests that Meson knows (unit, conformance, fuzz corpora, install), then the system tests in tests/integration
and tests/topology (these need root, or sudo) against BUILD-FOLDER/sluice; --plant runs tests/topology alone. Those of the
module for Redis run on the module as it is installed, and once more on one that was built with sanitizers, which alone
meets a hostile client. Each case of a cmocka program counts by itself. A program that crashes counts as one failure beside
the cases that it did not get to.

The last line is `N passed, N failed, N skipped`. The exit status is 1 when a test failed or none passed.

Leaves out: building (make does it) and installing what is missing (scripts/deps).
"""
import concurrent.futures
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import typing
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
UNIT_LIMIT_S = 1800
FILE_LIMIT_S = 1800
NOTHING_TO_RUN = 5  # pytest's status when no test was chosen

# An error that a sanitizer finds must end the program with a status that no test expects.
SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:exitcode=99:detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1",
    "LSAN_OPTIONS": "exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": "halt_on_error=1:exitcode=99:second_deadlock_stack=1:suppressions="
                    + os.path.join(ROOT, "tests", "tsan.supp"),
}

CMOCKA_PLAN = re.compile(r"^1\.\.(\d+)$")
CMOCKA_CASE = re.compile(r"^(ok|not ok) \d+ (?:- (.*)|# SKIP (.*))$")


class Counts:
    def __init__(self, passed=0, failed=0, skipped=0):
        self.passed, self.failed, self.skipped = passed, failed, skipped

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped

    def __str__(self):
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


def environment(build):
    env = dict(os.environ, SLUICE_BUILD=build, CMOCKA_MESSAGE_OUTPUT="TAP", PYTHONDONTWRITEBYTECODE="1")
    for name, value in SANITIZERS.items():
        # Whoever runs the tests may add to these; later options win.
        env[name] = value + (":" + os.environ[name] if os.environ.get(name) else "")
    return env


def is_sanitized(build):
    """Whether the build folder was set up with -Db_sanitize."""
    with open(os.path.join(build, "meson-info", "intro-buildoptions.json"), encoding="utf-8") as file:
        options = {option["name"]: option["value"] for option in json.load(file)}
    return options.get("b_sanitize", "none") != "none"


def count_cmocka(output):
    """The cases in the TAP that cmocka wrote, or None when it wrote none: another kind of program."""
    counts, planned, plans = Counts(), 0, 0
    for line in output.splitlines():
        plan, case = CMOCKA_PLAN.match(line), CMOCKA_CASE.match(line)
        if plan:
            plans += 1
            planned += int(plan.group(1))
        elif case and case.group(3) is not None:
            counts.skipped += 1
            print(f"skipped: {case.group(3)}")
        elif case and case.group(1) == "ok":
            counts.passed += 1
        elif case:
            counts.failed += 1
    if plans == 0:
        return None
    # Cases that were announced and never ended.
    counts.failed += max(0, planned - counts.passed - counts.failed - counts.skipped)
    return counts


def count_program(test):
    """One entry of Meson's log. Its own verdict comes first: a program that failed is never all green."""
    succeeded, skipped = test["result"] in ("OK", "EXPECTEDFAIL"), test["result"] == "SKIP"
    counts = count_cmocka(test.get("stdout", ""))
    if counts is None:
        counts = Counts(passed=int(succeeded), skipped=int(skipped), failed=int(not succeeded and not skipped))
    elif not succeeded and counts.failed == 0:
        counts.failed = 1
    if skipped:
        print(f"skipped: {test['name']}")
    if counts.failed > 0:
        print(f"FAILED: {test['name']} ({test['result']}, exit status {test.get('returncode')})")
    return counts


def meson_tests(build, env, names=()):
    """@param names  of tests; none: all."""
    log = os.path.join(build, "meson-logs", "testlog.json")
    command = ["meson", "test", "-C", build, "--quiet", "--print-errorlogs", "--num-processes", "2", *names]
    if is_sanitized(build):
        command += ["--timeout-multiplier", "10"]
    began = time.monotonic()
    if os.path.exists(log):
        os.remove(log)  # a log of an earlier run must not be counted
    try:
        done = subprocess.run(command, env=env, timeout=UNIT_LIMIT_S, check=False, text=True, errors="replace",
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        status = done.returncode
        if status != 0:
            print(done.stdout)
    except subprocess.TimeoutExpired:
        status = -1
        print(f"FAILED: meson test was not done after {UNIT_LIMIT_S} s")
    counts = Counts()
    if os.path.exists(log):
        with open(log, encoding="utf-8") as file:
            for line in file:
                counts.add(count_program(json.loads(line)))
    if status != 0 and counts.failed == 0:
        print(f"FAILED: meson test ended with status {status}")
        counts.failed = 1
    print(f"{'conformance' if names else 'unit, conformance, fuzz, install'}: {counts} in {time.monotonic() - began:.0f} s", flush=True)
    return counts


def count_junit(path):
    """Counts by the name of the case: one that fails and then fails to clean up is one failure. So is a file that died
    before it had told."""
    verdicts = {}
    try:
        cases = ElementTree.parse(path).iter("testcase")
    except (FileNotFoundError, ElementTree.ParseError):
        return Counts(failed=1)
    for case in cases:
        name = (case.get("classname"), case.get("name"))
        if case.find("failure") is not None or case.find("error") is not None:
            verdict = "failed"
        elif case.find("skipped") is not None:
            verdict = "skipped"
        else:
            verdict = "passed"
        if verdicts.get(name) != "failed":
            verdicts[name] = verdict
    found = list(verdicts.values())
    return Counts(found.count("passed"), found.count("failed"), found.count("skipped"))


def as_root(path, env):
    """What to put before a command that runs the tests of a file: network namespaces need root. Without sudo nothing; the
    tests then fail and say why."""
    if os.path.basename(os.path.dirname(path)) != "topology" or os.geteuid() == 0:
        return []
    if subprocess.run(["sh", "-c", "sudo -n true"], capture_output=True, check=False).returncode != 0:
        return []
    passed_on = ("SLUICE_BUILD", "SLUICE_SOAK", "PYTHONDONTWRITEBYTECODE", *SANITIZERS)
    return ["sudo", "-n", "env", *(f"{name}={env[name]}" for name in passed_on if name in env)]


class File(typing.NamedTuple):
    """One file of system tests.

    @param settings  of the environment, beyond the usual.
    @param kind  what is said behind its name.
    """
    path: str
    settings: dict = {}
    kind: str = ""


def run_file(file, env, arguments):
    """Runs it. Returns its counts; what pytest says is shown when something is wrong."""
    path, env = file.path, {**env, **file.settings}
    name, sudo = os.path.basename(path) + file.kind, as_root(path, env)
    # What was killed may have left a child that still writes; that it is in the way is no reason to lose all counts.
    with tempfile.TemporaryDirectory(prefix="sluice-tests-", ignore_cleanup_errors=True) as folder:
        junit = os.path.join(folder, "junit.xml")
        command = [*sudo, sys.executable, "-m", "pytest", "-q", "-rfEs", "--tb=short", "-p", "no:cacheprovider", "-o",
                   "faulthandler_timeout=300", f"--basetemp={folder}/tmp", f"--junitxml={junit}", path, *arguments]
        began = time.monotonic()
        try:
            done = subprocess.run(command, env=env, cwd=ROOT, timeout=FILE_LIMIT_S, check=False, text=True,
                                  errors="replace", stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            output = error.stdout or b""
            output = output if isinstance(output, str) else output.decode(errors="replace")
            status, output = -1, f"{output}\nFAILED: {name} was not done after {FILE_LIMIT_S} s"
        if sudo:
            subprocess.run([*sudo, "rm", "-rf", f"{folder}/tmp"], check=False)
        counts = count_junit(junit)
    if status == NOTHING_TO_RUN and arguments:  # the arguments chose tests of other files
        return counts
    if status != 0 and counts.failed == 0:
        output += f"\nFAILED: pytest ended with status {status}"
        counts.failed = 1
    print(f"{name}: {counts} in {time.monotonic() - began:.0f} s", flush=True)
    for figure in re.findall(r"^measured: .*$", output, re.MULTILINE):
        print(f"  {figure}", flush=True)
    if status != 0 or counts.skipped > 0 or "warning" in output:
        print(output, flush=True)
    return counts


def system_tests(env, arguments, lanes):
    """The files of one lane run one after the other. Most tests wait most of the time: two lanes at once take half as
    long."""
    counts = Counts()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for done in pool.map(lambda lane: [run_file(file, env, arguments) for file in lane], lanes):
            for some in done:
                counts.add(some)
    return counts


def files_of(folder):
    return [File(path) for path in sorted(glob.glob(os.path.join(ROOT, "tests", folder, "test_*.py")))]


def with_sanitizers(build, files):
    """The files, and those that test the module a second time. A build with sanitizers has no second module."""
    module = os.path.join(build, "redis-module", "sluice-asan.so")
    if not os.path.exists(module):
        return files
    again = [file._replace(settings={"SLUICE_TEST_MODULE": module}, kind=" (sanitized)") for file in files
             if os.path.basename(file.path).startswith("test_module_")]
    return [file for file in files if os.path.basename(file.path) != "test_module_hostile.py"] + again


def main():
    if len(sys.argv) < 2 or not os.path.isdir(sys.argv[1]):
        sys.exit("usage: tests/run.py BUILD-FOLDER [--plant] [pytest arguments]")
    build, arguments = os.path.abspath(sys.argv[1]), sys.argv[2:]
    env = environment(build)
    if arguments[:1] == ["--plant"]:
        counts = system_tests(env, arguments[1:], [files_of("topology")])
    else:
        counts = meson_tests(build, env)
        # One plant at a time: its load is the larger one, and how late answers come is part of what it tests.
        lanes = [files_of("topology"), *([file] for file in with_sanitizers(build, files_of("integration")))]
        counts.add(system_tests(env, arguments, lanes))
    sys.stdout.flush()
    print(counts, flush=True)
    return 1 if counts.failed > 0 or counts.passed == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
