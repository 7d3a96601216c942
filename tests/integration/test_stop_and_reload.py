# SPDX-License-Identifier: Apache-2.0
"""What happens to requests that are under way when the server is told to stop, or gets other limits."""
import signal
import sqlite3
import time

import pytest

from support.waiting import wait_until
from support.wire import build

LIMITS = "limits:\n  - {{name: per-client, algorithm: {algorithm}, limit: {limit}, window: 60s, by: [client-ip]}}\n"


def test_a_stop_waits_for_the_database_past_its_timeout(start):
    """A request that the database holds up is answered, and the clicks are written, however short the timeout."""
    server = start(limit="off", config="server:\n  shutdown_timeout: 100ms\n")
    path = server.code_of("https://example.com/known")
    lock = sqlite3.connect(server.database, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    for _ in range(30):
        assert server.get(path).status == 302
    with server.connect() as wire:
        wire.send(build("POST", "/shorten", [("Content-Type", "application/x-www-form-urlencoded")],
                        b"url=https://example.com/new"))
        server.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.stderr, what="the stop")
        stopped = time.monotonic()
        # It is the time itself that must pass here: ten times the timeout.
        wait_until(lambda: time.monotonic() >= stopped + 1, what="the timeout")
        lock.execute("ROLLBACK")
        answer = wire.read_answer()
        assert answer.status in (200, 503), answer
    assert server.wait() == 0
    lock.close()
    assert server.clicks(path) == 30


@pytest.mark.parametrize("before, after", [("sliding-log", "fixed-window"), ("token-bucket", "sliding-counter")])
def test_a_limit_keeps_its_algorithm_while_the_server_runs(start, before, after):
    """Threads take new limits over one after the other; in between none may find the other's counts foreign."""
    server = start(config=LIMITS.format(algorithm=before, limit=5), threads=2)
    assert [server.get("/").status for _ in range(7)] == [200] * 5 + [429] * 2
    server.config_path.write_text(LIMITS.format(algorithm=after, limit=5))
    server.signal(signal.SIGHUP)
    wait_until(lambda: "nothing was changed" in server.stderr, what="the refusal")
    assert "limit per-client: its algorithm" in server.stderr
    assert server.get("/").status == 429


@pytest.mark.parametrize("before, after, kept", [("30m", "40m", False), ("1h", "2h", False), ("1h", "65m", True), ("1m", "35m", True)])
def test_the_window_of_a_sliding_log_moves_within_a_step(start, before, after, kept):
    """Each 35 min 47 s of window (2^31 us) keep time in steps of one microsecond more, and steps can't change under entries."""
    config = LIMITS.format(algorithm="sliding-log", limit=5)
    server = start(config=config.replace("60s", before))
    server.config_path.write_text(config.replace("60s", after))
    said = server.hang_up()
    assert ("limit in force" in said, "across a multiple of 35 min 47 s" in said) == (kept, not kept)



def test_a_limit_may_change_its_figures(start):
    server = start(config=LIMITS.format(algorithm="sliding-log", limit=5), threads=2)
    assert [server.get("/").status for _ in range(7)] == [200] * 5 + [429] * 2
    server.config_path.write_text(LIMITS.format(algorithm="sliding-log", limit=8))
    server.signal(signal.SIGHUP)
    wait_until(lambda: "limit in force" in server.stderr, what="the reload")
    assert [server.get("/").status for _ in range(5)] == [200] * 3 + [429] * 2


def test_who_has_connected_before_a_stop_is_answered(start):
    """However many they are: the accept queue is emptied first."""
    server = start(limit="off", threads=1)
    server.signal(signal.SIGSTOP)  # so that they all wait in the queue
    wires = [server.connect(source=f"127.0.7.{i % 200 + 1}") for i in range(700)]
    try:
        for wire in wires:
            wire.send(build("GET", "/"))
        server.signal(signal.SIGTERM)
        server.signal(signal.SIGCONT)
        assert {wire.read_answer().status for wire in wires} == {200}
    finally:
        for wire in wires:
            wire.close()
    assert server.wait() == 0


def test_who_has_connected_and_not_yet_asked_is_answered(start):
    """A request may be on its way when the server is told to stop. For a second it is waited for."""
    for _ in range(10):
        server = start(limit="off", threads=1)
        told = time.monotonic()  # before the connection is made: its second begins then
        with server.connect() as wire:
            server.signal(signal.SIGTERM)
            wait_until(lambda: _listens_no_more(server), what="the stop")
            wire.send(build("GET", "/"))
            if time.monotonic() - told > 0.5:
                continue  # this machine was too busy to ask in time
            answer = wire.read_answer()
        assert server.wait() == 0
        assert answer.status == 200 and answer["Connection"].lower() == "close"
        return
    raise AssertionError("ten times this machine took longer than half a second for next to nothing")


def _listens_no_more(server):
    try:
        server.connect().close()
    except OSError:
        return True
    return False


def test_who_connects_and_never_asks_does_not_hold_up_a_stop(start):
    server = start(limit="off", threads=1, config="server:\n  shutdown_timeout: 1h\n  request_timeout: 1h\n")
    with server.connect():
        wait_until(lambda: server.metrics().value("sluice_connections_open") == 2, what="the connection")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
