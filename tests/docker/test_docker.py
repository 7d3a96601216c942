# SPDX-License-Identifier: Apache-2.0
"""The images of deploy/docker and the plant of deploy/compose, built and run. Bases are stand-ins (engine.py)."""
import collections
import concurrent.futures
import json
import pathlib
import re
import shlex
import tarfile
import threading

import pytest

from engine import ROOT
from support.waiting import wait_until

WEB = ["web-1", "web-2"]
RUNNING = [*WEB, "redis", "postgres", "lb"]
UIDS = {"web-1": 10001, "web-2": 10001, "redis": 999, "postgres": 999, "lb": 101}


def size_mb(engine, image):
    return json.loads(engine.docker("inspect", image))[0]["Size"] / 1e6


# The images

def test_sizes(engine, record_testsuite_property):
    base, debian, scratch = (size_mb(engine, name) for name in ("debian:12-slim", "sluice", "sluice:scratch"))
    print(f"measured: sluice {debian:.1f} MB, {debian - base:.1f} over its base; sluice-scratch {scratch:.1f} MB")
    assert debian - base < 40
    assert scratch < 40


@pytest.mark.parametrize("image", ["sluice", "sluice:scratch", "sluice-redis"])
def test_what_an_image_says_of_itself(engine, image):
    config = json.loads(engine.docker("inspect", image))[0]["Config"]
    assert config["Labels"]["org.opencontainers.image.version"] == "1.2.3-4-g5678"
    assert config["User"] == ("999:999" if image == "sluice-redis" else "10001:10001")
    assert config["StopSignal"] == "SIGTERM" and config["Healthcheck"]["Test"]


def test_the_licences_of_what_is_handed_on(engine, tmp_path):
    """The image from scratch holds other people's libraries: their licences come along."""
    engine.docker("create", "--name", "licences", "sluice:scratch")
    try:
        engine.docker("export", "--output", str(tmp_path / "image.tar"), "licences")
    finally:
        engine.docker("rm", "-v", "licences")
    with tarfile.open(tmp_path / "image.tar") as image:
        names = {pathlib.PurePosixPath(name) for name in image.getnames()}
    licences = {path.parent.name for path in names if path.match("usr/share/doc/*/copyright")}
    libraries = [path.name for path in names if ".so" in path.name]
    assert len(libraries) > 20
    # The image on Debian has the same packages, and can say whose each is.
    say = engine.docker("run", "--rm", "--entrypoint", "dpkg", "sluice", "-S", *(f"*/{library}" for library in libraries))
    owners = {line.split(": ")[1].rsplit("/", 1)[1]: line.split(":")[0] for line in say.splitlines()}
    assert {library: owners.get(library) for library in libraries if owners.get(library) not in licences} == {}


@pytest.mark.parametrize("image", ["sluice", "sluice:scratch"])
def test_one_alone_with_nothing_but_its_volume(engine, image):
    """Read-only, no capability, not root: it serves, is found healthy, writes only to its volume, and ends on SIGTERM as
    process 1. Its links are there again."""
    name = "alone"
    start = ["run", "-d", "--name", name, "--read-only", "--cap-drop", "ALL", "-v", "alone-links:/var/lib/sluice", image]
    engine.docker(*start)
    try:
        wait_until(lambda: "healthy" == json.loads(engine.docker("inspect", name))[0]["State"]["Health"]["Status"],
                   limit_s=60, what=f"{image} to be healthy")
        status = process_status(engine, name)
        assert status["Uid"].split() == ["10001"] * 4 and int(status["CapEff"], 16) == 0
        assert not engine.docker("diff", name).strip()
        engine.docker("exec", name, "sluice", "healthcheck", "http://127.0.0.1:5000/readyz")
        missing = engine.run("docker", "exec", name, "sluice", "healthcheck", "http://127.0.0.1:5000/nothere")
        assert missing.returncode == 1 and "404" in missing.stderr
        engine.docker("stop", "--time", "20", name)
        state = json.loads(engine.docker("inspect", name))[0]["State"]
        assert state["ExitCode"] == 0 and not state["OOMKilled"]
    finally:
        engine.docker("rm", "-f", name)
        engine.docker("volume", "rm", "alone-links")


