# SPDX-License-Identifier: Apache-2.0
"""The load tests of deploy/k6, as the load host of the plant runs them, through nginx."""
import pytest

from plant.hosts import ADDRESSES, SCALE
from support.k6 import THRESHOLDS_FAILED, run_k6

PATIENT_STORE = {"SLUICE_LIMITER_TIMEOUT": "5s"}  # so that Redis decides all of it, also on a busy machine
LIMIT = 10
WINDOW_S = 60 * SCALE
# The story of rate-test.js at the plant's pace. At the full one it needs to be told nothing.
STORY = {} if SCALE == 1 else {"WINDOW": WINDOW_S, "EVERY": SCALE, "RAMP_UP": 30 * SCALE, "STEADY": 60 * SCALE,
                               "RAMP_DOWN": 10 * SCALE, "SLACK": 2}
# As soon as the clients are there, it is clear that too many pass.
BEGINNING = {**STORY, "RAMP_UP": 10 * SCALE, "STEADY": 10 * SCALE, "RAMP_DOWN": 0, "PATIENT": 0}


def run_on_load_host(plant, script, env, *arguments):
    return run_k6(script, env, *arguments, before=plant.network.command("load"), cwd=plant.folder)


def start(plant, limit=LIMIT, shared=True):
    redis = plant.start_redis() if shared else None
    for n in (1, 2):
        plant.web(n, limit=f"{limit}/{round(WINDOW_S * 1000)}ms", limiter=redis.url if shared else None, env=PATIENT_STORE)
    plant.start_nginx()
    for web in plant.webs.values():
        web.wait_until_ready()


def test_the_plant_passes_the_rate_test(plant):
    start(plant)
    run = run_on_load_host(plant, "rate-test.js", {**STORY, "SUMMARY": "summary.json"})
    assert run.status == 0, run
    assert f"most admitted in {WINDOW_S:g} s: {LIMIT} of {LIMIT}\n" in run.stdout, run
    assert "not judged" not in run.stdout and "BROKEN" not in run.stdout, run
    assert (plant.folder / "summary.json").stat().st_size > 0
    for web in plant.webs.values():
        asked = web.metrics().total("sluice_requests_total", endpoint="shorten")
        assert asked >= 100, f"{web.host} had no part in it"
    assert {line["client"] for web in plant.webs.values() for line in web.log() if "POST" in line["method"]} == {ADDRESSES["load"]}


@pytest.mark.parametrize("wrong", [{"limit": LIMIT + 1}, {"shared": False}], ids=["one more", "a limit each"])
def test_a_plant_with_a_wrong_limit_fails_the_rate_test(plant, wrong):
    start(plant, **wrong)
    run = run_on_load_host(plant, "rate-test.js", BEGINNING)
    assert run.status == THRESHOLDS_FAILED and run.crossed == {"admitted_in_window"}, run
