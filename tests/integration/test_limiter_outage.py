# SPDX-License-Identifier: Apache-2.0
"""What servers do while the Redis that they share is away, what they say about it, and what attackers cost it."""
import re
import signal
import time

import pytest

from support.waiting import wait_until
from support.wire import build

FORM = ("Content-Type", "application/x-www-form-urlencoded")


def config(redis, policy="local", timeout="50ms", limit=10, window="60s"):
    return (f"limiter:\n  store: {redis.url}\n  on_failure: {policy}\n  timeout: {timeout}\n"
            f"limits:\n  - {{name: per-client, algorithm: sliding-log, limit: {limit}, window: {window}, by: [client-ip]}}\n")


def ready(server):
    answer = server.get("/readyz")
    return answer.status, answer.body.decode()


def gauge(server, name):
    return server.metrics()[(name, ())]


@pytest.mark.parametrize("policy, status", [("local", 200), ("open", 200), ("closed", 503)])
def test_readiness_says_who_decides(start, redis, policy, status):
    server = start(config=config(redis, policy))
    wait_until(lambda: ready(server) == (200, "ready\n"), what="the limiter to be ready")
    assert gauge(server, "sluice_limiter_up") == 1
    redis.kill()
    wait_until(lambda: gauge(server, "sluice_limiter_up") == 0, what="the loss to be noticed")
    text = f'limiter: redis not reachable, policy "{policy}" decides\n'
    assert ready(server) == (status, text if status == 503 else "ready\n" + text)
    redis.start()
    wait_until(lambda: ready(server) == (200, "ready\n"), what="the limiter to be ready again")


def test_one_line_for_an_outage_and_one_for_its_end(start, redis):
    server = start(config=config(redis, limit=1000), threads=2)
    assert server.get("/").status == 200
    redis.kill()
    wait_until(lambda: server.get("/").status == 200 and "out of reach" in server.stderr, what="the line")
    for _ in range(100):
        assert server.get("/").status == 200
    redis.start()
    wait_until(lambda: "is back after" in server.stderr, what="the line that it is back")
    assert server.stderr.count("out of reach") == 1
    assert server.stderr.count("is back after") == 1
    assert 'policy "local" decides, limits divided by 1' in server.stderr


def test_an_outage_in_which_all_are_at_their_limits_is_told_too(start, redis):
    """A request that the server's own share denies asks nobody, and so finds nothing out."""
    server = start(config=config(redis, limit=1), threads=1)
    assert [server.get("/").status for _ in range(2)] == [200, 429]
    redis.kill()
    wait_until(lambda: gauge(server, "sluice_limiter_up") == 0, what="the loss to be noticed")
    wait_until(lambda: server.get("/").status == 429 and "out of reach" in server.stderr, what="the line")
    began = time.monotonic()
    time.sleep(1)  # in which nobody asks: it counts as well
    redis.start()
    wait_until(lambda: "is back after" in server.stderr, what="the line that it is back")
    lasted = float(re.search(r"is back after ([0-9.]+) s", server.stderr)[1])
    assert 0.9 <= lasted <= time.monotonic() - began + 1


def test_two_servers_hold_the_limit_through_an_outage(start, redis):
    servers = [start(config=config(redis)) for _ in range(2)]
    for server in servers:
        wait_until(lambda: gauge(server, "sluice_limiter_servers") == 2, what="two servers")

    def passes(n, source):
        return sum(servers[i % 2].get("/", source=source).status == 200 for i in range(n))

    assert passes(6, "127.0.0.2") == 6
    assert passes(30, "127.0.0.3") == 10
    redis.kill()
    for server in servers:
        wait_until(lambda: gauge(server, "sluice_limiter_up") == 0, what="the loss to be noticed")
    assert passes(20, "127.0.0.2") == 4
    assert passes(20, "127.0.0.3") == 0
    assert passes(6, "127.0.0.4") == 6
    redis.start()  # with nothing in it
    for server in servers:
        wait_until(lambda: gauge(server, "sluice_limiter_up") == 1, what="the return to be noticed")
    assert passes(20, "127.0.0.2") == 0
    assert passes(20, "127.0.0.4") == 4
    assert passes(20, "127.0.0.5") == 10


def test_a_denied_client_costs_redis_nothing(start, redis):
    server = start(config=config(redis), threads=1)
    for _ in range(12):
        server.get("/")
    before = redis.calls("evalsha"), gauge(server, "sluice_deny_cache_hits_total")
    with server.connect() as wire:
        for _ in range(2000):
            wire.send(build("GET", "/"))
            answer = wire.read_answer()
            assert answer.status == 429
            assert 1 <= int(answer["Retry-After"]) <= 60
    heartbeats = 30  # a second each, should this take that long
    assert redis.calls("evalsha") - before[0] <= 2 + heartbeats
    assert gauge(server, "sluice_deny_cache_hits_total") - before[1] >= 1998
    assert gauge(server, "sluice_deny_cache_entries") == 1


def test_a_client_that_leaves_while_redis_thinks(start, redis):
    """The log line of a request whose connection is gone tells what it was all the same."""
    server = start(config=config(redis, timeout="10s"), threads=1)
    redis.pause()
    bodies = [build("POST", "/shorten?some=query", [FORM, ("Content-Length", "1000")]) + b"url=",
              build("PUT", "/plain", [FORM, ("Content-Length", "1000")]) + b"url=",
              build("PROPFINDPROPFINDPROPFINDPROPFIND", "/odd", [FORM, ("Content-Length", "1000")]) + b"url="]
    for body in bodies:
        with server.connect() as wire:
            wire.send(body)
            wait_until(lambda: gauge(server, "sluice_connections_open") >= 2, what="the connection")
    wait_until(lambda: gauge(server, "sluice_connections_open") == 1, what="the connections to be gone")
    redis.go_on()
    wait_until(lambda: sum(line["status"] == 0 for line in server.log()) == 3, what="the log lines")
    lines = [line for line in server.log() if line["status"] == 0]
    assert [line["path"].split()[0] for line in lines] == ["/shorten?some=query", "/plain", "/odd"]
    assert [line["method"] for line in lines][:2] == ["POST", "PUT"]
    assert lines[2]["method"].startswith("PROPFIND")


def test_a_stop_waits_for_decisions_under_way(start, redis):
    server = start(config=config(redis, timeout="10s"), threads=1)
    redis.pause()
    with server.connect() as wire:
        wire.send(build("GET", "/"))
        sent = time.monotonic()
        wait_until(lambda: gauge(server, "sluice_connections_open") >= 2, what="the connection")
        server.signal(signal.SIGTERM)
        wait_until(lambda: "stopping" in server.stderr, what="the stop")
        redis.go_on()
        assert wire.read_answer().status == 200
        assert time.monotonic() - sent < 30
    assert server.wait() == 0
