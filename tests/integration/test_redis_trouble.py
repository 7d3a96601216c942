# SPDX-License-Identifier: Apache-2.0
"""A Redis that answers errors, hangs, comes back with and without its data: what each means for decisions.

What the failure policies make of it is in test_limiter_outage.py. No figure here is tight: a busy machine is slow.
"""
import time

import pytest

from support.redis import RedisError, debug_allowed, server_version
from support.waiting import wait_until

TIMEOUT_S = 0.5
LATE_S = 5  # far past the deadline


@pytest.fixture
def start_redis(start_either):
    return start_either


def config(url, policy="closed", limit=10, more=""):
    """`closed`, unless told otherwise: then 429 with a Retry-After of 1 says who decided."""
    return (f"limiter:\n  store: {url}\n  on_failure: {policy}\n  timeout: 500ms\n{more}"
            f"limits:\n  - {{name: per-client, algorithm: sliding-log, limit: {limit}, window: 60s}}\n")


def by_store(server):
    """How many decisions the store has made so far."""
    return sum(value for (name, labels), value in server.metrics().items()
               if name == "sluice_decisions_total" and ("by", "store") in labels)


def asks_store(server, source):
    """Whether the next decision is the store's."""
    before = by_store(server)
    answer = server.get("/", source=source)
    assert answer.status in (200, 429), answer
    return by_store(server) > before


def is_ready(server):
    return server.get("/readyz").body == b"ready\n"


def is_busy(redis):
    try:
        redis.ask("PING")
    except RedisError as error:
        return "BUSY" in str(error)
    return False


def test_out_of_memory(start, redis):
    server = start(config=config(redis.url), threads=1)
    assert [server.get("/", source="127.0.0.2").status for _ in range(11)] == [200] * 10 + [429]
    redis.ask("CONFIG", "SET", "maxmemory", "1")
    assert not asks_store(server, "127.0.0.3")
    assert "OOM" in server.stderr and "maxmemory" in server.stderr
    assert not is_ready(server)
    assert redis.ask("EXISTS", "rate_limit:per-client:{127.0.0.3}") == 0
    redis.ask("CONFIG", "SET", "maxmemory", "0")
    wait_until(lambda: asks_store(server, "127.0.0.4"), what="Redis to decide again")
    assert server.get("/", source="127.0.0.2").status == 429  # it was kept
    wait_until(lambda: is_ready(server), what="readiness")


def test_a_replica_decides_nothing(start, redis, start_redis):
    server = start(config=config(redis.url), threads=2)
    assert asks_store(server, "127.0.0.2")
    other = start_redis()
    redis.ask("REPLICAOF", other.host, other.port)
    wait_until(lambda: not asks_store(server, "127.0.0.3") and "replica" in server.stderr, what="the replica to be found out")
    wait_until(lambda: not is_ready(server), what="readiness to end")
    redis.ask("REPLICAOF", "NO", "ONE")
    wait_until(lambda: asks_store(server, "127.0.0.4"), what="Redis to decide again")


def test_a_password_that_changes(start, redis):
    server = start(config=config(redis.url), threads=1)
    assert asks_store(server, "127.0.0.2")
    redis.ask("CONFIG", "SET", "requirepass", "new")
    # Who is there stays; who comes must know it.
    with redis.client() as client:
        client.ask("AUTH", "new")
        client.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        wait_until(lambda: "NOAUTH" in server.stderr, what="the refusal to be told")
        assert not asks_store(server, "127.0.0.3")
        assert "limiter.password_file" in server.stderr
        client.ask("CONFIG", "SET", "requirepass", "")
    wait_until(lambda: asks_store(server, "127.0.0.4"), what="Redis to decide again")


def test_a_script_that_blocks_redis(start, redis):
    server = start(config=config(redis.url), threads=1)
    assert asks_store(server, "127.0.0.2")
    redis.ask("CONFIG", "SET", "lua-time-limit", "10")
    with redis.client() as busy:
        busy.socket.sendall(b"*3\r\n$4\r\nEVAL\r\n$21\r\nwhile true do end    \r\n$1\r\n0\r\n")
        wait_until(lambda: is_busy(redis), what="Redis to be busy")
        began = time.monotonic()
        assert server.get("/", source="127.0.0.3").status == 429
        assert time.monotonic() - began < LATE_S
        wait_until(lambda: "BUSY" in server.stderr, what="BUSY to be told")
        redis.ask("SCRIPT", "KILL")
        with pytest.raises(RedisError):
            busy.read()
    wait_until(lambda: asks_store(server, "127.0.0.4"), what="Redis to decide again")


def test_loading(start, start_redis):
    # It answers every so many bytes that it has loaded; before Redis 7 these were always 2 MB.
    bytes_a_key, adjustable = (100, True) if server_version() >= (7,) else (3000, False)
    redis = start_redis(arguments=["--appendonly", "yes", "--appendfsync", "always", "--rdbcompression", "no",
                                   *debug_allowed()])
    server = start(config=config(redis.url), threads=1)
    assert [server.get("/", source="127.0.0.2").status for _ in range(11)] == [200] * 10 + [429]
    with redis.client() as client:
        client.ask("DEBUG", "POPULATE", "20000", "filler", bytes_a_key)
    redis.ask("CONFIG", "SET", "key-load-delay", "100")  # us for each key
    if adjustable:
        redis.ask("CONFIG", "SET", "loading-process-events-interval-bytes", "1024")
    with redis.client() as client:
        client.socket.sendall(b"*2\r\n$5\r\nDEBUG\r\n$6\r\nRELOAD\r\n")
        wait_until(lambda: "LOADING" in server.stderr or "loading" in server.stderr, what="LOADING to be told")
        assert not asks_store(server, "127.0.0.3")
        assert client.read() == "OK"
    wait_until(lambda: asks_store(server, "127.0.0.4"), what="Redis to decide again")
    assert server.get("/", source="127.0.0.2").status == 429


