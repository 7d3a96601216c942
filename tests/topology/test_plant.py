# SPDX-License-Identifier: Apache-2.0
"""The plant itself: hosts reach each other, vanish silently when cut off, and leave nothing behind. And the oracle: it
finds fault with what is wrong."""
import os
import pathlib
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from plant import netns, oracle
from plant.load import Shot
from support.redis import RedisClient
from support.waiting import wait_until
from support.wire import Answer

HERE = pathlib.Path(__file__).resolve().parent


def namespaces(prefix):
    return [name for name in os.listdir(netns.FOLDER) if name.startswith(prefix)]


def test_every_host_reaches_every_other(plant):
    for host in plant.network.addresses:
        with plant.network.on(host), socket.create_server(("0.0.0.0", 9)):
            for other in plant.network.addresses:
                with plant.network.on(other):
                    socket.create_connection((plant.network.address(host), 9), timeout=10).close()


def test_a_host_that_is_cut_off_is_silent_and_comes_back(plant):
    plant.web(1, limit="off")
    plant.network.cut("web-1")
    shot = plant.load.do(plant.load.shoot(plant.webs[1].address, limit_s=1.0))
    assert shot.error == "no answer within 1.0 s", "not a refusal, not a host that is unreachable"
    plant.network.mend("web-1")
    assert plant.load.do(plant.load.shoot(plant.webs[1].address)).status == 200


def test_a_slow_line_delays_and_stalls_and_does_not_serialise(plant):
    redis = plant.start_redis()
    line = plant.slow_line((redis.host, redis.port))
    with plant.network.on("web-1"), RedisClient((plant.network.address("line"), redis.port)) as client:
        line.delay(20)
        begun = time.monotonic()
        assert client.ask("PING") == "PONG"
        assert time.monotonic() - begun >= 0.04, "20 ms each way"
        begun = time.monotonic()
        for _ in range(100):
            client.socket.sendall(b"*1\r\n$4\r\nPING\r\n")
        assert [client.read() for _ in range(100)] == ["PONG"] * 100
        assert time.monotonic() - begun < 100 * 0.04, "one after the other"
        line.delay(0)
        line.stall()
        client.socket.settimeout(0.2)
        client.socket.sendall(b"*1\r\n$4\r\nPING\r\n")
        with pytest.raises(TimeoutError):
            client.socket.recv(1)
        line.go()
        client.socket.settimeout(30)
        assert client.socket.recv(7) == b"+PONG\r\n"
        assert line.count()[2] == 1


PLANT_AND_WAIT = """
    import subprocess, sys
    from plant.netns import Network
    network = Network({"one": "10.0.0.1"})
    orphan = subprocess.Popen([*network.command("one"), "sleep", "1000"], start_new_session=True)
    print(network.prefix, network.guard.pid, orphan.pid, flush=True)
    sys.stdin.read()
"""


def start_and_kill(also_the_guard):
    """A process that makes a plant and is killed. Returns the prefix of its names, and the process on its host."""
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(PLANT_AND_WAIT)], cwd=HERE, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as maker:
        try:
            prefix, guard, orphan = maker.stdout.readline().split()
            assert len(namespaces(prefix)) == 2
            if also_the_guard:
                os.kill(int(guard), signal.SIGKILL)
        finally:
            maker.kill()
    return prefix, int(orphan)


def test_a_run_that_is_killed_leaves_nothing():
    if netns.missing():
        pytest.fail(netns.missing(), pytrace=False)
    prefix, orphan = start_and_kill(also_the_guard=False)
    wait_until(lambda: not namespaces(prefix) and netns.started(orphan) is None, what="the guard to clear up")


def test_what_a_killed_guard_left_is_removed_by_the_next_run():
    if netns.missing():
        pytest.fail(netns.missing(), pytrace=False)
    prefix, orphan = start_and_kill(also_the_guard=True)
    assert namespaces(prefix)
    netns.reap()
    assert not namespaces(prefix)
    wait_until(lambda: netns.started(orphan) is None, what="the process on the dead plant's host to end")


# The oracle

def shot(start, status, took=0.001, client="10.0.0.1"):
    made = Shot(client, "GET", "/", None)
    made.start, made.end = start, start + took
    made.answer = Answer(status, [], b"")
    return made


def test_the_oracle_lets_an_exact_server_be():
    shots = [shot(i * 0.1, 200) for i in range(3)] + [shot(0.3 + i * 0.1, 429) for i in range(7)]
    shots += [shot(1.0 + i * 0.1, 200) for i in range(3)]
    oracle.check_exact(shots, 3, 0.95)
    assert oracle.bounds(shots, 3, 0.95) == (6, 6)
    assert oracle.worst_window(shots, 3, 0.95) == 0


@pytest.mark.parametrize("shots", [
    [shot(i * 0.1, 200) for i in range(4)],                                   # one too many
    [shot(0, 200), shot(0.1, 200), shot(0.2, 200), shot(0.9, 200)],           # the window is not over
    [shot(0, 200), shot(0.1, 200), shot(0.2, 429)],                           # denied, and only two had passed
    [shot(0, 200), shot(0, 200), shot(0, 200), shot(1.1, 429)],               # denied when all were over
])
def test_the_oracle_finds_fault_with(shots):
    with pytest.raises(AssertionError):
        oracle.check_exact(shots, 3, 1.0)


def test_the_oracle_keeps_clients_apart():
    oracle.check_exact([shot(0, 200, client=f"10.0.0.{i}") for i in range(9)], 3, 1.0)


def test_what_may_have_been_counted_excuses_a_denial_and_nothing_else():
    ghost = [shot(0.05, 502)]
    oracle.check_exact([shot(0, 200), shot(0.1, 200), shot(0.2, 429)], 3, 1.0, phantoms=ghost)
    with pytest.raises(AssertionError):
        oracle.check_exact([shot(0, 200), shot(0.1, 429)], 3, 1.0, phantoms=ghost)


def test_bounds_differ_only_where_the_moment_is_in_doubt():
    assert oracle.bounds([shot(0, 200), shot(0.9995, 200)], 1, 1.0) == (1, 2)
    assert oracle.bounds([shot(0, 200), shot(0.99, 200)], 1, 1.0) == (1, 1)
    assert oracle.bounds([shot(0, 200), shot(1.002, 200)], 1, 1.0) == (2, 2)


def test_how_far_a_promise_was_broken():
    assert oracle.worst_window([shot(i * 0.1, 200) for i in range(7)], 3, 1.0) == 4
