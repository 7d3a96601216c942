# SPDX-License-Identifier: Apache-2.0
"""A slow line between a server and Redis: throughput holds, since what waits, waits side by side; no decision passes its
deadline."""
import time

import pytest

from plant import oracle
from plant.figures import measured
from plant.hosts import CROWD
from plant.load import Background
from support.waiting import wait_until

FAR_PAST_S = 1.0  # on a busy machine
AT_ONCE = 200


@pytest.fixture
def slow(plant):
    """A function that starts a server which reaches Redis over a slow line, and returns it and the line."""
    def start(timeout):
        redis = plant.start_redis()
        line = plant.slow_line((redis.host, redis.port))
        web = plant.web(1, limit="1000/60s", threads=1, limiter=f"redis://{plant.network.address('line')}:{redis.port}",
                        env={"SLUICE_LIMITER_TIMEOUT": timeout})
        web.wait_for_store(1)
        return web, line
    return start


def by_store(web):
    return sum(value for (name, labels), value in web.metrics().items()
               if name == "sluice_decisions_total" and dict(labels)["by"] == "store")


def check_deadline(plant, shots, deadline_s):
    worst = max(shot.took_s - plant.load.stalled_s(shot) for shot in shots) - deadline_s
    measured(f"worst lateness {worst * 1000:.1f} ms of {len(shots)}")
    assert worst < FAR_PAST_S


@pytest.mark.parametrize("delay_ms, jitter_ms", [(0.5, 0), (10, 0), (5, 10)],
                         ids=["1 ms there and back", "20 ms there and back", "10 to 30 ms there and back"])
def test_requests_wait_side_by_side(plant, slow, delay_ms, jitter_ms):
    """One after the other, at 20 ms each, 12 requests could be decided within the deadline. All of them are."""
    web, line = slow("250ms")
    line.delay(delay_ms, jitter_ms)
    before, pieces = by_store(web), line.count()[0]
    shots = plant.load.do(plant.load.crowd(CROWD[:AT_ONCE], 1, target=web.address))
    oracle.check_answered(shots, (200,))
    decided, pieces = by_store(web) - before, line.count()[0] - pieces
    measured(f"{decided:.0f} of {AT_ONCE} decided by Redis, in {pieces} pieces")
    check_deadline(plant, shots, 0.25)
    assert decided == AT_ONCE
    assert pieces < AT_ONCE, "what a loop's turn brings leaves in one write"


def test_a_stalled_line_costs_no_request_more_than_its_deadline(plant, slow):
    web, line = slow("50ms")
    clients = [{"every_s": 0.05, "target": web.address, "client": client} for client in CROWD[:40]]
    with Background(plant.load, clients) as background:
        for pause_s in (0.01, 0.03, 0.1, 1.0):
            before = by_store(web)
            line.stall()
            time.sleep(pause_s)
            line.go()
            wait_for_store(web, before)
    oracle.check_answered(background.shots, (200, 429))
    check_deadline(plant, background.shots, 0.05)


def wait_for_store(web, before):
    wait_until(lambda: by_store(web) > before + 20, what="Redis to decide again")
