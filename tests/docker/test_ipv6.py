# SPDX-License-Identifier: Apache-2.0
"""compose.yaml with ipv6.yaml, by Debian 12's docker-compose: IPv6 clients, each under its own address."""
import http.client

import pytest

from compose_of_today import DEBIANS_COMPOSE
from engine import CROWD_IPV6, MACHINE_IPV6
from plant_of_compose import Plant
from support.waiting import wait_until


@pytest.fixture(scope="module")
def plant(engine, tmp_path_factory):
    made = Plant(engine, DEBIANS_COMPOSE, tmp_path_factory.mktemp("plant of both"), ["compose.yaml", "ipv6.yaml"])
    try:
        made.up()
        yield made
    finally:
        made.destroy()


def ask(plant, client):
    with plant.engine.network.on("crowd"):
        connection = http.client.HTTPConnection(MACHINE_IPV6, 80, timeout=20, source_address=(client, 0))
        connection.connect()
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_ipv6_clients_are_told_apart(plant):
    one, other = CROWD_IPV6[:2]
    assert [ask(plant, one) for _ in range(12)] == [200] * 10 + [429] * 2
    assert ask(plant, other) == 200
    assert plant.ask("GET", "/")[0] == 200  # by IPv4
    wait_until(lambda: f' {one} "GET / HTTP/1.1" 429' in plant.logs("lb"), what="the client's address in nginx's log")
    assert any(f' {one} "GET /" 429' in plant.logs(web) for web in ("web-1", "web-2"))