@pytest.mark.parametrize("image", ["sluice", "sluice:scratch"])
def test_the_system_s_authorities_are_found(engine, image, tmp_path):
    """rediss:// without limiter.tls_ca_file: the image's own list is asked, which here holds one of ours."""
    tmp_path.chmod(0o755)
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
               "-subj", "/CN=store", "-addext", "subjectAltName=DNS:store", "-keyout", "key.pem", "-out", "cert.pem"]
    assert engine.run(*openssl, cwd=tmp_path).returncode == 0
    (tmp_path / "key.pem").chmod(0o644)
    engine.docker("network", "create", "tls")
    try:
        engine.docker("run", "-d", "--name", "store", "--network", "tls", "-v", f"{tmp_path}:/tls:ro", "sluice-redis", "redis-server",
                      "--port", "0", "--tls-port", "6379", "--tls-cert-file", "/tls/cert.pem", "--tls-key-file", "/tls/key.pem",
                      "--tls-auth-clients", "no", "--tls-ca-cert-file", "/tls/cert.pem", "--protected-mode", "no")
        engine.docker("run", "-d", "--name", "web", "--network", "tls", "-v",
                      f"{tmp_path}/cert.pem:/etc/ssl/certs/ca-certificates.crt:ro", image, "serve", "--limiter", "rediss://store")

        def log():
            done = engine.run("docker", "logs", "web")
            return done.stdout + done.stderr

        wait_until(lambda: "redis store:6379: connected" in log(), what=f"a connection: {log()}")
    finally:
        engine.run("docker", "rm", "-f", "-v", "store", "web")
        engine.docker("network", "rm", "tls")


def test_images_are_built_by_compose(engine, todays_compose, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"proxies": {"default": {"httpProxy": engine.proxy_url}}}))
    env = {"SLUICE_IMAGE": "built:1", "SLUICE_REDIS_IMAGE": "built-redis:1", "SLUICE_VERSION": "9.8.7", "DOCKER_CONFIG": str(tmp_path)}
    done = engine.run(*todays_compose, "-p", "plant", "build", cwd=ROOT / "deploy/compose", env=env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    try:
        for image in ("built:1", "built-redis:1"):
            labels = json.loads(engine.docker("inspect", image))[0]["Config"]["Labels"]
            assert labels["org.opencontainers.image.version"] == "9.8.7"
    finally:
        engine.docker("rmi", "built:1", "built-redis:1")


def process_status(engine, name):
    """/proc/PID/status of a container's first process, looked up within the engine's processes."""
    pid = json.loads(engine.docker("inspect", name))[0]["State"]["Pid"]
    init = engine.run("pgrep", "-P", str(engine.process.pid)).stdout.split()[0]
    text = engine.run("nsenter", f"--pid=/proc/{init}/ns/pid", f"--mount=/proc/{init}/ns/mnt", "cat",
                      f"/proc/{pid}/status").stdout
    return dict(line.split(":", 1) for line in text.splitlines())


# The plant

def test_up_and_nothing_else(plant):
    for service in RUNNING:
        assert plant.healthy(service), service
    assert plant.inspect("make-passwords")["State"]["ExitCode"] == 0


def test_only_the_load_balancer_is_published(plant):
    for service in RUNNING:
        published = {port for port, at in plant.inspect(service)["NetworkSettings"]["Ports"].items() if at}
        assert published == ({"80/tcp"} if service == "lb" else set()), service


def test_ten_of_many_pass_over_both_servers(plant):
    before = {web: plant.logs(web).count('"GET /" ') for web in WEB}
    client = plant.newcomer()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: plant.ask("GET", "/", client=client), range(60)))
    statuses = collections.Counter(status for status, _, _ in answers)
    assert statuses == {200: 10, 429: 50}
    assert all(int(fields["Retry-After"]) >= 1 for status, fields, _ in answers if status == 429)
    for web in WEB:
        wait_until(lambda web=web: plant.logs(web).count('"GET /" ') - before[web] >= 10, what=f"requests in {web}'s log")
    assert plant.ask("GET", "/")[0] == 200  # another client has a quota of its own


def test_the_module_decides(plant):
    for web in WEB:
        assert re.search(r"its module \S+ decides", plant.logs(web)), web


@pytest.mark.parametrize("service", RUNNING)
def test_no_root_no_capability_no_write(plant, service):
    status = process_status(plant.engine, plant.name(service))
    assert status["Uid"].split() == [str(UIDS[service])] * 4
    assert int(status["CapEff"], 16) == 0 and status["NoNewPrivs"].strip() == "1"
    host = plant.inspect(service)["HostConfig"]
    assert host["ReadonlyRootfs"] and host["Memory"] > 0 and host["NanoCpus"] > 0 and host["PidsLimit"] > 0
    assert plant.inspect(service)["GraphDriver"]["Name"] == "overlay2"
    changed = {line.split()[1] for line in plant.engine.docker("diff", plant.name(service)).splitlines()}
    mounts = [mount["Destination"] for mount in plant.inspect(service)["Mounts"]] + list(host.get("Tmpfs") or {})
    # where a volume is mounted, its folder is made: that is all
    assert all(any(mount.startswith(path) for mount in mounts) for path in changed), changed


