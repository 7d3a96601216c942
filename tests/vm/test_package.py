# SPDX-License-Identifier: Apache-2.0
"""The Debian packages on a machine with a real systemd and kernel, as docs/operations.md says that it goes. In this order:
each test goes on from where the one before left the machine.

Leaves out: what needs no systemd (tests/package), the several machines (test_plant.py).
"""
import json
import re

import pytest

import debs
from machine import Machine, running
from ops import Client, code_of
from support.server import LOG_LINE
from support.waiting import wait_until

ADDRESS = "10.0.0.150"
USER_DATA = """\
#cloud-config
hostname: deb
locale: C.UTF-8
manage_etc_hosts: true
users:
  - name: debian
    sudo: "ALL=(ALL) NOPASSWD:ALL"
    shell: /bin/bash
    ssh_authorized_keys: ["%s"]
"""


@pytest.fixture(scope="module")
def machine(lab, image, key, tmp_path_factory):
    made = Machine(lab, image, tmp_path_factory.mktemp("deb"), "deb", ADDRESS, key, USER_DATA % key[1])
    with running(made):
        assert made.wait_until_up() == "running", made.run("systemctl --failed --no-legend")
        yield made


@pytest.fixture(scope="module")
def client(lab):
    return Client(lab, ADDRESS)


def show(machine, *names, unit="sluice"):
    """{property: value} as systemctl shows them."""
    lines = machine.run(f"systemctl show {unit} -p {','.join(names)}").splitlines()
    return dict(line.split("=", 1) for line in lines)


def journal(machine, words="-o cat"):
    return machine.run(f"journalctl -u sluice {words}")


def edit(machine, unit, text):
    """`systemctl edit UNIT`, with an editor that has its answer ready."""
    machine.run(f"printf '%s' '{text}' >/tmp/edited; printf '#!/bin/sh\\ncat /tmp/edited >\"$1\"\\n' >/tmp/editor; chmod +x /tmp/editor\n"
                f"SYSTEMD_EDITOR=/tmp/editor script -qec 'systemctl edit {unit}' /dev/null")  # it wants a terminal


def test_it_serves_when_it_is_installed(machine, client, packages):
    machine.put(packages["sluice"], packages["sluice"].name)
    machine.run(f"apt-get update -qq; cd ~debian; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq ./{packages['sluice'].name}")
    client.port = 5000
    assert client.get("/readyz") == (200, "ready\n")
    assert show(machine, "ActiveState", "SubState", "UnitFileState", "Type", "User", "NRestarts") == {
        "ActiveState": "active", "SubState": "running", "UnitFileState": "enabled", "Type": "notify", "User": "sluice",
        "NRestarts": "0"}
    assert "active (running)" in machine.run("systemctl status sluice")
    statuses = [client.ask("GET", "/")[0] for _ in range(11)]
    assert statuses == [200] * 10 + [429]


def test_the_kernel_confines_it(machine):
    pid = show(machine, "MainPID")["MainPID"]
    status = dict(re.findall(r"^(\w+):\t(\S+)", machine.run(f"cat /proc/{pid}/status"), re.MULTILINE))
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {"0" * 16}
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert machine.run(f"stat -c %U /proc/{pid}") == "sluice\n"
    # As the service itself would see it: in its namespaces, as its user.
    inside = f"nsenter -t {pid} -m -p -U --preserve-credentials"
    assert "ro," in machine.run(f"{inside} findmnt -no OPTIONS -T /etc")
    assert "rw," in machine.run(f"{inside} findmnt -no OPTIONS -T /var/lib/sluice")
    assert re.search("Permission denied|No such file", machine.run(f"{inside} ls /home/debian", check=False))
    devices = machine.run(f"{inside} ls /dev").split()
    assert "null" in devices and not {"sda", "sr0", "mem", "port", "ttyS0"} & set(devices), devices


def test_the_score_is_that_of_the_docs(machine):
    told = machine.run("systemd-analyze security sluice --no-pager")
    score = float(re.search(r"Overall exposure level for sluice.service: ([0-9.]+) OK", told).group(1))
    print(f"systemd-analyze security sluice: {score}")
    documented = machine.run("cat /usr/share/doc/sluice/operations.md")
    assert score == float(re.search(r"rates its exposure at ([0-9.]+) of 10", documented).group(1))


def test_start_and_restart_return_when_it_serves(machine, client):
    for verb in ("restart", "stop", "start"):
        machine.run(f"systemctl {verb} sluice")
        if verb != "stop":
            machine.run("curl -fsS -o /dev/null localhost:5000/readyz")
    code = code_of(client.ask("POST", "/shorten", "url=https://example.com/kept"))
    machine.run("systemctl restart sluice")
    assert client.ask("GET", code)[1]["Location"] == "https://example.com/kept"
    assert machine.run("stat -c '%U %a' /var/lib/sluice/sluice.db") == "sluice 640\n"


