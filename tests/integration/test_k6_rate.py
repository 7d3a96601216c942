# SPDX-License-Identifier: Apache-2.0
"""deploy/k6/rate-test.js finds every wrong limiter out, and says nothing against a right one.

Most servers here are wrong in one way each. Sluice itself is judged alone, with each algorithm; as a plant in
tests/topology/test_k6.py.
"""
import concurrent.futures

import pytest

from support import limiters
from support.k6 import SCRIPT_EXCEPTION, THRESHOLDS_FAILED, run_k6

LIMIT, WINDOW_S = 4, 2
SHORT = {"LIMIT": LIMIT, "WINDOW": WINDOW_S, "CLIENTS": 6, "EVERY": 0.1, "RAMP_UP": 0.3, "STEADY": 4.5, "RAMP_DOWN": 0.2, "SLACK": 1.5}
AT_ONCE = 8

# What is wrong, and the metrics whose thresholds must fail: exactly these. What the script says about some of them.
CASES = {
    limiters.Limiter: set(),
    limiters.WasInUse: set(),
    limiters.TakesItsTime: set(),
    limiters.AdmitsOneMore: {"admitted_in_window"},
    limiters.AdmitsOneMoreOnce: {"admitted_in_window"},
    limiters.AdmitsEverybody: {"admitted_in_window", "patient_waits"},
    limiters.AdmitsNobody: {"admitted_in_reach", "retry_after_lies"},
    limiters.ForgetsEarly: {"admitted_in_window"},
    limiters.FixedWindows: {"admitted_in_window"},
    limiters.CountsDenials: {"admitted_in_reach"},
    limiters.FailsOnce: {"wrong_answers", "checks", "http_req_failed"},
    limiters.HangsUpOnce: {"wrong_answers", "checks", "http_req_failed"},
    limiters.FailsAlways: {"wrong_answers", "checks", "http_req_failed", "admitted_in_reach", "patient_waits"},
    limiters.TellsNothing: {"retry_after_missing", "checks", "patient_waits"},
    limiters.TellsNothingOnce: {"retry_after_missing", "checks"},
    limiters.TellsZero: {"retry_after_lies", "patient_waits"},
    limiters.TellsOneMore: {"retry_after_lies", "patient_waits"},
    limiters.TellsTooMuch: {"retry_after_lies"},
    limiters.TellsTooLittle: {"retry_after_lies"},
    limiters.TellsADate: {"retry_after_lies", "patient_waits"},
    limiters.AnswersWithoutLink: {"checks", "incomplete_answers"},
    limiters.DeniesWithoutReason: {"checks", "incomplete_answers"},
}
SAID = {limiters.TellsTooMuch: "admitted at", limiters.TellsTooLittle: "after waiting 1 s as told", limiters.TellsADate: "is not between 1 and 2",
        limiters.FailsOnce: "POST /shorten: 500", limiters.HangsUpOnce: "POST /shorten: socket hang up", limiters.TellsZero: r'\"0\" is not between 1'}


# Whether its window is over when the last client comes is a matter of moments.
OTHERWISE = {limiters.CountsDenials: {"PATIENT": 0}}


def judge(kind):
    """On a machine that stands still for a while another picture may come out of windows of two seconds: three tries."""
    for _ in range(3):
        with limiters.LimiterServer(kind(LIMIT, WINDOW_S)) as server:
            run = run_k6("rate-test.js", {**SHORT, "BASE_URL": server.url, **OTHERWISE.get(kind, {})})
        if run.crossed == CASES[kind]:
            break
    return run


