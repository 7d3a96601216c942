# SPDX-License-Identifier: Apache-2.0
"""What deploy/terraform tells cloud-init (tests/terraform/rendered, the reference plant), read by the programs it is for.

Leaves out: the firewalls (tests/topology/test_terraform.py), cloud-init itself and OpenTofu (`make terraform`).
"""
import json
import pathlib
import subprocess

import pytest
import yaml

from support.module import module_path, sanitizer
from support.ports import free_port
from support.postgres import Postgres
from support.redis import RedisClient, RedisError
from support.server import DIES_WITH_US, binary
from support.waiting import LIMIT_S, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
RENDERED = ROOT / "tests" / "terraform" / "rendered"
MACHINES = ["lb", "load", "mongo", "postgres", "redis", "web-1", "web-2"]


def told(machine):
    return yaml.safe_load((RENDERED / f"{machine}.yaml").read_text())


def content(machine, path):
    """A file of a machine."""
    found = [entry["content"] for entry in told(machine)["write_files"] if entry["path"] == path]
    assert len(found) == 1, f"{machine} has {len(found)} files {path}"
    return found[0]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_machine_is_told_what_every_machine_is(machine):
    text = (RENDERED / f"{machine}.yaml").read_text()
    assert text.startswith("#cloud-config\n")
    assert "of-the-tests" not in text  # so end the passwords that the plan was made with
    told_it = told(machine)
    paths = [entry["path"] for entry in told_it["write_files"]]
    assert len(paths) == len(set(paths))
    assert {"/etc/nftables.conf", "/usr/local/sbin/sluice-receive", "/usr/local/sbin/sluice-setup"} <= set(paths)
    assert told_it["ssh_pwauth"] is False
    assert ("users" in told_it) == (machine not in ("mongo", "postgres"))


