# SPDX-License-Identifier: Apache-2.0
"""What was answered is kept: through kill -9, and through an orderly stop."""
import signal
import threading
import time

import pytest

from support.crowd import at_once
from support.waiting import wait_until
from support.wire import BrokenAnswer, build

CLIENTS = 8
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def shorten_until_it_breaks(server, client, started):
    """Shortens URLs on one connection until the server is gone. Returns {path: url} of those that were answered."""
    answered = {}
    try:
        with server.connect() as wire:
            while True:
                url = f"http://example.org/{server.starts}/{client}/{len(answered)}"
                wire.send(build("POST", "/shorten", [FORM], b"url=" + url.encode()))
                answer = wire.read_answer()
                assert answer.status == 200, answer
                answered[answer.json["short_url"]] = url
                started.set()
    except (OSError, BrokenAnswer):
        return answered


def test_no_answered_link_is_lost_by_kill_9(start):
    """Eight clients shorten, the program is killed in their midst, and started again: four times over."""
    server, answered = start(limit="off", threads=2), {}
    for _ in range(4):
        started = [threading.Event() for _ in range(CLIENTS)]

        def work(i, started=started):
            if i < CLIENTS:
                return shorten_until_it_breaks(server, i, started[i])
            for event in started:
                assert event.wait(30), "a client got no answer"
            wait_until(lambda: server.rows("SELECT count(*) FROM links")[0][0] >= len(answered) + 200,
                       what="links in the database")
            server.kill()
            return {}

        for found in at_once(CLIENTS + 1, work):
            answered.update(found)
        server.start()
        rows = dict(server.rows("SELECT '/' || code, url FROM links"))
        missing = {path: url for path, url in answered.items() if rows.get(path) != url}
        assert not missing, f"{len(missing)} of {len(answered)} answered links are gone: {list(missing.items())[:3]}"
        assert len(set(rows.values())) == len(rows), "an URL has two codes"
    assert len(answered) >= 4 * CLIENTS
    with server.connect() as wire:  # and they lead where they should
        for path, url in answered.items():
            wire.send(build("GET", path))
            answer = wire.read_answer()
            assert (answer.status, answer["Location"]) == (302, url)
    assert server.rows("PRAGMA integrity_check") == [("ok",)]


def test_after_kill_9_the_same_url_has_the_same_code(start):
    server = start(limit="off")
    path = server.code_of("http://example.org/")
    server.kill()
    server.start()
    assert server.code_of("http://example.org/") == path
    assert server.get(path)["Location"] == "http://example.org/"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_in_the_midst_of_traffic_breaks_no_promise(start, number):
    """Who got an answer got it whole, what was answered is in the database, and every click that was answered is
    counted."""
    server = start(limit="off", threads=2)
    targets = [server.code_of(f"http://example.org/target/{i}") for i in range(CLIENTS)]
    started = [threading.Event() for _ in range(2 * CLIENTS)]
    visits = [0] * CLIENTS

    def visit(i):
        try:
            with server.connect() as wire:
                while True:
                    wire.send(build("GET", targets[i]))
                    assert wire.read_answer().status == 302
                    visits[i] += 1
                    started[CLIENTS + i].set()
        except (OSError, BrokenAnswer) as error:
            # The connection may end between two answers, never in the midst of one.
            assert not isinstance(error, BrokenAnswer) or "after b''" in str(error), error
        return {}

    def work(i):
        if i < CLIENTS:
            return shorten_until_it_breaks(server, i, started[i])
        if i < 2 * CLIENTS:
            return visit(i - CLIENTS)
        for event in started:
            assert event.wait(30), "a client got no answer"
        server.signal(number)
        assert server.wait() == 0, server.stderr
        return {}

    answered = {}
    for found in at_once(2 * CLIENTS + 1, work):
        answered.update(found)
    assert "cut off" not in server.stderr
    rows = dict(server.rows("SELECT '/' || code, url FROM links"))
    assert all(rows.get(path) == url for path, url in answered.items())
    for path, seen in zip(targets, visits):
        # The last answer may have been on its way when the client saw its connection end.
        assert seen <= server.clicks(path) <= seen + 1, path


def test_a_request_in_flight_is_answered_in_a_stop(start):
    """The stop waits for a client that is still sending its body."""
    server = start(limit="off", threads=1)
    body = b"url=http://example.org/late"
    head = build("POST", "/shorten", [FORM, ("Content-Length", str(len(body)))])
    with server.connect() as wire, server.connect() as idle:
        idle.send(build("GET", "/healthz"))
        assert idle.read_answer().status == 200
        wire.send(head + body[:10])
        wait_until(lambda: _has_in_flight(server),
                   what="the request to be seen")
        server.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.stderr, what="the stop")
        assert idle.ended()  # who has nothing under way is let go at once
        assert server.alive()
        wire.send(body[10:])
        answer = wire.read_answer()
        assert answer.status == 200 and answer["Connection"].lower() == "close"
        assert wire.ended()
    assert server.wait() == 0
    assert server.rows("SELECT url FROM links") == [("http://example.org/late",)]


def _has_in_flight(server):
    """Three connections are there: idle, sending, and this one."""
    return server.metrics().value("sluice_connections_open") == 3


def test_no_new_connection_is_taken_in_a_stop(start):
    server = start(limit="off", threads=1)
    with server.connect() as wire:
        wire.send(build("POST", "/shorten", [FORM, ("Content-Length", "27")]) + b"url=")
        wait_until(lambda: server.metrics().value("sluice_connections_open") == 2, what="the connection")
        server.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.stderr, what="the stop")
        wait_until(lambda: _refuses(server), what="connections to be refused")
        wire.send(b"http://example.org/late")
        assert wire.read_answer().status == 200
    assert server.wait() == 0


def _refuses(server):
    try:
        server.get("/healthz")
    except (OSError, BrokenAnswer):
        return True
    return False


def test_a_stop_waits_no_longer_than_configured(start):
    server = start(limit="off", config="server:\n  shutdown_timeout: 1s\n")
    with server.connect() as wire:
        wire.send(build("POST", "/shorten", [FORM, ("Content-Length", "1000")]) + b"url=")
        wait_until(lambda: server.metrics().value("sluice_connections_open") == 2, what="the connection")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        assert time.monotonic() - began >= 1
    assert "stopping: 1 requests were cut off" in server.stderr


def test_a_second_start_finds_everything(start):
    server = start(limit="off")
    paths = {server.code_of(f"http://example.org/{i}"): f"http://example.org/{i}" for i in range(20)}
    server.stop()
    server.start()
    assert {path: server.get(path)["Location"] for path in paths} == paths


def test_links_in_memory_are_forgotten_and_nothing_is_written(start):
    server = start(limit="off", links="sqlite::memory:")
    path = server.code_of("http://example.org/")
    assert server.get(path).status == 302
    server.stop()
    assert not server.database.exists()
    server.start()
    assert server.get(path).status == 404