def test_rights_that_are_taken_away(start, redis):
    redis.ask("ACL", "SETUSER", "limits", "on", ">p", "~rate_limit:*", "+@all")
    url = redis.url.replace("://", "://limits:p@")
    server = start(config=config(url), threads=1)
    assert asks_store(server, "127.0.0.2")
    redis.ask("ACL", "SETUSER", "limits", "-evalsha", *(["-sluice.mtake"] if redis.module else []))
    assert not asks_store(server, "127.0.0.3")
    wait_until(lambda: "NOPERM" in server.stderr, what="NOPERM to be told")
    redis.ask("ACL", "SETUSER", "limits", "+evalsha", *(["+sluice.mtake"] if redis.module else []))
    wait_until(lambda: asks_store(server, "127.0.0.4"), what="Redis to decide again")


def test_a_key_of_another_type_fails_alone(start, redis):
    server = start(config=config(redis.url), threads=1)
    redis.ask("RPUSH", "rate_limit:per-client:{127.0.0.2}", "x")
    assert not asks_store(server, "127.0.0.2")
    assert "WRONGTYPE" in server.stderr
    assert asks_store(server, "127.0.0.3")
    assert redis.ask("TYPE", "rate_limit:per-client:{127.0.0.2}") == "list"  # it is not ours


def test_a_state_that_is_damaged_fails_alone(start, redis):
    server = start(config=config(redis.url), threads=1)
    redis.ask("SET", "rate_limit:per-client:{127.0.0.2}", b"\x01\x01\x01\x00garbage")
    assert not asks_store(server, "127.0.0.2")
    assert asks_store(server, "127.0.0.3")


def test_a_redis_that_hangs_costs_a_deadline_and_no_more(start, redis):
    server = start(config=config(redis.url), threads=1)
    assert asks_store(server, "127.0.0.2")
    redis.pause()
    began = time.monotonic()
    assert server.get("/", source="127.0.0.2").status == 429  # closed
    assert time.monotonic() - began < LATE_S
    # From now on it is known to be away: nobody waits.
    answers = [server.get("/", source="127.0.0.2") for _ in range(50)]
    assert {answer.status for answer in answers} == {429}
    assert time.monotonic() - began < LATE_S
    redis.go_on()
    wait_until(lambda: asks_store(server, "127.0.0.3"), what="Redis to decide again")


def test_nothing_is_taken_twice_over_a_hang(start, redis):
    """What was on its way when Redis stopped is carried out when it goes on; it is not sent again."""
    server = start(config=config(redis.url, policy="open", limit=1000), threads=1)
    for _ in range(5):
        assert server.get("/", source="127.0.0.2").status == 200
    redis.pause()
    for _ in range(5):
        assert server.get("/", source="127.0.0.2").status == 200
    redis.go_on()
    wait_until(lambda: is_ready(server), what="Redis to decide again")
    answer = server.get("/", source="127.0.0.2")
    left = int(answer["RateLimit"].split("r=")[1].split(";")[0])
    assert 1000 - 11 <= left <= 1000 - 6, answer  # 6 for certain; 5 more at most, and those once


def test_killed_and_back_with_its_data(start, start_redis):
    redis = start_redis(arguments=["--appendonly", "yes", "--appendfsync", "always"])
    server = start(config=config(redis.url), threads=2)
    assert [server.get("/", source="127.0.0.2").status for _ in range(6)] == [200] * 6
    redis.kill()
    assert server.get("/", source="127.0.0.2").status == 429
    redis.start()
    wait_until(lambda: is_ready(server), what="Redis to decide again")
    assert [server.get("/", source="127.0.0.2").status for _ in range(6)] == [200] * 4 + [429] * 2


def test_back_without_its_data_voids_what_was_remembered(start, redis):
    server = start(config=config(redis.url), threads=1)
    assert [server.get("/", source="127.0.0.2").status for _ in range(12)] == [200] * 10 + [429] * 2
    redis.kill()
    redis.start(empty=True)
    wait_until(lambda: is_ready(server), what="Redis to decide again")
    wait_until(lambda: server.get("/", source="127.0.0.2").status == 200, what="the denial to be void")


def test_a_flush_voids_what_was_remembered(start, redis):
    server = start(config=config(redis.url), threads=1)
    assert [server.get("/", source="127.0.0.2").status for _ in range(12)] == [200] * 10 + [429] * 2
    redis.ask("FLUSHALL")
    wait_until(lambda: server.get("/", source="127.0.0.2").status == 200, what="the denial to be void")


def test_a_slow_head_does_not_get_away_from_the_store(start, redis):
    server = start(config=config(redis.url), threads=1)
    with server.connect("127.0.0.2") as wire:
        wire.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        end = time.monotonic() + 2 * TIMEOUT_S
        wait_until(lambda: time.monotonic() > end, what="the deadline of a request that had asked at its first line")
        before = by_store(server)
        wire.send(b"\r\n")
        assert wire.read_answer().status == 200
    assert by_store(server) == before + 1


def test_nobody_asks_for_an_eviction_policy(start, start_redis):
    redis = start_redis(arguments=["--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lru"])
    server = start(config=config(redis.url), threads=2)
    assert server.stderr.count("maxmemory-policy is allkeys-lru") == 1
    assert "set it to noeviction" in server.stderr
    other = start(config=config(start_redis(arguments=["--maxmemory", "64mb"]).url))
    assert "maxmemory-policy" not in other.stderr
    assert "64 MiB, noeviction" in other.stderr