def test_no_password_is_seen(plant):
    """Not in what docker tells of a container, nor in its command, environment or log."""
    secrets = {plant.exec("redis", "cat", "/run/secrets/redis_auth").split()[1],
               plant.exec("postgres", "cat", "/run/secrets/postgres_password").strip()}
    assert len(secrets) == 2 and all(len(secret) >= 48 for secret in secrets)
    for service in [*RUNNING, "make-passwords"]:
        seen = json.dumps(plant.inspect(service)) + plant.logs(service)
        assert not any(secret in seen for secret in secrets), service


def test_stores_are_closed(plant):
    done = plant.engine.run("docker", "exec", plant.name("redis"), "redis-cli", "get", "x")
    assert "NOAUTH" in done.stdout + done.stderr
    done = plant.engine.run("docker", "exec", plant.name("web-1"), "sh", "-c", "getent hosts redis && getent hosts lb")
    assert done.returncode == 0, done.stderr
    done = plant.engine.run("docker", "exec", "-e", "RES_OPTIONS=timeout:1 attempts:1", plant.name("lb"), "sh", "-c", "getent hosts redis || getent hosts postgres")
    assert done.returncode != 0, done.stdout
    done = plant.engine.run("docker", "exec", plant.name("postgres"), "psql", "-h", "127.0.0.1", "-U", "postgres", "-c", "SELECT 1")
    assert done.returncode != 0 and "no pg_hba.conf entry" in done.stderr


def test_logs_and_metrics(plant):
    client = plant.newcomer()
    assert plant.ask("GET", "/looked-for", client=client)[0] == 404
    wait_until(lambda: re.search(rf' {client} "GET /looked-for HTTP/1.1" 404 .* upstream="172\.30\.213\.11[12]:5000" "404"',
                                 plant.logs("lb")), what="the line in nginx's log")
    wait_until(lambda: any(f'{client} "GET /looked-for" 404' in plant.logs(web) for web in WEB), what="the line of sluice")
    metrics = plant.exec("lb", "curl", "-s", "http://172.30.213.111:5000/metrics")
    assert re.search(r"^sluice_limiter_up 1$", metrics, re.MULTILINE)
    assert re.search(r"^sluice_limiter_servers 2$", metrics, re.MULTILINE)
    assert plant.ask("GET", "/metrics")[0] == 404


@pytest.mark.parametrize("service", RUNNING)
def test_a_killed_container_comes_back(plant, service):
    code = plant.shorten(f"https://example.com/before/{service}")
    before = plant.inspect(service)["RestartCount"]
    init = plant.engine.run("pgrep", "-P", str(plant.engine.process.pid)).stdout.split()[0]
    plant.engine.run("nsenter", f"--pid=/proc/{init}/ns/pid", f"--mount=/proc/{init}/ns/mnt", "kill", "-KILL",
                     str(plant.inspect(service)["State"]["Pid"]))
    wait_until(lambda: plant.inspect(service)["RestartCount"] > before, what=f"{service} to be started again")
    plant.wait_until_healthy(service)
    for web in WEB:
        plant.wait_until_healthy(web)
    status, fields, _ = wait_until(lambda: (answer := plant.ask("GET", code))[0] == 302 and answer,
                                   what="the link")
    assert (status, fields["Location"]) == (302, f"https://example.com/before/{service}")


def test_published_on_ipv4_only(plant):
    """Over IPv6 Docker would hand all clients on as one: better that they come by IPv4. See ipv6.yaml."""
    assert plant.inspect("lb")["NetworkSettings"]["Ports"]["80/tcp"] == [{"HostIp": "0.0.0.0", "HostPort": "80"}]