@pytest.mark.parametrize("machine", MACHINES)
def test_scripts_are_shell(machine):
    scripts = [entry for entry in told(machine)["write_files"] if entry["path"].startswith("/usr/local/sbin/")]
    assert len(scripts) >= 3
    for entry in scripts:
        assert entry["permissions"] == "0755"
        assert entry["content"].startswith("#!/bin/sh\n")
        done = subprocess.run(["sh", "-n"], input=entry["content"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{entry['path']}: {done.stderr}"


@pytest.mark.parametrize("machine", ["web-1", "web-2"])
def test_sluice_accepts_its_configuration(machine, tmp_path):
    file = tmp_path / "sluice.yaml"
    file.write_text(content(machine, "/etc/sluice/sluice.yaml"))
    done = subprocess.run([binary(), "check-config", str(file)], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    settings = yaml.safe_load(file.read_text())
    assert settings["trusted_proxies"] == ["10.0.0.100"]
    assert settings["limiter"]["servers"] == 2


def test_redis_is_durable_and_asks_for_a_password(tmp_path):
    auth = tmp_path / "auth"
    auth.write_text("requirepass of-this-test\n")
    conf = content("redis", "/etc/sluice/redis.conf")
    assert "\ndir /data\n" in conf and "\ninclude /run/secrets/redis_auth\n" in conf
    file = tmp_path / "redis.conf"
    file.write_text(conf.replace("dir /data", f"dir {tmp_path}").replace("/run/secrets/redis_auth", str(auth)))
    port = free_port()
    process = subprocess.Popen([*DIES_WITH_US, *sanitizer(), "redis-server", str(file), "--port", str(port), "--bind", "127.0.0.1",
                                "--loadmodule", module_path()], stdout=subprocess.DEVNULL)
    try:
        def answers():
            assert process.poll() is None, "redis-server refuses its configuration"
            try:
                RedisClient(("127.0.0.1", port)).close()
            except ConnectionRefusedError:
                return False
            return True
        wait_until(answers, what="Redis")
        with RedisClient(("127.0.0.1", port)) as client:
            with pytest.raises(RedisError, match="NOAUTH"):
                client.ask("PING")
            assert client.ask("AUTH", "of-this-test") == "OK"
            asked = {name: client.ask("CONFIG", "GET", name)[1] for name in
                     ("appendonly", "appendfsync", "maxmemory-policy", "maxmemory", "save")}
            assert asked == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction",
                             "maxmemory": str(819 << 20), "save": ""}
            assert client.ask("SLUICE.INFO")
    finally:
        process.terminate()
        process.wait(LIMIT_S)


def test_postgres_accepts_its_configuration():
    settings = "".join(line + "\n" for line in content("postgres", "/etc/postgresql/15/main/conf.d/sluice.conf").splitlines()
                       if not line.startswith("listen_addresses"))
    hba = content("postgres", "/etc/postgresql/15/main/pg_hba.conf")
    server = Postgres(settings=settings, hba="local all all trust\n" + hba)
    try:
        assert server.value("SELECT count(*) FROM pg_file_settings WHERE error IS NOT NULL", "postgres") == "0"
        assert server.value("SELECT count(*) FROM pg_hba_file_rules WHERE error IS NOT NULL", "postgres") == "0"
        rules = server.value("SELECT string_agg(address, ',' ORDER BY address) FROM pg_hba_file_rules WHERE type = 'host'", "postgres")
        assert rules == "10.0.0.111,10.0.0.112"
        assert server.value("SHOW shared_buffers", "postgres") == "512MB"
        assert server.value("SHOW synchronous_commit", "postgres") == "on"
    finally:
        server.close()


def test_docker_is_told_valid_json():
    for machine in ("web-1", "redis"):
        assert json.loads(content(machine, "/etc/docker/daemon.json"))["live-restore"] is True


def test_mongodb_gets_its_users(tmp_path):
    """By what MongoDB documents, in tests/terraform/mongo-stand-in.js."""
    script = tmp_path / "mongo-users.js"
    script.write_text(content("mongo", "/etc/sluice/mongo-users.js"))

    def run(password, operator="operators-password"):
        (tmp_path / "mongo_password").write_text(password + "\n")
        (tmp_path / "mongo_operator").write_text(operator + "\n")
        done = subprocess.run(["node", str(ROOT / "tests" / "terraform" / "mongo-stand-in.js"), str(script), str(tmp_path)],
                              capture_output=True, text=True, check=False, timeout=LIMIT_S)
        assert password not in done.stdout + done.stderr and operator not in done.stdout + done.stderr
        return done

    def users():
        return {name: user["pwd"] for name, user in json.loads((tmp_path / "users.json").read_text()).items()}

    assert run("first-password").stdout == "the password is another one\n"
    made = json.loads((tmp_path / "users.json").read_text())
    assert made["sluice"] == {"pwd": "first-password", "roles": [{"role": "readWrite", "db": "urldb"}]}
    assert made["operator"]["roles"] == ["userAdminAnyDatabase"]
    assert run("first-password").stdout == "the password is set\n"
    assert run("second-password").returncode == 0
    assert users() == {"operator": "operators-password", "sluice": "second-password"}
    # a database of others: nothing is changed, and that is said
    refused = run("third-password", operator="another-password")
    assert refused.returncode != 0 and "may not change users" in refused.stderr
    assert users() == {"operator": "operators-password", "sluice": "second-password"}


@pytest.mark.parametrize("silent", [None, "5130"])
def test_host_keys_are_asked_of_the_node(tmp_path, silent):
    """The node is stood in for by an `ssh` that answers as pct and qm do: a key, a key in JSON, or nothing."""
    key = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAI+/bml="
    answer = r'{"exitcode":0,"out-data":"' + key + r' root@web-1\n"}'
    programs = {
        "tofu": """[ "$*" = "output -json ids" ] || exit 1\nprintf '{"postgres":5200,"redis":5130,"web-1":5111}'""",
        "ssh": f"""[ "$1" = root@pve.lan ] || exit 1
case $2 in
*"pct exec {silent} "*) echo "no such machine" >&2; exit 255 ;;
*"pct exec 5200 "*) echo "{key} root@postgres" ;;
*) printf '%s' '{answer}' ;;
esac""",
    }
    for name, text in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    done = subprocess.run([str(ROOT / "deploy" / "terraform" / "host-keys"), "root@pve.lan"], capture_output=True, text=True,
                          check=False, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, timeout=LIMIT_S)
    if silent:
        assert done.returncode == 1 and done.stdout == "" and "no key of redis (5130)" in done.stderr
    else:
        lines = "".join(f'  "{name}" = "{key}"\n' for name in ("postgres", "redis", "web-1"))
        assert (done.returncode, done.stdout) == (0, "host_keys = {\n" + lines + "}\n"), done.stderr


def test_mongodb_wants_a_password():
    settings = yaml.safe_load(content("mongo", "/etc/sluice/mongod.conf"))
    assert settings["security"] == {"authorization": "enabled"}
    assert settings["net"] == {"port": 27017, "bindIp": "127.0.0.1,10.0.0.210"}
    assert settings["storage"]["dbPath"] == "/var/lib/mongodb"
