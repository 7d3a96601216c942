# SPDX-License-Identifier: Apache-2.0
"""The machines of deploy/terraform as virtual machines, with kernel, systemd and cloud-init of their own, in the network of
the reference plant. In this order: the machines stay up, and a web server uses the stores.

Leaves out: Proxmox VE, more than one web server, the build of the images (tests/docker), MongoDB and k6, which only their
makers' packages have.
"""
import http.client
import json
import re

import pytest

from engine import Engine
from lab import GATEWAY, STRANGER
from plant_of_machines import POSTGRES_PASSWORD, REDIS_PASSWORD, Plant, saved
from support.waiting import wait_until

SLOW_S = 300


@pytest.fixture(scope="session")
def images(folder, tmp_path_factory):
    """Builds what is asked for, by the engine of tests/docker, and hands it out as a file."""
    made = {}

    def get(which):
        if which not in made:
            engine = Engine(folder.parent / "docker")
            try:
                engine.make_bases()
                tag, target = {"sluice": ("sluice", "sluice"), "redis": ("sluice-redis", "redis")}[which]
                engine.build(tag, target, arguments=["--build-arg", "VERSION=1.2.3-4-g5678"])
                made[which] = saved(engine, tag, f"ready-made:{which}", tmp_path_factory.mktemp("image") / which)
            finally:
                engine.close()
        return made[which]

    return get


@pytest.fixture(scope="module")
def plant(lab, image, key, images, tmp_path_factory):
    made = Plant(lab, image, tmp_path_factory.mktemp("plant"), key, images)
    try:
        yield made
    except BaseException:
        print(made.last_words())
        raise
    finally:
        made.close()


# What holds for each machine

def check_cloud_init(machine):
    """It is done, without an error and without a warning."""
    assert machine.run("cloud-init status --wait", limit_s=1800).strip().lstrip(".\n") == "status: done"
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


# postgres

def check_postgres(machine):
    ask = f"PGPASSWORD={POSTGRES_PASSWORD} psql -h 10.0.0.200 -U sluice -d urldb -XAtc"
    told = machine.run("cd /; su postgres -c \"psql -XAtc 'SHOW shared_buffers' -c 'SHOW max_connections' -c 'SHOW data_directory'\"").split()
    assert told == ["512MB", "100", "/var/lib/postgresql/15/main"]
    assert machine.run("findmnt -no SOURCE,FSTYPE /var/lib/postgresql").split() == ["/dev/vda", "ext4"]
    assert "no pg_hba.conf entry" in machine.run(f"{ask} 'SELECT 1'", check=False)  # it is no web server itself


def test_postgres(plant, lab):
    """A container in the plant: here the same files on a virtual machine that is bare as a container is."""
    machine = plant.one("postgres")
    assert plant.states["postgres"] == "running"
    check_cloud_init(machine)
    check_settled(machine, machine.run("systemctl is-system-running --wait || true").strip())
    check_postgres(machine)
    check_firewall(lab, machine, {5432: {GATEWAY: False, STRANGER: False}})


def test_postgres_after_a_boot(plant, lab):
    machine = plant.machines["postgres"]
    check_settled(machine, machine.reboot())
    check_postgres(machine)
    check_firewall(lab, machine, {5432: {GATEWAY: False, STRANGER: False}})


# redis

def redis_cli(machine, *words):
    return machine.run(f"docker exec -e REDISCLI_AUTH={REDIS_PASSWORD} sluice_redis_1 redis-cli {' '.join(words)}").strip()


def on_the_disk(machine, *commands):
    """Gives commands to Redis over one connection. Returns the lines of its answers once the disk has what was written so far."""
    text = "".join(f"{command}\n" for command in (*commands, "WAITAOF 1 0 60000"))
    told = machine.run(f"printf '%s' '{text}' | docker exec -i -e REDISCLI_AUTH={REDIS_PASSWORD} sluice_redis_1 redis-cli").split()
    assert told[-2:] == ["1", "0"], told
    return told[:-2]