def all_at_once(function, cases):
    """{case: what the function makes of it}; some at a time, since each waits most of the time."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(cases, pool.map(function, cases)))


@pytest.fixture(scope="module")
def runs():
    return all_at_once(judge, CASES)


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_what_is_wrong_is_found_out_and_named(runs, kind):
    run = runs[kind]
    assert run.crossed == CASES[kind], run
    assert run.status == (THRESHOLDS_FAILED if CASES[kind] else 0), run
    assert SAID.get(kind, "") in run.stderr, run
    assert ("BROKEN" in run.stdout) == bool(CASES[kind]), run


def test_denials_that_contradict_each_other_are_found_out():
    with limiters.LimiterServer(limiters.TellsThisAndThat(LIMIT, 20)) as server:
        run = run_k6("rate-test.js", {**SHORT, "BASE_URL": server.url, "WINDOW": 20, "STEADY": 0.5, "PATIENT": 0})
    assert run.status == THRESHOLDS_FAILED and run.crossed == {"retry_after_lies"}, run
    assert "when an earlier 429 had said not before" in run.stderr and "not judged" in run.stdout, run


def test_one_that_admits_nobody_is_found_out_where_no_window_tells_how_little_is_too_little():
    with limiters.LimiterServer(limiters.AdmitsNobody(LIMIT, WINDOW_S)) as server:
        run = run_k6("rate-test.js", {**SHORT, "BASE_URL": server.url, "STEADY": 0.5, "PATIENT": 0, "ALGORITHM": "sliding-counter"})
    assert run.status == THRESHOLDS_FAILED and run.crossed == {"admitted"} and "BROKEN  admitted in all: 0" in run.stdout, run


@pytest.mark.parametrize("script", ["rate-test.js", "script.js"])
@pytest.mark.parametrize("given", ["10.0.0.100", "localhost:5000", "ftp://localhost", "http://", "http://localhost?a=b", "http://localhost/#a", "http://a b"])
def test_what_is_no_url_is_refused_and_what_is_one_named(script, given):
    run = run_k6(script, {"BASE_URL": given})
    assert run.status == SCRIPT_EXCEPTION and f"BASE_URL={given}: must be http://HOST" in run.stderr, run


# As few VUs as can be: what is tried here comes before they have anything to do.
FEW = {"CLIENTS": 1, "SHORTEN_RATE": 1, "REDIRECT_RATE": 0, "MISS_RATE": 0, "LIMIT": 1000}


@pytest.mark.parametrize("script", ["rate-test.js", "script.js"])
def test_where_nobody_answers_nothing_begins(script):
    run = run_k6(script, {**FEW, "BASE_URL": "http://127.0.0.1:1"})
    assert run.status == SCRIPT_EXCEPTION and "BASE_URL=http://127.0.0.1:1: no answer (connect ECONNREFUSED" in run.stderr, run
    assert "reference plant" not in run.stderr, run


@pytest.mark.parametrize("script", ["rate-test.js", "script.js"])
def test_without_a_url_it_says_which_one_it_asked(script):
    run = run_k6(script, {**FEW, "BASE_URL": ""}, before=["unshare", "--net", "--"])  # so that nobody answers at 10.0.0.100
    assert run.status == SCRIPT_EXCEPTION and "BASE_URL=http://10.0.0.100: no answer" in run.stderr, run
    assert "without -e BASE_URL=http://HOST it is the reference plant that is asked" in run.stderr, run


@pytest.mark.parametrize("script", ["rate-test.js", "script.js"])
def test_a_server_that_sends_all_elsewhere_is_not_judged(script):
    with limiters.LimiterServer(limiters.Limiter(LIMIT, WINDOW_S), elsewhere="https://sluice.example/healthz") as server:
        run = run_k6(script, {**FEW, "BASE_URL": server.url})
    assert run.status == SCRIPT_EXCEPTION and "answers 301 and sends us to https://sluice.example/healthz" in run.stderr, run


@pytest.mark.parametrize("end", ["", "/", "/behind/a/path", "/behind/a/path//"])
def test_what_stands_behind_the_host_stands_before_all_that_is_asked(end):
    with limiters.LimiterServer(limiters.Limiter(LIMIT, WINDOW_S)) as server:
        run = run_k6("rate-test.js", {**SHORT, "BASE_URL": server.url + end, "STEADY": 0.5, "PATIENT": 0})
    assert run.status == 0, run
    assert server.paths == {end.rstrip("/") + "/healthz", end.rstrip("/") + "/shorten"}


# What Sluice does, and what the script is told that it does.
ALGORITHMS = [("sliding-log", "sliding-log"), ("sliding-counter", "sliding-counter"), ("fixed-window", "fixed-window"),
              ("token-bucket", "token-bucket"), ("token-bucket", "sliding-log")]


@pytest.fixture(scope="module")
def runs_of_sluice(start_shared):
    servers = {pair: start_shared(config=f"limits: [{{name: a, algorithm: {pair[0]}, limit: {LIMIT}, window: {WINDOW_S}s}}]\n")
               for pair in ALGORITHMS}
    return all_at_once(lambda pair: run_k6("rate-test.js", {**SHORT, "BASE_URL": "http://%s:%d" % servers[pair].address,
                                                            "ALGORITHM": pair[1]}), ALGORITHMS)


@pytest.mark.parametrize("pair", ALGORITHMS, ids=lambda pair: " judged as ".join(pair))
def test_each_algorithm_keeps_its_own_promise(runs_of_sluice, pair):
    run = runs_of_sluice[pair]
    if pair[0] == pair[1]:
        assert run.status == 0 and "BROKEN" not in run.stdout, run
    else:
        assert run.status == THRESHOLDS_FAILED and "admitted_in_window" in run.crossed, run


@pytest.mark.parametrize("env, said", [({"LIMIT": 0}, "LIMIT=0"), ({"WINDOW": "1m"}, "WINDOW=1m"), ({"CLIENTS": 0}, "CLIENTS=0"),
                                       ({"CLIENTS": 2.5}, "CLIENTS=2.5"), ({"LIMIT": "1e10"}, "LIMIT=1e10"),
                                       ({"ALGORITHM": "leaky"}, "ALGORITHM=leaky"),
                                       ({"RAMP_UP": 0, "STEADY": 0, "RAMP_DOWN": 0}, "nothing to do")])
def test_settings_that_make_no_sense_are_refused_by_name(env, said):
    run = run_k6("rate-test.js", env)
    assert run.status == SCRIPT_EXCEPTION and said in run.stderr, run


def test_the_summary_of_k6_2_is_read_too(start):
    server = start(limit=f"{LIMIT}/{WINDOW_S}s")
    run = run_k6("rate-test.js", {**SHORT, "PATIENT": 0, "BASE_URL": "http://%s:%d" % server.address}, "--new-machine-readable-summary")
    assert run.status == 0 and run.stdout.count("kept ") == 4 and "judged by thresholds only" in run.stdout, run