def test_a_limit_is_changed_as_the_manual_says(plant):
    """By an editor that writes a new file and puts it in the old one's place, as most do."""
    file = plant.folder / "sluice" / "sluice.yaml"
    kept = file.read_text()
    try:
        for limit, text in ((3, kept.replace("limit: 10", "limit: 3")), (10, kept)):
            new = file.with_suffix(".new")
            new.write_text(text)
            new.replace(file)
            logs = {web: plant.logs(web).count("reload: 1 limit in force\n") for web in WEB}
            plant.compose("kill", "-s", "HUP", *WEB)
            for web in WEB:
                wait_until(lambda web=web: plant.logs(web).count("reload: 1 limit in force\n") > logs[web], what=f"{web} to reload")
            assert f"q={limit};" in plant.ask("GET", "/")[1]["RateLimit-Policy"]
    finally:
        file.write_text(kept)


def test_no_request_fails_while_the_servers_are_replaced(plant):
    statuses, over = collections.Counter(), threading.Event()

    def client(address):
        while not over.is_set():
            for method, path, body in (("GET", "/", None), ("POST", "/shorten", "url=https://example.com/" + address)):
                statuses[plant.ask(method, path, body, client=address)[0]] += 1

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client, plant.newcomer()) for _ in range(8)]
        try:
            before = {plant.name(web) for web in WEB}
            done = plant.engine.run("./replace-servers", cwd=plant.folder, env={"COMPOSE": shlex.join(plant.composer)})
            assert done.returncode == 0, done.stdout + done.stderr
            assert before.isdisjoint(plant.name(web) for web in WEB)
            assert " down " not in plant.exec("lb", "cat", "/etc/nginx/conf.d/sluice.conf")
        finally:
            over.set()
        for one in clients:
            one.result()
    assert set(statuses) == {200, 429} and statuses[200] >= 80, statuses


def test_links_are_restored_as_the_manual_says(plant):
    code = plant.shorten("https://example.com/backed-up")
    dump = plant.folder / "links.dump"
    with open(dump, "wb") as file:
        plant.compose("exec", "-T", "postgres", "pg_dump", "-U", "postgres", "-Fc", "urldb", stdout=file)
    later = plant.shorten("https://example.com/later")
    plant.compose("stop", *WEB)
    plant.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-c", "DROP DATABASE urldb", "-c",
                  "CREATE DATABASE urldb OWNER sluice")
    with open(dump, "rb") as file:
        plant.compose("exec", "-T", "postgres", "pg_restore", "-U", "postgres", "--no-owner", "--role=sluice", "-d", "urldb",
                      stdin=file)
    plant.compose("up", "-d", "--no-build")
    plant.wait_until_healthy("lb")
    for web in WEB:
        plant.wait_until_healthy(web)
    assert [plant.ask("GET", path)[0] for path in (code, later)] == [302, 404]
    assert plant.shorten("https://example.com/after-it") not in (code, later)


def test_links_and_limits_survive_down_and_up(plant):
    code = plant.shorten("https://example.com/survives")
    assert plant.redis("set", "probe", "still here") == "OK"
    plant.compose("down", "--timeout", "30")
    plant.up()
    status, fields, _ = plant.ask("GET", code)
    assert (status, fields["Location"]) == (302, "https://example.com/survives")
    assert plant.redis("get", "probe") == "still here"


def test_another_password_is_refused_once_there_is_one(plant):
    done = plant.attempt("run", "--rm", "make-passwords", env={"REDIS_PASSWORD": "another-one"})
    assert done.returncode == 1 and "make-passwords: redis: the plant has another one already" in done.stdout + done.stderr
    done = plant.attempt("run", "--rm", "make-passwords", env={"MONGO_PASSWORD": "it's"})
    assert done.returncode == 1 and "letters, digits" in done.stdout + done.stderr


def test_passwords_are_changed_as_the_manual_says(plant):
    code = plant.shorten("https://example.com/changed")
    for store in ("redis", "postgres"):
        plant.compose("run", "--rm", "--entrypoint", "sh", "make-passwords", "-c", f"printf changed-{store} >/secrets/all/{store}")
    plant.compose("exec", "-T", "postgres", "psql", "-U", "postgres", "-c", "ALTER ROLE sluice PASSWORD 'changed-postgres'")
    plant.compose("up", "-d")
    plant.compose("restart", "redis", "web-1", "web-2")
    for service in ("redis", *WEB):
        plant.wait_until_healthy(service)
    assert plant.exec("redis", "cat", "/run/secrets/redis_auth") == "requirepass changed-redis\n"
    wait_until(lambda: "\nsluice_limiter_up 1\n" in plant.exec("lb", "curl", "-s", "http://172.30.213.111:5000/metrics"),
               what="the limiter to be reached with the new password")
    assert plant.ask("GET", code)[0] == 302
    assert plant.shorten("https://example.com/after") != code
