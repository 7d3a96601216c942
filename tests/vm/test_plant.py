# SPDX-License-Identifier: Apache-2.0
"""Machines of deploy/terraform as virtual machines, with kernel, systemd and cloud-init of their own, in the network of the
reference plant. In this order: they stay up.

Leaves out: Proxmox VE, and the machines whose service is in a container or built there.
"""
import json
import re

import pytest

from lab import GATEWAY, STRANGER
from plant_of_machines import Plant
from support.waiting import wait_until


@pytest.fixture(scope="module")
def plant(lab, image, key, tmp_path_factory):
    made = Plant(lab, image, tmp_path_factory.mktemp("plant"), key)
    try:
        yield made
    except BaseException:
        print(made.last_words())
        raise
    finally:
        made.close()


# What holds for each machine

def check_cloud_init(machine, status="done"):
    """It is done, without an error and without a warning."""
    assert machine.run("cloud-init status --wait", limit_s=1800).strip().lstrip(".\n") == f"status: {status}"
    assert json.loads(machine.run("cat /run/cloud-init/result.json"))["v1"]["errors"] == []
    assert machine.run("grep -E 'WARNING|ERROR|CRITICAL|Traceback' /var/log/cloud-init.log || true") == ""


def check_settled(machine, state):
    assert state == "running", f"{state}: {machine.run('systemctl --failed --no-legend; journalctl -b -p err --no-pager')}"
    shown = machine.run("systemctl show sluice-setup.service -p ActiveState,SubState,Result,NRestarts")
    assert set(shown.split()) == {"ActiveState=active", "SubState=exited", "Result=success", "NRestarts=0"}, shown
    assert machine.run("systemctl is-enabled nftables sluice-setup") == "enabled\nenabled\n"


def is_open(lab, machine, port, source):
    """Whether a connection comes about; a dropped packet is told by silence."""
    try:
        lab.connect(machine.address, port, source, limit_s=4).close()
        return True
    except TimeoutError:
        return False


def check_firewall(lab, machine, openings):
    """@param openings  {port: {source: whether it is let in}}; to another port nobody is."""
    assert machine.run("nft list tables inet") == "table inet sluice\n"
    machine.run("systemd-run --quiet --unit=other-port python3 -m http.server 8123")
    try:
        wait_until(lambda: machine.run("curl -so /dev/null localhost:8123 && echo yes || true") == "yes\n", what="the other port")
        for port, sources in {**openings, 22: {GATEWAY: True, STRANGER: False}, 8123: {GATEWAY: False, STRANGER: False}}.items():
            for source, wanted in sources.items():
                assert is_open(lab, machine, port, source) == wanted, f"{machine.name}: port {port} from {source}"
    finally:
        machine.run("systemctl stop other-port")
    assert int(re.search(r"counter packets (\d+)", machine.run("nft list table inet sluice")).group(1)) > 0


def check_agent(machine):
    """What Proxmox and the provider ask for."""
    found = [entry["ip-address"] for interface in machine.ask_agent("guest-network-get-interfaces")
             for entry in interface.get("ip-addresses", [])]
    assert machine.address in found


# lb

def check_lb(plant, machine):
    told = machine.run("nginx -T 2>/dev/null")
    assert re.findall(r"^\tserver (\S+) max_fails", told, re.MULTILINE) == ["10.0.0.111:80", "10.0.0.112:80"]
    assert "worker_connections 16384;" in told and "sites-enabled/default:" not in told
    pid = machine.run("cat /run/nginx.pid").strip()
    assert re.search(r"Max open files +65536 ", machine.run(f"cat /proc/{pid}/limits"))
    assert machine.run("sysctl -n net.core.somaxconn") == "4096\n"
    assert plant.client.ask("GET", "/metrics")[0] == 404


def test_lb(plant, lab):
    machine = plant.one("lb")
    check_cloud_init(machine)
    check_settled(machine, plant.states["lb"])
    check_agent(machine)
    check_lb(plant, machine)
    check_firewall(lab, machine, {80: {GATEWAY: True, STRANGER: True}})
    assert machine.run("hostname; id -un debian; passwd -S debian | cut -d' ' -f2").split() == ["lb", "debian", "L"]
    status, fields, body = plant.client.ask("GET", "/")
    assert status in (502, 504) and (fields["Retry-After"], body) == ("1", '{"error":"No server answered"}')


def test_lb_after_a_boot(plant, lab):
    machine = plant.one("lb")
    check_settled(machine, machine.reboot())
    check_cloud_init(machine)
    check_agent(machine)
    check_lb(plant, machine)
    check_firewall(lab, machine, {80: {GATEWAY: True, STRANGER: True}})


def test_lb_gets_another_web_server(plant):
    """`web_count = 3`, and back, taken over in place; nginx keeps its process."""
    machine = plant.one("lb")
    pid = machine.run("cat /run/nginx.pid")
    text = plant.user_data("lb")
    more = re.sub(r"( *\tserver 10\.0\.0\.)112(:80 .*\n)", r"\g<1>112\g<2>\g<1>113\g<2>", text)
    assert more != text
    for told, wanted in ((more, 3), (text, 2)):
        plant.delivery("lb").files(told)
        plant.delivery("lb").secrets({})
        assert machine.run("nginx -T 2>/dev/null").count(":80 max_fails") == wanted
    assert machine.run("cat /run/nginx.pid") == pid