def test_a_reload_changes_limits_and_nothing_else(machine, client):
    pid = show(machine, "MainPID")
    machine.run("sed -i 's/limit: 10 /limit: 12 /' /etc/sluice/sluice.yaml\n"
                "sluice check-config /etc/sluice/sluice.yaml && systemctl reload sluice")
    wait_until(lambda: "info reload: 1 limit in force" in journal(machine, "-n 1 -g reload:"), what="the server to say so")
    assert show(machine, "MainPID") == pid
    assert [client.ask("GET", "/", client="10.0.0.88")[0] for _ in range(13)] == [200] * 12 + [429]


def test_a_wrong_file_is_refused(machine, client):
    """A reload goes on with what was, a start ends for good, with status 2."""
    machine.run("cp /etc/sluice/sluice.yaml /root/right; echo 'no_such_setting: 1' >>/etc/sluice/sluice.yaml")
    try:
        assert "no_such_setting" in machine.run("sluice check-config /etc/sluice/sluice.yaml", check=False)
        assert "refused" in machine.run("systemctl reload sluice || echo refused")
        assert "no_such_setting" in journal(machine, "-n 5")
        assert client.get("/readyz")[0] == 200
        assert "failed" in machine.run("systemctl restart sluice", check=False)
        state = show(machine, "ActiveState", "ExecMainStatus", "NRestarts")
        assert state == {"ActiveState": "failed", "ExecMainStatus": "2", "NRestarts": "0"}
    finally:
        machine.run("cp /root/right /etc/sluice/sluice.yaml; systemctl restart sluice")
    assert client.get("/readyz")[0] == 200


def test_a_killed_server_comes_back(machine, client):
    before = show(machine, "MainPID", "NRestarts")
    machine.run("systemctl kill --kill-who=main --signal=KILL sluice")
    wait_until(lambda: client.tries("/readyz") == 200, what="it to serve again")
    after = show(machine, "MainPID", "NRestarts")
    assert after["MainPID"] != before["MainPID"] and int(after["NRestarts"]) == int(before["NRestarts"]) + 1


def test_the_journal_has_both_kinds_of_lines(machine, client):
    client.ask("GET", "/nowhere")
    wait_until(lambda: '"GET /nowhere" 404 ' in journal(machine), what="the access log")
    ours = [line for line in json_lines(machine) if line["_COMM"] == "sluice"]
    messages = [line["MESSAGE"] for line in ours]
    accesses = [line for line in messages if LOG_LINE.fullmatch(line)]
    others = [line for line in messages if not LOG_LINE.fullmatch(line)]
    assert len(accesses) > 5 and others
    strange = [line for line in others if not re.match(r"(\S+Z (info|warn|error) |sluice is serving on |(sluice serve: )?/etc/sluice/sluice.yaml:)", line)]
    assert not strange, strange
    # The documented filter shows all of them but the one that says where it serves.
    filtered = journal(machine, "-o cat | grep -E ' (info|warn|error) '").splitlines()
    assert set(filtered) <= set(others) and any("reload: 1 limit in force" in line for line in filtered)


def json_lines(machine):
    return [json.loads(line) for line in journal(machine, "-o json --no-pager").splitlines()]


def test_an_access_log_in_a_file_is_rotated(machine, client):
    machine.run("apt-get install -y -qq logrotate >/dev/null\n"
                "sed -i 's|access_file: \"-\"|access_file: /var/log/sluice/access.log|' /etc/sluice/sluice.yaml; systemctl restart sluice")
    client.ask("GET", "/first")
    wait_until(lambda: "/first" in machine.run("cat /var/log/sluice/access.log"), what="the first line")
    machine.run("logrotate -f /etc/logrotate.d/sluice")
    wait_until(lambda: machine.run("ls /var/log/sluice").split() == ["access.log", "access.log.1"], what="a new file")
    client.ask("GET", "/second")
    wait_until(lambda: "/second" in machine.run("cat /var/log/sluice/access.log"), what="the second line")
    assert "/second" not in machine.run("cat /var/log/sluice/access.log.1")


