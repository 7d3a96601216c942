# SPDX-License-Identifier: Apache-2.0
"""The plant as deploy/terraform makes it (tests/terraform/rendered): its nginx, behind its firewalls."""
import contextlib
import pathlib
import subprocess

import pytest
import yaml

from plant import netns
from plant.hosts import ADDRESSES, LB, Nginx
from support.waiting import wait_until
from support.wire import Wire, build

RENDERED = pathlib.Path(__file__).resolve().parents[1] / "terraform" / "rendered"
FORM = ("Content-Type", "application/x-www-form-urlencoded")


def content(machine, path):
    entries = yaml.safe_load((RENDERED / f"{machine}.yaml").read_text())["write_files"]
    return next(entry["content"] for entry in entries if entry["path"] == path)


def reaches(plant, host, target, port):
    """Whether a connection comes about. What the firewall drops is never answered."""
    words = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{target}/{port}' 2>/dev/null && echo yes || echo no"
    return plant.run(host, "sh", "-c", words).strip() == "yes"


@pytest.fixture
def walled(plant, tmp_path):
    """Redis, two servers and nginx, each machine with its firewall, which is loaded twice: the second time changes nothing."""
    redis = plant.start_redis()
    plant.web(1, limiter=f"redis://{redis.host}")
    plant.web(2, limiter=f"redis://{redis.host}")
    for host in ("lb", "web-1", "web-2", "redis", "postgres"):
        rules = tmp_path / f"{host}.nft"
        rules.write_text(content(host, "/etc/nftables.conf"))
        plant.run(host, "nft", "-f", str(rules))
        once = plant.run(host, "nft", "list", "ruleset")
        plant.run(host, "nft", "-f", str(rules))
        assert plant.run(host, "nft", "list", "ruleset") == once
        assert "dport" in once
    conf = tmp_path / "sluice.conf"
    conf.write_text(content("lb", "/etc/nginx/conf.d/sluice.conf"))
    plant.nginx = Nginx(plant, tmp_path / "nginx", conf)
    plant.things.append(plant.nginx)
    plant.nginx.start()
    return plant


def test_the_service_works_behind_the_firewalls(walled):
    statuses = []
    for n in range(12):
        with walled.network.on("load"), Wire(LB) as wire:
            wire.send(build("POST", "/shorten", [FORM], f"url=https://example.com/{n}".encode()))
            statuses.append(wire.read_answer().status)
    assert statuses == [200] * 10 + [429] * 2


@pytest.mark.parametrize("host, machine, port, may", [
    ("web-1", "redis", 6379, True),
    ("web-2", "redis", 6379, True),
    ("load", "redis", 6379, False),
    ("lb", "redis", 6379, False),
    ("load", "lb", 80, True),
    ("lb", "web-1", 80, True),
])
def test_who_reaches_what(walled, host, machine, port, may):
    # both ends are there: without the firewall everybody gets through
    assert reaches(walled, host, ADDRESSES[machine], port) == may
    walled.run(machine, "nft", "delete", "table", "inet", "sluice")
    assert reaches(walled, host, ADDRESSES[machine], port)


CONTAINER = "172.18.0.2"


@contextlib.contextmanager
def container_on(plant, host):
    """A container of Docker on a host: behind a bridge br-…, in a network of its own, forwarded to and from, with a
    server on port 6379. Yields its name."""
    bridge = ["link add br-0123456789ab type bridge forward_delay 0", "addr add 172.18.0.1/16 dev br-0123456789ab",
              "link set br-0123456789ab up", "link set veth0 master br-0123456789ab", "link set veth0 up"]
    inside = ["link set lo up", "link set eth0 up", f"addr add {CONTAINER}/16 dev eth0", "route add default via 172.18.0.1"]
    outer, inner = plant.network.netns(host), plant.network.netns("container")
    netns.ip("netns", "add", inner)
    netns.ip("link", "add", "veth0", "type", "veth", "peer", "name", "eth0", "netns", inner, netns=outer)
    netns.ip_batch(bridge, outer)
    netns.ip_batch(inside, inner)
    plant.run(host, "sysctl", "-qw", "net.ipv4.ip_forward=1")
    server = subprocess.Popen(["ip", "netns", "exec", inner, "python3", "-m", "http.server", "6379"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: reaches(plant, "container", CONTAINER, 6379), what="the container's server")
        yield "container"
    finally:
        server.terminate()
        server.wait()


def test_a_container_is_not_reached_past_its_host(walled):
    """Docker forwards to a published port's container whoever knows its address: a route to it is all that a neighbour needs."""
    with container_on(walled, "redis"):
        walled.run("load", "ip", "route", "add", "172.18.0.0/16", "via", ADDRESSES["redis"])
        assert not reaches(walled, "load", CONTAINER, 6379)
        walled.run("redis", "nft", "delete", "table", "inet", "sluice")
        assert reaches(walled, "load", CONTAINER, 6379)


def test_a_container_reaches_others_and_not_its_host(walled):
    """One that was broken into is not a way to SSH."""
    walled.start_postgres()
    for host in ("web-1", "postgres"):
        walled.run(host, "ip", "route", "add", "172.18.0.0/16", "via", ADDRESSES["redis"])
    walled.run("postgres", "nft", "delete", "table", "inet", "sluice")  # it knows the web servers by their addresses
    with container_on(walled, "redis") as container:
        assert reaches(walled, container, ADDRESSES["postgres"], 5432)
        assert not reaches(walled, container, ADDRESSES["redis"], 6379)
        walled.run("redis", "nft", "delete", "table", "inet", "sluice")
        assert reaches(walled, container, ADDRESSES["redis"], 6379)


def test_nothing_comes_in_by_ipv6(walled):
    for host, address in (("web-1", "fd00::111"), ("load", "fd00::160")):
        walled.run(host, "ip", "address", "add", f"{address}/64", "dev", "eth0", "nodad")
    server = subprocess.Popen(["ip", "netns", "exec", walled.network.netns("web-1"), "python3", "-m", "http.server", "--bind", "::", "8080"],
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: reaches(walled, "web-1", "fd00::111", 8080), what="the server")
        assert not reaches(walled, "load", "fd00::111", 8080)
        walled.run("web-1", "nft", "delete", "table", "inet", "sluice")
        assert reaches(walled, "load", "fd00::111", 8080)
    finally:
        server.terminate()
        server.wait()


def test_postgres_is_for_the_web_servers(walled):
    walled.start_postgres()
    assert reaches(walled, "web-1", ADDRESSES["postgres"], 5432)
    assert not reaches(walled, "load", ADDRESSES["postgres"], 5432)
    # from its own machine, and back to those that it asks itself
    assert reaches(walled, "postgres", ADDRESSES["postgres"], 5432)
    assert reaches(walled, "postgres", ADDRESSES["lb"], 80)
