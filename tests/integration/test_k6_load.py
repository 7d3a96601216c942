# SPDX-License-Identifier: Apache-2.0
"""deploy/k6/script.js: each of its thresholds fails for what it is there for. The plant under it: tests/topology/test_k6.py."""
import threading

import pytest

from support.k6 import SCRIPT_EXCEPTION, THRESHOLDS_FAILED, run_k6
from support.limiters import FailsAlways, LimiterServer, Slow
from support.waiting import wait_until

SHORT = {"RAMP": 0.2, "DURATION": 1.5, "SHORTEN_RATE": 10, "REDIRECT_RATE": 60, "MISS_RATE": 10, "LINKS": 5, "ANSWER": 0.2, "LATE": 1,
         "P95_SHORTEN": 9999, "P95_REDIRECT": 9999, "P95_MISS": 9999}
TRUSTING = "trusted_proxies: [127.0.0.1]\n"


def load(server, *arguments, **env):
    return run_k6("script.js", {**SHORT, "BASE_URL": "http://%s:%d" % server.address, **env}, *arguments)


@pytest.fixture
def trusting(start):
    """A server that believes us as a proxy, with a limit of 10 in 60 s for each client."""
    return start(config=TRUSTING)


@pytest.mark.parametrize("summary", [(), ("--new-machine-readable-summary",)], ids=["summary", "machine-readable summary"])
def test_a_server_that_keeps_up_passes(trusting, summary):
    run = load(trusting, *summary)
    assert run.status == 0 and "BROKEN" not in run.stdout and run.stdout.count("kept ") == 6, run


@pytest.mark.parametrize("name, metric", [("P95_SHORTEN", "shorten_duration"), ("P95_REDIRECT", "redirect_duration"), ("P95_MISS", "miss_duration")])
def test_answers_later_than_asked_for_fail(trusting, name, metric):
    run = load(trusting, **{name: 0})
    assert run.status == THRESHOLDS_FAILED and run.crossed == {metric}, run
    assert run.stdout.count("BROKEN") == 1, run


def test_numbers_may_be_written_with_an_exponent(trusting):
    run = load(trusting, ERRORS="1e-9", DENIED="1e-12", P95_SHORTEN="1e4", RAMP="1e-4", DURATION=0.5)
    assert run.status == 0, run


def test_a_limit_that_is_in_the_way_fails(sluice):
    run = load(sluice)  # believes nobody: all are one client
    assert run.status == THRESHOLDS_FAILED and "denied" in run.crossed and "errors" not in run.crossed, run


def test_a_kind_that_is_not_asked_for_is_not_judged(trusting):
    run = load(trusting, SHORTEN_RATE=0, REDIRECT_RATE=0)
    assert run.status == 0 and "GET /<no code>" in run.stdout and "POST" not in run.stdout and "GET /<code>" not in run.stdout, run


def test_a_server_that_dies_ends_the_run_early(trusting):
    def kill():
        wait_until(lambda: len(trusting.log()) > 30, what="the load to begin")
        trusting.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    run = load(trusting, DURATION=60)
    thread.join()
    assert run.status == THRESHOLDS_FAILED and "errors" in run.crossed and "stopping" in run.stderr, run


def test_requests_that_can_not_be_sent_in_time_fail():
    with LimiterServer(Slow(1000, 1)) as server:
        run = run_k6("script.js", {**SHORT, "BASE_URL": server.url, "SHORTEN_RATE": 100, "REDIRECT_RATE": 0, "MISS_RATE": 0,
                                   "ANSWER": 0.01, "LATE": 0.001})
    assert run.status == THRESHOLDS_FAILED and run.crossed == {"dropped_iterations"}, run
    assert "BROKEN  not sent" in run.stdout, run


def test_without_a_link_to_follow_nothing_begins():
    with LimiterServer(FailsAlways(1, 1)) as server:
        run = run_k6("script.js", {**SHORT, "BASE_URL": server.url})
    assert run.status == SCRIPT_EXCEPTION and "no link to redirect to: 500" in run.stderr, run


@pytest.mark.parametrize("env, said", [
    ({"CLIENTS": 100}, "CLIENTS=100 are too few"), ({"CLIENTS": 200000}, "131072"), ({"SHORTEN_RATE": "many"}, "SHORTEN_RATE=many"),
    ({"REDIRECT_RATE": -1}, "REDIRECT_RATE=-1"), ({"SHORTEN_RATE": 0, "REDIRECT_RATE": 0, "MISS_RATE": 0}, "nothing to do")])
def test_settings_that_make_no_sense_are_refused_by_name(env, said):
    run = run_k6("script.js", {**SHORT, "REDIRECT_RATE": 200, **env})
    assert run.status == SCRIPT_EXCEPTION and said in run.stderr, run
