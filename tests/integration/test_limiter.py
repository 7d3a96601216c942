# SPDX-License-Identifier: Apache-2.0
"""The limit is kept, exactly, and the client is told the truth about it."""
import collections
import math
import os
import re
import shutil
import subprocess
import time

import pytest

from support.crowd import at_once, check_never_over_admits, check_never_over_denies, denied, passed
from support.wire import build

FULL = os.environ.get("SLUICE_TEST_FULL") == "1"


def limits_file(*limits):
    """A configuration with these limits, each a dict."""
    lines = ["limits:"]
    for limit in limits:
        for i, (key, value) in enumerate(limit.items()):
            lines.append(f"  {'-' if i == 0 else ' '} {key}: {value}")
    return "\n".join(lines) + "\n"


def sleep_until(moment):
    """Until that moment of time.monotonic(). The server's clock is no slower, so what was to be waited was waited."""
    left = moment - time.monotonic()
    while left > 0:
        time.sleep(left)
        left = moment - time.monotonic()


def within(limit_s, ask):
    """What `ask` returns of the first client of whom it took less than this: nothing has expired meanwhile.

    @param ask  called with the client's address."""
    for last in range(2, 22):
        began = time.monotonic()
        answers = ask(f"127.0.0.{last}")
        if time.monotonic() - began < limit_s:
            return answers
    raise AssertionError(f"twenty times this machine took longer than {limit_s} s for next to nothing")


@pytest.mark.parametrize("algorithm", ["sliding-log", "sliding-counter", "fixed-window", "token-bucket"])
def test_who_waits_as_told_is_admitted(start, algorithm):
    server = start(config=limits_file({"name": "per-client", "algorithm": algorithm, "limit": 3, "window": "2s"}))
    for _ in range(2):
        for _ in range(100):  # four do, unless the machine is slow
            answer = server.get("/")
            answered = time.monotonic()
            if answer.status == 429:
                break
        assert answer.status == 429, "no limit was kept"
        wait_s = int(answer["Retry-After"])
        assert 1 <= wait_s <= 4  # a sliding counter may have to wait out the window before, too
        sleep_until(answered + wait_s)
        assert server.get("/").status == 200, f"denied after the {wait_s} s that it was told to wait"


def test_ratelimit_counts_down_and_its_reset_is_true(start):
    server = start(limit="3/2s")
    client, answers = within(2, lambda source: (source, [server.get("/", source=source) for _ in range(3)]))
    answered = time.monotonic()
    for left, answer in zip((2, 1, 0), answers):
        assert answer["RateLimit"] == f'"per-client";r={left};t=2'
        assert answer["RateLimit-Policy"] == '"per-client";q=3;w=2'
    sleep_until(answered + 2)
    assert server.get("/", source=client)["RateLimit"] == '"per-client";r=2;t=2'


def test_a_denied_request_costs_nothing(start):
    """The client that keeps knocking is let in as soon as the one that waits."""
    server = start(limit="2/1s")
    statuses, began = [], time.monotonic()
    with server.connect() as wire:
        # Four times two pass, at 0, 1, 2 and 3 s. On a slow machine later: the log tells whether that was right.
        while statuses.count(200) < 8 or statuses.count(429) <= 100:
            assert time.monotonic() < began + 30, f"{statuses.count(200)} passed, {statuses.count(429)} did not"
            wire.send(build("GET", "/"))
            statuses.append(wire.read_answer().status)
    log = server.wait_for_log(len(statuses))
    check_never_over_admits(log, 2, 1)
    check_never_over_denies(log, 2, 1)


def test_off_limits_nobody(start):
    server = start(limit="off")
    for _ in range(50):
        answer = server.get("/")
        assert answer.status == 200
        assert answer["RateLimit"] is None and answer["RateLimit-Policy"] is None
    assert {line["decision"] for line in server.wait_for_log(50)} == {"-"}


def test_every_endpoint_takes_from_the_same_limit(start):
    server = start(limit="4/60s")
    path = server.code_of("http://example.org/")
    assert server.get(path).status == 302
    assert server.get("/").status == 200
    assert server.get("/nothing").status == 404
    assert [server.get("/").status, server.get(path).status, server.shorten("http://example.org/").status] == [429] * 3


def test_clients_do_not_share_a_limit(start):
    server = start(limit="2/60s")
    for last in range(2, 12):
        source = f"127.0.0.{last}"
        assert [server.get("/", source=source).status for _ in range(3)] == [200, 200, 429]


def test_a_denied_shorten_creates_nothing(start):
    server = start(limit="1/60s")
    assert server.shorten("http://example.org/1").status == 200
    assert server.shorten("http://example.org/2").status == 429
    assert server.rows("SELECT url FROM links") == [("http://example.org/1",)]


def test_twenty_clients_on_two_threads_pass_exactly_ten(start):
    """One address, many connections spread over both threads: the limit is one."""
    server = start(threads=2)

    def hammer(_):
        statuses = []
        for _ in range(5):
            with server.connect() as wire:
                for _ in range(10):
                    wire.send(build("GET", "/"))
                    statuses.append(wire.read_answer().status)
        return statuses

    statuses = collections.Counter(status for some in at_once(20, hammer) for status in some)
    assert statuses == {200: 10, 429: 990}
    metrics = server.metrics()
    assert metrics.total("sluice_decisions_total", outcome="allowed") == 10
    assert metrics.total("sluice_decisions_total", outcome="denied") == 990


