# SPDX-License-Identifier: Apache-2.0
"""redis.yaml, postgres.yaml and web.yaml, as three hosts would run them: each published on an address of the machine,
with passwords from files that only their reader can read."""
import os

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
    text = (ROOT / "deploy/compose/sluice.yaml").read_text()
    text = text.replace("redis://redis:", f"redis://{MACHINE}:").replace("@postgres/", f"@{MACHINE}/")
    (folder / "sluice.yaml").write_text(text)
    return {"SLUICE_IMAGE": "sluice:scratch", "SLUICE_REDIS_IMAGE": "sluice-redis", "SLUICE_REDIS_BIND": MACHINE,
            "SLUICE_POSTGRES_BIND": MACHINE, "SLUICE_PORT": "8080", "SLUICE_SECRETS": str(secrets),
            "SLUICE_CONFIG": str(folder / "sluice.yaml")}


def compose(engine, role, env, *words):
    done = engine.run("docker-compose", "-p", f"host-{role}", "-f", f"{role}.yaml", *words, cwd=ROOT / "deploy/compose", env=env)
    assert done.returncode == 0, f"{role}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
    return done.stdout


def test_three_hosts(engine, tmp_path_factory):
    folder = tmp_path_factory.mktemp("hosts")
    folder.parent.chmod(0o711)
    env = prepare(folder)
    roles = {"redis": "redis", "postgres": "postgres", "web": "sluice"}
    try:
        for role in roles:
            compose(engine, role, env, "up", "-d")
        for role, service in roles.items():
            name = f"host-{role}_{service}_1"
            wait_until(lambda name=name: "healthy" == engine.docker(
                "inspect", "--format", "{{.State.Health.Status}}", name).strip(), limit_s=120, what=f"{name} to be healthy")
        curl, url = [*engine.network.command("crowd"), "curl", "-s"], f"http://{MACHINE}:8080"
        made = engine.run(*curl, "-d", "url=https://example.com/three", url + "/shorten").stdout
        assert made.startswith('{"short_url":"/'), made
        metrics = engine.run(*curl, url + "/metrics").stdout
        assert "\nsluice_limiter_up 1\n" in metrics and "\nsluice_limiter_servers 1\n" in metrics
        log = engine.run("docker", "logs", "host-web_sluice_1")
        assert "decides" in log.stdout + log.stderr
    finally:
        for role in roles:
            compose(engine, role, env, "down", "-v", "--timeout", "20")
