# SPDX-License-Identifier: Apache-2.0
"""redis.yaml, postgres.yaml and web.yaml, as three hosts would run them: each published on an address of the machine,
with passwords from files that only their reader can read."""
import json
import os

import pytest

from compose_of_today import DEBIANS_COMPOSE
from engine import ROOT
from plant_of_compose import MACHINE
from support.waiting import wait_until

REDIS_PASSWORD, POSTGRES_PASSWORD = "for-redis-0123456789", "for-postgres-0123456789"
SECRETS = {"redis_auth": (999, f"requirepass {REDIS_PASSWORD}\n"), "postgres_password": (999, POSTGRES_PASSWORD + "\n"),
           "redis_password": (10001, REDIS_PASSWORD + "\n"), "pgpass": (10001, f"*:*:urldb:sluice:{POSTGRES_PASSWORD}\n")}


def prepare(folder):
    """What an operator puts beside the files. Returns the environment."""
    secrets = folder / "secrets"
    for path in (folder, secrets):
        path.mkdir(exist_ok=True)
        path.chmod(0o711)
    for name, (uid, text) in SECRETS.items():
        (secrets / name).write_text(text)
        os.chown(secrets / name, uid, uid)
        (secrets / name).chmod(0o400)
    text = (ROOT / "deploy/compose/sluice/sluice.yaml").read_text()
    text = text.replace("redis://redis:", f"redis://{MACHINE}:").replace("@postgres/", f"@{MACHINE}/")
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config").chmod(0o755)
    (folder / "config/sluice.yaml").write_text(text)
    return {"SLUICE_IMAGE": "sluice:scratch", "SLUICE_REDIS_IMAGE": "sluice-redis", "SLUICE_REDIS_BIND": MACHINE,
            "SLUICE_POSTGRES_BIND": MACHINE, "SLUICE_PORT": "8080", "SLUICE_SECRETS": str(secrets),
            "SLUICE_CONFIG": str(folder / "config")}


class Hosts:
    """One folder of files, three hosts: three projects of one engine."""

    def __init__(self, engine, composer, env):
        self.engine, self.composer, self.env = engine, composer, env

    def compose(self, role, *words):
        done = self.engine.run(*self.composer, "-p", f"host-{role}", "-f", f"{role}.yaml", *words, cwd=ROOT / "deploy/compose",
                               env=self.env)
        assert done.returncode == 0, f"{role}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        return done.stdout

    def container(self, role):
        return self.engine.docker("ps", "-aq", "--filter", f"label=com.docker.compose.project=host-{role}").strip()

    def healthy(self, role):
        return "healthy" == self.engine.docker("inspect", "--format", "{{.State.Health.Status}}", self.container(role)).strip()


@pytest.mark.parametrize("whose", ["debian", "today"])
def test_three_hosts(engine, todays_compose, tmp_path_factory, whose):
    folder = tmp_path_factory.mktemp("hosts of " + whose)
    folder.parent.chmod(0o711)
    hosts = Hosts(engine, todays_compose if whose == "today" else DEBIANS_COMPOSE, prepare(folder))
    roles = ("redis", "postgres", "web")
    try:
        for role in roles:
            hosts.compose(role, "up", "-d")
        for role in roles:
            wait_until(lambda role=role: hosts.healthy(role), limit_s=120, what=f"{role} to be healthy")
            host = json.loads(engine.docker("inspect", hosts.container(role)))[0]["HostConfig"]
            assert host["Memory"] > 0 and host["PidsLimit"] > 0 and host["LogConfig"]["Type"] == "local"
        curl, url = [*engine.network.command("crowd"), "curl", "-s"], f"http://{MACHINE}:8080"
        made = engine.run(*curl, "-d", "url=https://example.com/three", url + "/shorten").stdout
        assert made.startswith('{"short_url":"/'), made
        metrics = engine.run(*curl, url + "/metrics").stdout
        assert "\nsluice_limiter_up 1\n" in metrics and "\nsluice_limiter_servers 1\n" in metrics
        assert "decides" in hosts.compose("web", "logs")
    finally:
        for role in roles:
            hosts.compose(role, "down", "-v", "--timeout", "20")
