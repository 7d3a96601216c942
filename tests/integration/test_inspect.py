# SPDX-License-Identifier: Apache-2.0
"""sluice inspect and sluice reset: one state in a Redis, in words."""
import re

import pytest

from support.redis import Cluster
from support.server import run
from support.waiting import wait_until

LIMITS = """limits:
  - {name: per-client, limit: 10, window: 60s}
  - {name: counter, limit: 100, window: 60s, by: global, algorithm: sliding-counter}
  - {name: window, limit: 100, window: 60s, by: global, algorithm: fixed-window}
  - {name: bucket, limit: 100, window: 60s, by: global, algorithm: token-bucket}
"""


@pytest.fixture
def start(start):
    """Servers with more patience than the usual 50 ms, and that have found their Redis: the machine may be busy, and what a
    server decides alone is not what is tested here."""
    def start_one(**settings):
        server = start(env={"SLUICE_LIMITER_TIMEOUT": "10s"}, **settings)
        wait_until(lambda: server.get("/readyz").body == b"ready\n", what="Redis to be found")
        return server
    return start_one


@pytest.fixture
def server(start, redis):
    server = start(config=LIMITS, arguments=["--limiter", redis.url])
    for _ in range(12):
        server.get("/")
    return server


@pytest.fixture
def inspect(redis, tmp_path):
    """Runs inspect (or another command) with the server's own configuration."""
    config = tmp_path / "limits.yaml"
    config.write_text(LIMITS)

    def ask(key, command="inspect"):
        return run(command, key, "--config", str(config), "--limiter", redis.url, cwd=tmp_path)
    return ask


def facts(done):
    """{name: text} of what inspect printed."""
    assert done.returncode == 0, done.stderr
    return dict((line[:12].strip(), line[12:]) for line in done.stdout.splitlines() if line[:12].strip())


def test_a_user_who_may_not_ask_for_the_time_to_live(server, redis, inspect):
    """What is not known is not told as if it were: the key has a TTL."""
    redis.ask("ACL", "SETUSER", "default", "-pttl")
    said = facts(inspect("per-client:{127.0.0.1}"))
    assert "unknown" in said["lives for"] and "+pttl" in said["lives for"]
    assert said["entries"] == "10, room for 10"


def test_a_sliding_log(server, inspect):
    said = facts(inspect("per-client:{127.0.0.1}"))
    assert said["key"] == "rate_limit:per-client:{127.0.0.1}"
    assert said["algorithm"] == "sliding-log"
    assert said["entries"] == "10, room for 10"
    assert re.fullmatch(r"\d\.\d{3} s ago", said["admitted"])
    assert 50 < float(said["lives for"].split()[0]) <= 62
    wait_s = float(re.fullmatch(r"is denied; the next passes in (\d+\.\d{3}) s", said["a request"]).group(1))
    assert 50 < wait_s <= 60


def test_the_prefix_may_be_given(server, inspect):
    assert facts(inspect("rate_limit:per-client:{127.0.0.1}"))["entries"] == "10, room for 10"


@pytest.mark.parametrize("name, algorithm, fact", [
    ("counter", "sliding-counter", ("this window", "10")),
    ("window", "fixed-window", ("this window", "10")),
    ("bucket", "token-bucket", ("debt", None)),
])
def test_the_other_algorithms(server, inspect, name, algorithm, fact):
    said = facts(inspect(f"{name}:{{all}}"))
    assert said["algorithm"] == algorithm
    assert said[fact[0]] == fact[1] or fact[1] is None
    assert re.match(r"passes; 9\d of 100 are left", said["a request"])


def test_a_limit_that_is_not_configured_is_shown_all_the_same(server, redis, tmp_path):
    said = facts(run("inspect", "bucket:{all}", "--limiter", redis.url, cwd=tmp_path))
    assert said["algorithm"] == "token-bucket"
    assert "no limit of this name" in said["a request"]