def test_port_80_by_a_capability(machine, client):
    documented = re.search(r"\*\*Port 80\.\*\*(?s:.*?)\n\n((?:    .*\n)+)", machine.run("cat /usr/share/doc/sluice/operations.md"))
    edit(machine, "sluice", re.sub("^    ", "", documented.group(1), flags=re.MULTILINE))
    machine.run("sed -i 's/^listen: .*/listen: 0.0.0.0:80/' /etc/sluice/sluice.yaml; systemctl restart sluice; curl -fsS localhost/readyz")
    client.port = 80
    assert client.get("/readyz")[0] == 200
    pid = show(machine, "MainPID")["MainPID"]
    assert re.search(r"^CapEff:\t0000000000000400$", machine.run(f"cat /proc/{pid}/status"), re.MULTILINE), "more than one capability"


def test_it_is_there_after_a_boot(machine, client):
    assert machine.reboot() == "running", machine.run("systemctl --failed --no-legend")
    assert client.get("/readyz")[0] == 200
    assert show(machine, "NRestarts", "ActiveState") == {"NRestarts": "0", "ActiveState": "active"}


def test_the_port_by_systemd(machine, client):
    """Without the capability: back to what the package has, and the port from sluice.socket."""
    machine.run("systemctl revert sluice; systemctl daemon-reload")
    edit(machine, "sluice.socket", "[Socket]\nListenStream=\nListenStream=80\n")
    machine.run("systemctl stop sluice; systemctl enable --now sluice.socket; systemctl restart sluice")
    assert client.get("/readyz")[0] == 200
    assert machine.run("ss -Hltn sport = :80 | wc -l; ss -Hltn sport = :5000 | wc -l").split() == ["1", "0"]
    asked = client.keep_asking("/readyz")
    machine.run("systemctl restart sluice; systemctl restart sluice")
    asked.stop()
    assert set(asked.answers) == {200}, asked.answers


def test_an_upgrade_drops_no_connection_when_systemd_holds_the_port(machine, client, packages, tmp_path):
    newer = debs.newer(packages["sluice"], tmp_path)
    machine.put(newer, newer.name)
    asked = client.keep_asking("/readyz")
    machine.run(f"cd ~debian; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq -o Dpkg::Options::=--force-confdef "
                f"-o Dpkg::Options::=--force-confold ./{newer.name}; curl -fsS localhost/readyz")
    asked.stop()
    assert set(asked.answers) == {200}, asked.answers
    assert machine.run("dpkg-query -W -f '${Version}' sluice; systemctl is-active sluice sluice.socket").split() == [
        "99.0active", "active"]
    assert "limit: 12 " in machine.run("cat /etc/sluice/sluice.yaml")


def test_both_are_there_after_a_boot(machine, client):
    machine.kill()
    machine.start()  # the plug was pulled: nothing was written that was not on the disk already
    assert machine.wait_until_up() == "running", machine.run("systemctl --failed --no-legend")
    assert client.get("/readyz")[0] == 200
    assert machine.run("systemctl is-active sluice sluice.socket") == "active\nactive\n"


def test_backup_and_restore(machine, client):
    """The commands of docs/operations.md."""
    code = code_of(client.ask("POST", "/shorten", "url=https://example.com/backed-up"))
    machine.run("apt-get install -y -qq --no-install-recommends sqlite3 >/dev/null\n"
                'sqlite3 /var/lib/sluice/sluice.db ".backup /var/backups/sluice.db"')
    text = machine.run("cat /usr/share/doc/sluice/operations.md")
    restore = re.search(r"^    systemctl stop sluice +# restore.*\n(?:    .*\n)+", text, re.MULTILINE).group(0)
    assert "sluice.socket" in restore.splitlines()[0]  # as it is here
    restore = re.sub(r"systemctl (stop|start) sluice\b", r"systemctl \1 sluice.socket sluice", restore.split("#")[0] + "\n" + restore.partition("\n")[2])
    machine.run("sqlite3 /var/lib/sluice/sluice.db 'DELETE FROM links'")
    machine.run(restore)
    assert client.ask("GET", code)[1]["Location"] == "https://example.com/backed-up"


def test_a_purge_leaves_only_data(machine):
    machine.run("systemctl disable --now sluice; DEBIAN_FRONTEND=noninteractive apt-get purge -y -qq sluice")
    left = machine.run("find / -xdev -name '*sluice*' -not -path '/proc/*' -not -path '/home/*' -not -path '/var/backups/*' "
                       "-not -path '/var/lib/systemd/*' -not -path '/var/log/journal/*'").split()
    # What `systemctl edit` made is its operator's.
    assert [path for path in left if not path.startswith("/var/lib/sluice")] == ["/etc/systemd/system/sluice.socket.d"], left
    assert machine.run("systemctl list-unit-files 'sluice*' --no-legend || true; systemctl list-units --all "
                       "'sluice*' --no-legend; pgrep -x sluice || true") == ""