def check_redis(machine):
    wait_until(lambda: health(machine, "redis") == "healthy", limit_s=SLOW_S, what="Redis to be healthy")
    assert redis_cli(machine, "CONFIG", "GET", "maxmemory-policy").split() == ["maxmemory-policy", "noeviction"]
    assert "sluice" in redis_cli(machine, "MODULE", "LIST")
    assert machine.run("findmnt -no SOURCE,FSTYPE /srv/redis").split() == ["/dev/vda", "ext4"]
    assert machine.run("stat -c %u /srv/redis /srv/redis/appendonlydir").split() == ["999", "999"]
    assert machine.run("sysctl -n vm.overcommit_memory; grep -o '\\[never\\]' /sys/kernel/mm/transparent_hugepage/enabled").split() == [
        "1", "[never]"]
    assert "overcommit" not in machine.run("docker logs sluice_redis_1")


def health(machine, service):
    return machine.run(f"docker inspect -f '{{{{.State.Health.Status}}}}' sluice_{service}_1", check=False).strip()


def test_redis(plant, lab):
    machine = plant.one("redis")
    check_cloud_init(machine)
    check_settled(machine, machine.run("systemctl is-system-running --wait || true").strip())
    check_agent(machine)
    check_redis(machine)
    check_firewall(lab, machine, {6379: {GATEWAY: False, STRANGER: False}})
    assert machine.run("docker port sluice_redis_1") == "6379/tcp -> 10.0.0.130:6379\n"


def test_redis_after_a_boot(plant, lab):
    """The disk is the same, what was counted is still there."""
    machine = plant.one("redis")
    assert on_the_disk(machine, "SET kept yes") == ["OK"]
    check_settled(machine, machine.reboot())
    check_redis(machine)
    assert redis_cli(machine, "GET", "kept") == "yes"
    redis_cli(machine, "DEL", "kept")
    check_firewall(lab, machine, {6379: {GATEWAY: False, STRANGER: False}})


# web

def check_web(lab, machine, servers):
    wait_until(lambda: health(machine, "sluice") == "healthy", limit_s=SLOW_S, what="Sluice to be healthy")
    metrics = wait_until(lambda: metrics_of(lab, machine, servers), limit_s=SLOW_S, what="it to see Redis and the others")
    assert "\nsluice_limiter_module_connections 0\n" not in metrics


def metrics_of(lab, machine, servers):
    """What it tells once it is ready, has Redis, and knows of so many servers; None before."""
    try:
        ready, told = lab.ask(machine.address, "/readyz")[2], lab.ask(machine.address, "/metrics")[2]
    except (OSError, http.client.HTTPException):
        return None
    wanted = ready == "ready\n" and "\nsluice_limiter_up 1\n" in told and f"\nsluice_limiter_servers {servers}\n" in told
    return told if wanted else None


def test_web(plant, lab):
    plant.switch_on("postgres", "redis", "web-1")
    for store in ("postgres", "redis"):
        plant.one(store)
    machine = plant.one("web-1")
    check_cloud_init(machine)
    check_settled(machine, machine.run("systemctl is-system-running --wait || true").strip())
    check_agent(machine)
    check_web(lab, machine, 1)
    check_firewall(lab, machine, {80: {GATEWAY: True, STRANGER: False}, 5000: {GATEWAY: False}})
    told = machine.run("journalctl -b --no-pager CONTAINER_NAME=sluice_sluice_1 -o cat")
    assert "its module " in told and "sluice is serving on " in told
    for path in ("redis_password", "pgpass"):
        assert machine.run(f"stat -c '%u %a' /etc/sluice/secrets/{path}") == "10001 400\n"


def test_web_after_a_boot(plant, lab):
    machine = plant.one("web-1")
    check_settled(machine, machine.reboot())
    check_web(lab, machine, 1)
    check_firewall(lab, machine, {80: {GATEWAY: True, STRANGER: False}, 5000: {GATEWAY: False}})