def test_looking_changes_nothing(server, inspect, redis):
    before = redis.ask("GET", "rate_limit:per-client:{127.0.0.1}")
    # Of clients: what the server's own connections are probed with comes and goes.
    keys = sorted(redis.ask("KEYS", "rate_limit:[^~]*:{*}"))
    assert len(keys) == 4
    inspect("per-client:{127.0.0.1}")
    inspect("per-client:{nobody}")
    assert redis.ask("GET", "rate_limit:per-client:{127.0.0.1}") == before
    assert sorted(redis.ask("KEYS", "rate_limit:[^~]*:{*}")) == keys


@pytest.mark.parametrize("command", ["inspect", "reset"])
def test_what_is_not_there(server, inspect, command):
    done = inspect("per-client:{192.0.2.1}", command)
    assert done.returncode == 1
    assert done.stderr.endswith("rate_limit:per-client:{192.0.2.1}: there is no such key: nothing is counted against it\n")


@pytest.mark.parametrize("key", ["192.0.2.1", "per-client:192.0.2.1", "everybody", "everybody:{}"])
def test_what_is_no_key_is_told_how_one_is_written(server, inspect, key):
    done = inspect(key)
    assert done.returncode == 1
    assert "one is <limit name>:{<subject>}" in done.stderr


@pytest.mark.parametrize("command", ["inspect", "reset"])
def test_a_key_of_another_program_is_left_alone(redis, inspect, command):
    redis.ask("RPUSH", "rate_limit:list:{a}", "x")
    done = inspect("list:{a}", command)
    assert done.returncode == 1
    assert "another program's" in done.stderr
    assert redis.ask("EXISTS", "rate_limit:list:{a}") == 1


@pytest.mark.parametrize("value", [b"", b"abc", b"\x01\x01\x01\x00" + b"\0" * 8, b"\x01\x01\x01\x00" + b"\xff" * 60,
                                   b"\x02\x03\0\0" + b"\0" * 20, b"\x01\x05\0\0" + b"\0" * 20, b"\x01\x02\0\0" + b"\0" * 20])
def test_foreign_bytes(redis, inspect, value):
    redis.ask("SET", "rate_limit:per-client:{a}", value)
    done = inspect("per-client:{a}")
    assert done.returncode == 1
    assert "no limiter state" in done.stderr
    assert "reset" in done.stderr
    assert inspect("per-client:{a}", "reset").returncode == 0
    assert redis.ask("EXISTS", "rate_limit:per-client:{a}") == 0


def test_a_reset_lets_the_client_in_on_every_server(start, server, inspect, redis):
    other = start(config=LIMITS, arguments=["--limiter", redis.url])
    assert [s.get("/").status for s in (server, other)] == [429, 429]
    done = inspect("per-client:{127.0.0.1}", "reset")
    assert done.returncode == 0, done.stderr
    # The others hear of it with their next heartbeat; until then they may deny what they remember.
    for s in (server, other):
        wait_until(lambda s=s: s.get("/").status == 200, what="the reset to be known")


def test_redis_away(redis, inspect):
    redis.kill()
    done = inspect("per-client:{a}")
    assert done.returncode == 1
    assert "Connection refused" in done.stderr
    assert "out of reach" in done.stderr


@pytest.mark.parametrize("key", ["", "rate_limit:", "x" * 256])
def test_no_key(inspect, key):
    assert inspect(key).returncode == 2


def test_in_a_cluster(start, start_redis, tmp_path):
    cluster = Cluster(lambda arguments: start_redis(arguments=arguments))
    url = f"redis+cluster://127.0.0.1:{cluster.nodes[0].port}"
    server = start(arguments=["--limiter", url])
    for client in range(1, 9):
        server.get("/", source=f"127.0.0.{client}")
    for client in range(1, 9):
        said = facts(run("inspect", f"per-client:{{127.0.0.{client}}}", "--limiter", url, cwd=tmp_path))
        assert said["entries"].startswith("1,")
        assert run("reset", f"per-client:{{127.0.0.{client}}}", "--limiter", url, cwd=tmp_path).returncode == 0
        assert run("inspect", f"per-client:{{127.0.0.{client}}}", "--limiter", url, cwd=tmp_path).returncode == 1
