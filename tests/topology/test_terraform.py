# SPDX-License-Identifier: Apache-2.0
"""The plant as deploy/terraform makes it (tests/terraform/rendered): its nginx, behind its firewalls."""
import pathlib

import pytest
import yaml

from plant.hosts import ADDRESSES, LB, Nginx
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


def test_postgres_is_for_the_web_servers(walled):
    walled.start_postgres()
    assert reaches(walled, "web-1", ADDRESSES["postgres"], 5432)
    assert not reaches(walled, "load", ADDRESSES["postgres"], 5432)
    # from its own machine, and back to those that it asks itself
    assert reaches(walled, "postgres", ADDRESSES["postgres"], 5432)
    assert reaches(walled, "postgres", ADDRESSES["lb"], 80)
