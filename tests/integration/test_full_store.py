# SPDX-License-Identifier: Apache-2.0
"""The in-process store is full: nobody's limit is forgotten, and newcomers meet the policy that was chosen."""
import collections
import itertools
import re

import pytest

from support.waiting import wait_until
from support.wire import build

MAX_KEYS = 8
SHARED = 1024  # states that newcomers share under `local`
CONFIG = "trusted_proxies: [127.0.0.1]\nlimiter:\n  max_keys: {max_keys}\n  on_failure: {policy}\n"


def asked(server, clients):
    """One request for each client, over one connection of a trusted proxy. Returns the answers."""
    answers = []
    with server.connect() as wire:
        for some in itertools.zip_longest(*[iter(clients)] * 64):
            some = [client for client in some if client is not None]
            wire.send(b"".join(build("GET", "/", [("X-Forwarded-For", client)]) for client in some))
            answers += [wire.read_answer() for _ in some]
    return answers


def statuses(server, client, n):
    return [answer.status for answer in asked(server, [client] * n)]


def strangers(n):
    return [f"198.18.{i // 250}.{i % 250}" for i in range(n)]


@pytest.fixture(params=["local", "open", "closed"])
def full(request, start):
    """A server whose store is full: of one client who is over the limit, one who is not, and others."""
    server = start(config=CONFIG.format(max_keys=MAX_KEYS, policy=request.param), limit="3/60s", threads=2)
    server.policy = request.param
    assert statuses(server, "203.0.113.1", 4) == [200, 200, 200, 429]
    assert statuses(server, "203.0.113.2", 1) == [200]
    for answer in asked(server, [f"203.0.113.{i}" for i in range(3, MAX_KEYS + 1)]):
        assert answer.status == 200
    metrics = server.metrics()
    assert metrics.value("sluice_limiter_keys") == MAX_KEYS
    assert metrics.value("sluice_limiter_refused_total") == 0
    return server


def test_a_flood_frees_nobody_from_his_limit(full):
    """New addresses push no old ones out."""
    asked(full, strangers(5000))
    assert statuses(full, "203.0.113.1", 3) == [429, 429, 429]
    assert statuses(full, "203.0.113.2", 3) == [200, 200, 429]
    for i in range(3, MAX_KEYS + 1):
        assert statuses(full, f"203.0.113.{i}", 3) == [200, 200, 429]


def test_newcomers_meet_the_policy(full):
    count = collections.Counter(answer.status for answer in asked(full, strangers(5000)))
    if full.policy == "open":
        assert count == {200: 5000}
    elif full.policy == "closed":
        assert count == {429: 5000}
    else:
        # Each shared state passes the limit at most, and with 5,000 strangers nearly all of them were asked.
        assert 3 * SHARED * 0.9 <= count[200] <= 3 * SHARED
        assert count[200] + count[429] == 5000
    metrics = full.metrics()
    assert metrics.value("sluice_limiter_refused_total") == 5000
    assert metrics.total("sluice_decisions_total", by=full.policy) == 5000
    assert metrics.total("sluice_decisions_total", by=full.policy, outcome="allowed") == count[200]
    assert metrics.value("sluice_limiter_keys") <= MAX_KEYS + SHARED


def test_under_local_a_newcomer_passes_no_more_than_its_limit(start):
    server = start(config=CONFIG.format(max_keys=MAX_KEYS, policy="local"), limit="3/60s", threads=2)
    asked(server, [f"203.0.113.{i}" for i in range(1, MAX_KEYS + 1)])
    for i in range(1, 50):
        assert statuses(server, f"198.18.200.{i}", 6).count(200) <= 3
    assert statuses(server, "198.18.200.1", 6) == [429] * 6


def test_under_closed_a_newcomer_is_told_to_come_back_soon(start):
    server = start(config=CONFIG.format(max_keys=1, policy="closed"), limit="3/60s")
    asked(server, ["203.0.113.1"])
    answer = asked(server, ["203.0.113.2"])[0]
    assert (answer.status, answer["Retry-After"]) == (429, "1")


def test_the_log_tells_who_decided(full):
    asked(full, ["198.18.255.1"])
    line = full.wait_for_log(4 + 1 + MAX_KEYS - 2 + 1 + 1)
    decisions = [entry["decision"] for entry in line if entry["client"] == "198.18.255.1"]
    assert decisions == {"local": ["local-allowed"], "open": ["open"], "closed": ["closed"]}[full.policy]


def test_the_operator_is_told_once_not_five_thousand_times(full):
    asked(full, strangers(5000))
    told = re.findall(r".*warn limiter store.*", full.stderr)
    assert len(told) == 1, told
    assert "full" in told[0] and full.policy in told[0]


def test_room_that_expires_is_given_to_newcomers(start):
    server = start(config=CONFIG.format(max_keys=4, policy="closed"), limit="1/1s")
    assert [answer.status for answer in asked(server, [f"203.0.113.{i}" for i in range(1, 5)])] == [200] * 4
    refused = asked(server, ["198.18.0.1"])[0]
    assert refused.status == 429

    def admitted():
        return asked(server, ["198.18.0.1"])[0].status == 200

    wait_until(admitted, what="the room of those who have gone")


def test_memory_stays_bounded(start):
    """Twenty thousand addresses through a store of a thousand."""
    server = start(config=CONFIG.format(max_keys=1000, policy="open"), limit="3/60s", threads=2)
    asked(server, strangers(2000))
    before = server.metrics().value("sluice_limiter_bytes")
    asked(server, [f"198.19.{i // 250}.{i % 250}" for i in range(20000)])
    metrics = server.metrics()
    assert metrics.value("sluice_limiter_bytes") <= before
    assert metrics.value("sluice_limiter_keys") == 1000