def test_many_addresses_at_once_each_pass_exactly_their_limit(start):
    server = start(threads=2, limit="7/60s")

    def hammer(i):
        source = f"127.0.1.{1 + i % 10}"
        return source, [server.get("/", source=source).status for _ in range(10)]

    found = collections.Counter()
    for source, statuses in at_once(20, hammer):
        found.update((source, status) for status in statuses)
    assert found == {(f"127.0.1.{1 + i}", status): n for i in range(10) for status, n in ((200, 7), (429, 13))}


def test_a_load_generator_gets_exactly_the_limit_through(start):
    """hey, with 50 connections as fast as it can."""
    hey = shutil.which("hey")
    assert hey, "hey is missing: scripts/deps test installs it"
    server = start(threads=2)
    done = subprocess.run([hey, "-n", "5000", "-c", "50", f"http://127.0.0.1:{server.address[1]}/"], text=True,
                          capture_output=True, timeout=120, check=True)
    statuses = {int(status): int(n) for status, n in re.findall(r"\[(\d+)\]\s+(\d+) responses", done.stdout)}
    assert statuses == {200: 10, 429: 4990}, done.stdout


def wall_offset():
    """By how much the wall clock is ahead of one that nobody sets; of some readings that in which the least came between."""
    found = []
    for _ in range(20):
        before = time.clock_gettime(time.CLOCK_BOOTTIME)
        wall = time.time()
        found.append((time.clock_gettime(time.CLOCK_BOOTTIME) - before, wall - before))
    return min(found)[1]


def test_twenty_clients_at_one_request_a_second(start):
    """Twenty clients behind one address ask once a second each: in any window exactly the limit passes, no more, and
    never less where more would have been right. SLUICE_TEST_FULL=1 takes a whole minute, as in the story."""
    window_s, last_s = (60, 125) if FULL else (6, 8)
    server = start(threads=2, limit=f"10/{window_s}s")
    began, late_s = time.monotonic(), [0.0] * 20
    offset_before = wall_offset()

    def client(i):
        statuses = []
        with server.connect() as wire:
            for second in range(last_s):
                planned = began + 0.5 + second + i / 20
                sleep_until(planned)
                wire.send(build("GET", "/"))
                statuses.append(wire.read_answer().status)
                late_s[i] = max(late_s[i], time.monotonic() - planned)
        return statuses

    statuses = collections.Counter(status for some in at_once(20, client) for status in some)
    slack_s = abs(wall_offset() - offset_before)
    assert slack_s < 0.1, "the machine's clock was set meanwhile: the log proves nothing"
    log = server.wait_for_log(20 * last_s)
    assert collections.Counter(line["status"] for line in log) == statuses
    assert len(passed(log)) == statuses[200] and len(denied(log)) == statuses[429]
    assert statuses[200] + statuses[429] == 20 * last_s
    check_never_over_admits(log, 10, window_s, slack_s)
    check_never_over_denies(log, 10, window_s, slack_s)
    # By the plan so many pass. A machine that stood still for a while has let them ask at other times, which the log tells.
    assert statuses[200] == 10 * math.ceil(last_s / window_s) or (max(late_s) > 0.3 and statuses[200] >= 10)


class TestSeveralLimits:
    TWO = limits_file({"name": "burst", "limit": 3, "window": "1s"}, {"name": "half-hour", "limit": 5, "window": "1800s"})

    def test_fields_tell_each(self, start):
        answer = start(config=self.TWO).get("/")
        assert answer["RateLimit-Policy"] == '"burst";q=3;w=1, "half-hour";q=5;w=1800'
        assert answer["RateLimit"] == '"burst";r=2;t=1, "half-hour";r=4;t=1800'

    def test_all_or_nothing(self, start):
        """What one limit denies is not taken from the other."""
        server = start(config=self.TWO)
        client, answers = within(1, lambda source: (source, [server.get("/", source=source) for _ in range(13)]))
        answered, began = time.monotonic(), time.monotonic() - 1
        assert [answer.status for answer in answers] == [200] * 3 + [429] * 10
        answers = answers[3:]
        assert answers[0]["Retry-After"] == "1"
        assert re.fullmatch(r'"burst";r=0;t=1, "half-hour";r=2;t=\d+', answers[-1]["RateLimit"])
        sleep_until(answered + 1)
        answers = [server.get("/", source=client) for _ in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert 1800 - (time.monotonic() - began) <= int(answers[2]["Retry-After"]) <= 1800

    def test_one_for_everybody(self, start):
        server = start(config=limits_file({"name": "per-client", "limit": 2, "window": "60s"},
                                          {"name": "all", "limit": 5, "window": "60s", "by": "global"}))
        statuses = [server.get("/", source=f"127.0.0.{client}").status for client in (2, 3, 4) for _ in range(3)]
        # The third client's second is denied by the limit of all, and takes nothing from his own.
        assert statuses == [200, 200, 429, 200, 200, 429, 200, 429, 429]
        assert '"per-client";r=1;' in server.get("/", source="127.0.0.4")["RateLimit"]


def test_a_token_bucket_lets_a_burst_through_and_refills_evenly(start):
    server = start(config=limits_file({"name": "per-client", "algorithm": "token-bucket", "limit": 10, "window": "10s",
                                       "burst": 4}))
    def ask(source):
        return source, time.monotonic(), [server.get("/", source=source) for _ in range(5)]

    client, began, answers = within(1, ask)
    assert [answer.status for answer in answers] == [200, 200, 200, 200, 429]
    assert answers[4]["Retry-After"] == "1"
    sleep_until(began + 2.5)
    statuses = [server.get("/", source=client).status for _ in range(3)]
    took_s = time.monotonic() - began
    assert statuses[:2] == [200, 200]  # one a second has flowed back
    assert statuses[2] == 429 or took_s >= 3
