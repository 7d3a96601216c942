# SPDX-License-Identifier: Apache-2.0
"""deploy/k6/rate-test.js finds every wrong limiter out, and says nothing against a right one.

The servers are wrong in one way each. Sluice itself is judged here alone, and as a plant in tests/topology/test_k6.py.
"""
import concurrent.futures

import pytest

from support import limiters
from support.k6 import SCRIPT_EXCEPTION, THRESHOLDS_FAILED, run_k6

LIMIT, WINDOW_S = 4, 2
SHORT = {"LIMIT": LIMIT, "WINDOW": WINDOW_S, "CLIENTS": 6, "EVERY": 0.1, "RAMP_UP": 0.3, "STEADY": 4.5, "RAMP_DOWN": 0.2, "SLACK": 1.5}
AT_ONCE = 5

# What is wrong, and the metrics whose thresholds must fail: exactly these.
CASES = {
    limiters.Limiter: set(),
    limiters.AdmitsOneMore: {"admitted_in_window"},
    limiters.FixedWindows: {"admitted_in_window"},
    limiters.CountsDenials: {"admitted_in_reach"},
    limiters.FailsOnce: {"wrong_answers", "checks", "http_req_failed"},
    limiters.FailsAlways: {"wrong_answers", "checks", "http_req_failed", "admitted_in_reach", "patient_waits"},
    limiters.TellsNothing: {"retry_after_missing", "checks", "patient_waits"},
    limiters.TellsTooMuch: {"retry_after_lies"},
    limiters.TellsTooLittle: {"retry_after_lies"},
    limiters.TellsADate: {"retry_after_lies", "patient_waits"},
}


def judge(kind):
    with limiters.LimiterServer(kind(LIMIT, WINDOW_S)) as server:
        return run_k6("rate-test.js", {**SHORT, "BASE_URL": server.url})


@pytest.fixture(scope="module")
def runs():
    """All of them, some at once: each waits most of the time."""
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(CASES, pool.map(judge, CASES)))


@pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
def test_what_is_wrong_is_found_out_and_named(runs, kind):
    run = runs[kind]
    assert run.crossed == CASES[kind], run
    assert run.status == (THRESHOLDS_FAILED if CASES[kind] else 0), run
    assert ("BROKEN" in run.stdout) == bool(CASES[kind]), run
