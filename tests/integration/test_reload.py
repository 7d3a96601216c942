# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: other limits, at once, for everybody; or, when the file is wrong, nothing at all."""
import contextlib
import random
import threading
import time

import pytest

from support.waiting import wait_until
from support.wire import build


def limits(*figures):
    lines = ["limits:"]
    for name, limit, window in figures:
        lines += [f"  - name: {name}", f"    limit: {limit}", f"    window: {window}"]
    return "\n".join(lines) + "\n"


def statuses(server, n, source=None):
    return [server.get("/", source=source).status for _ in range(n)]


def test_new_limits_are_in_force_at_once(start):
    server = start(config=limits(("per-client", 2, "60s")))
    assert statuses(server, 3) == [200, 200, 429]
    server.config_path.write_text(limits(("per-client", 5, "60s")))
    said = server.hang_up()
    assert "reload: 1 limit in force" in said
    # What was counted stays counted: three more of five.
    assert statuses(server, 4) == [200, 200, 200, 429]
    answer = server.get("/", source="127.0.0.2")
    assert answer["RateLimit-Policy"] == '"per-client";q=5;w=60'
    assert answer["RateLimit"] == '"per-client";r=4;t=60'


def test_a_stricter_limit_counts_what_has_passed(start):
    server = start(config=limits(("per-client", 10, "60s")))
    assert statuses(server, 5) == [200] * 5
    server.config_path.write_text(limits(("per-client", 3, "60s")))
    server.hang_up()
    assert statuses(server, 2) == [429, 429]
    assert statuses(server, 4, "127.0.0.2") == [200, 200, 200, 429]


def test_a_limit_of_a_new_name_starts_afresh(start):
    server = start(config=limits(("old", 2, "60s")))
    assert statuses(server, 3) == [200, 200, 429]
    server.config_path.write_text(limits(("new", 2, "60s")))
    server.hang_up()
    assert statuses(server, 3) == [200, 200, 429]
    metrics = server.metrics()
    for name in ("old", "new"):  # both have been counted, each by its name
        assert metrics.total("sluice_decisions_total", limit=name, outcome="allowed") == 2
        assert metrics.total("sluice_decisions_total", limit=name, outcome="denied") == 1


def test_limits_can_be_turned_off_and_on(start):
    server = start(config=limits(("per-client", 1, "60s")))
    assert statuses(server, 2) == [200, 429]
    server.config_path.write_text("limits: off\n")
    server.hang_up()
    assert statuses(server, 5) == [200] * 5
    server.config_path.write_text(limits(("per-client", 1, "60s"), ("more", 10, "60s")))
    server.hang_up()
    assert statuses(server, 2, "127.0.0.2") == [200, 429]


def test_every_thread_has_the_new_limits(start):
    server = start(threads=4, config=limits(("per-client", 1, "60s")))
    server.config_path.write_text("limits: off\n")
    server.hang_up()
    # Many connections: every thread gets some. What is reported holds for all of them.
    assert statuses(server, 200) == [200] * 200


def test_connections_that_are_kept_have_the_new_limits(start):
    """Also one whose thread does something else in the moment of the reload."""
    server = start(threads=4, config=limits(("per-client", 1000, "60s")))
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(server.connect()) for _ in range(8)]
        for limit in range(1001, 1021):
            time.sleep(random.uniform(0, 0.1))  # not always in the same part of a thread's round
            server.config_path.write_text(limits(("per-client", limit, "60s")))
            server.hang_up()
            for wire in wires:
                wire.send(build("GET", "/"))
            assert {wire.read_answer()["RateLimit-Policy"] for wire in wires} == {f'"per-client";q={limit};w=60'}


@pytest.mark.parametrize("text, why", [
    ("limits:\n  - name: per-client\n    limit: many\n    window: 60s\n", "sluice.yaml:3: limits[0].limit: "),
    ("limits:\n  - name: per-client\n    limit: 0\n    window: 60s\n", "sluice.yaml:3: limits[0].limit: "),
    ("limits: [\n", "sluice.yaml:"),
    ("nonsense: 1\n", "sluice.yaml:1: nonsense: unknown key"),
    (limits(("a", 1, "1s"), ("a", 2, "2s")), "limits[1].name"),
    (None, "sluice.yaml: can't be read"),
])
def test_a_file_with_an_error_changes_nothing(start, text, why):
    server = start(config=limits(("per-client", 2, "60s")))
    assert statuses(server, 1) == [200]
    if text is None:
        server.config_path.unlink()
    else:
        server.config_path.write_text(text)
    said = server.hang_up()
    assert why in said and "nothing was changed" in said, said
    assert said.count("\n") == 1, said
    assert statuses(server, 2) == [200, 429]
    assert server.get("/")["RateLimit-Policy"] == '"per-client";q=2;w=60'
    server.config_path.write_text(limits(("per-client", 4, "60s")))  # mended, it is taken
    server.hang_up()
    assert statuses(server, 3) == [200, 200, 429]


def test_a_flag_still_wins_after_a_reload(start):
    server = start(config=limits(("per-client", 2, "60s")), limit="3/60s")
    server.config_path.write_text(limits(("per-client", 7, "60s")))
    server.hang_up()
    assert statuses(server, 4) == [200, 200, 200, 429]


def test_other_settings_need_a_restart_and_do_no_harm(start):
    server = start(config=limits(("per-client", 2, "60s")))
    server.config_path.write_text("listen: 127.0.0.1:1\nlimiter:\n  on_failure: closed\n  timeout: 50ms\n"
                                  "server:\n  threads: 7\n" + limits(("per-client", 3, "60s")))
    said = server.hang_up()  # a flag gives listen and wins
    assert ("reload: 1 limit in force; changed as well, and not in force before a restart: "
            "server.threads, limiter.on_failure\n") in said
    assert said.count("\n") == 1
    assert statuses(server, 4) == [200, 200, 200, 429]


def test_reloads_in_the_midst_of_traffic(start):
    """Every request is decided by the old limits or by the new ones, whole, and gets its answer."""
    server = start(threads=2, config=limits(("per-client", 1000000, "60s")))
    ended, counted, wrong = threading.Event(), [0] * 4, []

    def visit(i):
        with server.connect() as wire:
            while not ended.is_set():
                wire.send(build("GET", "/"))
                answer = wire.read_answer()
                counted[i] += 1
                names = answer["RateLimit-Policy"].count(";q="), answer["RateLimit"].count(";r=")
                if answer.status != 200 or names not in ((1, 1), (2, 2)):
                    wrong.append(answer)

    threads = [threading.Thread(target=visit, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: all(counted), what="an answer for everybody")  # a busy machine starts one late
        for i in range(30):
            more = [("second", 1000000, "60s")] if i % 2 == 0 else []
            server.config_path.write_text(limits(("per-client", 1000000 + i, "60s"), *more))
            server.hang_up()
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong[:3]
    assert server.metrics().total("sluice_decisions_total", limit="per-client") == sum(counted)
