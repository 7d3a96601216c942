# SPDX-License-Identifier: Apache-2.0
"""Several servers, one limit: states in a Redis."""
import concurrent.futures
import time

import pytest

from support.redis import free_port
from support.waiting import wait_until
from support.wire import Wire, build


@pytest.fixture
def start_redis(start_either):
    return start_either


@pytest.fixture
def start(start):
    """Servers with more patience than the usual 50 ms: the machine may be busy, and it is not what is tested here."""
    return lambda **settings: start(env={"SLUICE_LIMITER_TIMEOUT": "1s"}, **settings)


def with_limiter(url, *more):
    return ["--limiter", url, *more]


def statuses(servers, n, source=None):
    """`n` requests, each to the next server."""
    return [servers[i % len(servers)].get("/", source=source).status for i in range(n)]


def test_two_servers_share_one_limit(start, redis):
    servers = [start(arguments=with_limiter(redis.url)) for _ in range(2)]
    assert statuses(servers, 14) == [200] * 10 + [429] * 4
    assert statuses(servers, 11, source="127.0.0.2") == [200] * 10 + [429]


def test_every_key_ends_by_itself(start, redis):
    server = start(arguments=with_limiter(redis.url))
    statuses([server], 3)
    keys = redis.ask("KEYS", "*")
    assert "rate_limit:per-client:{127.0.0.1}" in keys
    assert all(redis.ask("PTTL", key) > 0 for key in keys)


def test_a_script_that_was_flushed_is_sent_again(start, redis):
    server = start(arguments=with_limiter(redis.url))
    assert statuses([server], 4) == [200] * 4
    redis.ask("SCRIPT", "FLUSH")
    assert statuses([server], 8) == [200] * 6 + [429] * 2
    metrics = server.metrics()
    assert metrics[("sluice_decisions_total", (("by", "store"), ("limit", "per-client"), ("outcome", "allowed")))] == 10


def test_a_server_starts_without_redis_and_finds_it_later(start, start_redis, redis):
    redis.kill()
    server = start(arguments=with_limiter(redis.url))
    assert "not there yet" in server.stderr
    assert server.get("/").status == 200
    redis.start()
    wait_until(lambda: server.get("/readyz").body == b"ready\n", what="the server to use Redis")
    assert server.get("/", source="127.0.0.3").status == 200
    assert redis.ask("EXISTS", "rate_limit:per-client:{127.0.0.3}")


def test_who_asks_a_server_that_starts_waits_for_redis(start, redis):
    """For a second at most. A server that knows of nobody's requests yet would let the limit pass once more."""
    first = start(arguments=with_limiter(redis.url))
    assert statuses([first], 10) == [200] * 10
    for _ in range(10):
        address, begun = ("127.0.0.1", free_port()), time.monotonic()

        def ask(address=address):
            with wait_until(lambda: connected(address), what="the second server to listen") as wire:
                wire.send(build("GET", "/", [("Connection", "close")]))
                redis.go_on()
                sent = time.monotonic()
                return sent, wire.read_answer().status

        redis.pause()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            asked = pool.submit(ask)
            server = start(arguments=with_limiter(redis.url), listen="%s:%d" % address)
            sent, status = asked.result()
        if sent - begun < 0.5:
            assert status == 429 and server.wait_for_log(1)[0]["decision"] == "denied"
            return
    raise AssertionError("ten times this machine took longer than half a second to start a server")


def connected(address):
    try:
        return Wire(address)
    except ConnectionRefusedError:
        return None


def test_servers_are_counted_while_they_live(start, redis):
    def servers():
        return redis.ask("ZCARD", "rate_limit:{sluice}:servers")

    first, second, third = (start(arguments=with_limiter(redis.url)) for _ in range(3))
    wait_until(lambda: servers() == 3, what="three servers")
    second.stop()
    assert servers() == 2  # it said goodbye
    third.kill()
    wait_until(lambda: servers() == 1, what="the dead server to be noticed")
    assert first.alive()
