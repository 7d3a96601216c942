# SPDX-License-Identifier: Apache-2.0
"""The files of deploy/docker and deploy/compose, as far as they can be looked at without Docker. `make docker-test` builds
and runs them."""
import functools
import os
import pathlib
import re
import subprocess

import pytest
import yaml

from support.compose import installed
from support.server import binary, run

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "deploy" / "compose"
DOCKERFILE = (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
SINGLE = {"web": "sluice", "redis": "redis", "postgres": "postgres", "mongo": "mongo"}
FILES = ["compose", *SINGLE]
IMAGES = {"SLUICE_IMAGE": "one", "SLUICE_REDIS_IMAGE": "two"}  # those without a default


@functools.cache
def config(*names, composer=("docker-compose",), **env):
    """The files as docker-compose reads them: schema, variables, profiles, merges."""
    clean = {key: value for key, value in os.environ.items()
             if not key.startswith(("SLUICE_", "COMPOSE_", "DOCKER_")) and not key.endswith("_PASSWORD")}
    files = [word for name in names for word in ("-f", f"{name}.yaml")]
    done = subprocess.run([*composer, "--profile", "mongo", "--profile", "k6", *files, "config"],
                          cwd=COMPOSE, env={**clean, **env}, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr, yaml.safe_load(done.stdout) if done.returncode == 0 else None


def todays_compose():
    words = installed(pathlib.Path(os.environ.get("SLUICE_BUILD", "build")) / "docker")
    return tuple(words) if words else None


def services(*names, **env):
    status, error, read = config(*names, **IMAGES, **env)
    assert status == 0, error
    return read["services"]


@pytest.mark.parametrize("name", FILES)
def test_read_without_a_warning(name):
    status, error, _ = config(name, **IMAGES)
    assert (status, error) == (0, "")


@pytest.mark.skipif(todays_compose() is None, reason="no `docker compose` here; make docker-test builds one")
@pytest.mark.parametrize("names", [(name,) for name in FILES] + [("compose", "ipv6")])
def test_todays_compose_reads_the_same(names):
    status, error, today = config(*names, composer=todays_compose(), **IMAGES)
    assert (status, error) == (0, "")
    debians = config(*names, **IMAGES)[2]
    for service, it in debians["services"].items():
        assert set(it) - {"cpus"} <= set(today["services"][service]), service
        for key in ("image", "command", "user", "read_only", "cap_drop", "security_opt", "tmpfs", "pids_limit", "entrypoint"):
            assert it.get(key) == today["services"][service].get(key), (service, key)
    assert today["name"] == "sluice"


def test_the_settings_that_the_example_names():
    named = set(re.findall(r"^#?([A-Z0-9_]+)=", (COMPOSE / ".env").read_text(), re.MULTILINE)) - {"COMPOSE_PROJECT_NAME", "COMPOSE_FILE"}
    used = set(re.findall(r"\$\{([A-Z0-9_]+)", "".join((COMPOSE / f"{name}.yaml").read_text() for name in ("compose", "ipv6"))))
    assert named == {name for name in used if not name.endswith("_PASSWORD")}


def test_the_services():
    assert set(services("compose")) == {"make-passwords", "lb", "web-1", "web-2", "redis", "postgres", "mongo", "load"}
    for name, service in SINGLE.items():
        assert list(services(name)) == [service]


@pytest.mark.parametrize("name, variable", [("web", "SLUICE_IMAGE"), ("redis", "SLUICE_REDIS_IMAGE")])
def test_an_image_that_is_not_named(name, variable):
    status, error, _ = config(name)
    assert status != 0 and variable in error


@pytest.mark.parametrize("name", FILES)
def test_every_service_is_locked_up(name):
    for service, it in services(name).items():
        assert it["read_only"] is True, service
        assert it["cap_drop"] == ["ALL"] and it["security_opt"] == ["no-new-privileges:true"], service
        assert re.match("[1-9]", str(it["mem_limit"])) and it["pids_limit"] > 0, service
        assert name != "compose" or float(it["cpus"]) > 0, service  # on a host of its own it may take all
        assert it["logging"]["driver"] == "local" or it["logging"]["options"]["max-size"], service
        if service == "make-passwords":  # gives files to their readers, and ends
            assert it["cap_add"] == ["CHOWN"] and it["network_mode"] == "none"
        else:
            assert "cap_add" not in it and "privileged" not in it
        if service not in ("make-passwords", "load"):  # they end
            assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", it["user"]) and it["restart"] == "unless-stopped", service
            assert it["healthcheck"]["test"], service


def test_only_the_load_balancer_is_published():
    assert [name for name, it in services("compose").items() if it.get("ports")] == ["lb"]
    networks = {name: set(it.get("networks", ())) for name, it in services("compose").items()}
    assert networks["lb"] == networks["load"] == {"front"}
    assert networks["redis"] == networks["postgres"] == networks["mongo"] == {"back"}
    assert config("compose", **IMAGES)[2]["networks"]["back"]["internal"] is True


@pytest.mark.parametrize("env, published", [({}, "0.0.0.0:80:80/tcp"), ({"SLUICE_PORT": "8080"}, "0.0.0.0:8080:80/tcp"),
                                            ({"SLUICE_BIND": "127.0.0.1", "SLUICE_PORT": "8080"}, "127.0.0.1:8080:80/tcp")])
def test_published_on_ipv4_only(env, published):
    """Docker hands all IPv6 clients on as one, unless the network has IPv6, too."""
    assert services("compose", **env)["lb"]["ports"] == [published]
    ours = services("web", **env)["sluice"]["ports"]
    assert ours == [published.replace(":80/tcp", ":5000/tcp")]


def test_ipv6_beside_ipv4():
    _, error, read = config("compose", "ipv6", **IMAGES)
    assert read, error
    front = read["networks"]["front"]
    assert front["enable_ipv6"] is True
    assert [one["subnet"] for one in front["ipam"]["config"]] == ["172.30.213.0/24", "fd5c:1ce5:213:0::/64"]
    lb = read["services"]["lb"]
    assert len(lb["ports"]) == 2 and set(lb["networks"]["front"]) == {"ipv4_address", "ipv6_address"}


def test_nobody_is_asked_for_an_image_that_is_built():
    for name in ("web-1", "web-2", "redis"):
        assert services("compose")[name]["pull_policy"] == "never"
    assert services("compose", SLUICE_PULL="if_not_present")["web-1"]["pull_policy"] == "if_not_present"
    assert [name for name, it in services("compose").items() if "build" in it] == ["redis", "web-1"]


def test_configurations_are_mounted_as_folders():
    """A file that an editor puts in another one's place would not be seen in the container."""
    for it in (services("compose")["web-1"], services("web")["sluice"]):
        assert any(volume.endswith("/deploy/compose/sluice:/etc/sluice:ro") for volume in it["volumes"]), it["volumes"]


@pytest.mark.parametrize("name", [*SINGLE])
def test_stores_of_their_own_listen_where_they_are_told(name):
    ports = str(services(name)[SINGLE[name]]["ports"])
    assert ("127.0.0.1" in ports) == (name != "web")


def test_the_order_of_the_start():
    waits = {name: {on: how["condition"] for on, how in it.get("depends_on", {}).items()}
             for name, it in services("compose").items()}
    assert waits["lb"] == {"web-1": "service_healthy", "web-2": "service_healthy"}
    assert waits["web-1"] == waits["web-2"] == {"make-passwords": "service_completed_successfully",
                                                "redis": "service_healthy", "postgres": "service_healthy"}
    for store in ("redis", "postgres", "mongo"):
        assert waits[store] == {"make-passwords": "service_completed_successfully"}


@pytest.mark.parametrize("name", FILES)
def test_no_password_is_in_a_file(name):
    for service, it in services(name).items():
        for key, value in it.get("environment", {}).items():
            if "PASS" in key:
                assert value == "" or str(value).startswith("/run/secrets/"), (service, key)
    for path in (one for one in COMPOSE.rglob("*") if one.is_file() and "secrets" not in one.parts):
        assert not re.search(r"^\s*(requirepass|masterauth)\s|://[^/\s]*:[^/\s@]+@", path.read_text(), re.MULTILINE), path


def test_the_rules_of_nginx_with_the_addresses_of_the_plant(tmp_path):
    """What lb makes of deploy/nginx/sluice.conf. It must find what it replaces."""
    it = services("compose")["lb"]
    made = tmp_path / "sluice.conf"
    words = it["command"][2].replace("$$", "$").replace("/etc/nginx/conf.d/", f"{tmp_path}/")
    words = words.replace("/etc/sluice/nginx.conf", str(ROOT / "deploy/nginx/sluice.conf")).rpartition("&& exec")[0]
    subprocess.run(["sh", "-c", words], env={**os.environ, **it["environment"]}, check=True)
    upstream = re.findall(r"^\tserver (\S+) max_fails", made.read_text(), re.MULTILINE)
    web = [services("compose")[name]["networks"]["front"]["ipv4_address"] for name in ("web-1", "web-2")]
    assert upstream == [f"{address}:5000" for address in web]
    assert re.search(r"^\taccess_log /dev/stdout sluice ", made.read_text(), re.MULTILINE)
    six = pathlib.Path("/proc/net/if_inet6").exists()
    assert re.findall(r"^\t(#?)listen \[::\]:80 default_server;", made.read_text(), re.MULTILINE) == ["" if six else "#"]
    assert it["healthcheck"]["test"][-1] == "http://127.0.0.1:81/" and "listen 127.0.0.1:81;" in (tmp_path / "health.conf").read_text()
    proxy = services("compose")["web-1"]["environment"]["SLUICE_TRUSTED_PROXIES"]
    assert proxy == it["networks"]["front"]["ipv4_address"]


def test_another_network():
    _, error, read = config("compose", SLUICE_NETWORK="192.168.77", **IMAGES)
    assert read, error
    assert "172.30" not in str(read) and read["services"]["web-2"]["environment"]["SLUICE_TRUSTED_PROXIES"] == "192.168.77.100"


def test_the_configuration_of_the_web_servers(tmp_path):
    done = run("check-config", str(COMPOSE / "sluice" / "sluice.yaml"), cwd=tmp_path)
    assert done.returncode == 0, done.stderr


def test_users_and_paths_agree_with_the_images():
    for name in ("web-1", "web-2"):
        assert services("compose")[name]["user"] == "10001:10001"
    assert services("web")["sluice"]["user"] == "10001:10001" and "\nUSER 10001:10001\n" in DOCKERFILE
    for it in (services("compose")["redis"], services("redis")["redis"]):
        assert it["user"] == "999:999" and "\nUSER 999:999\n" in DOCKERFILE
        assert it["command"][-1] == "/usr/local/lib/sluice/sluice.so" and f" {it['command'][-1]}\n" in DOCKERFILE
    targets = re.findall(r"^FROM \S+ AS (\S+)$", DOCKERFILE, re.MULTILINE)
    assert targets == ["build", "sluice", "sluice-scratch", "redis"]


def test_both_images_of_the_program_say_the_same_of_themselves():
    """Which Dockerfiles can't say once for both: they are made from different images."""
    stages = re.split(r"^FROM .*$", DOCKERFILE, flags=re.MULTILINE)
    ends = [[line for line in stage[stage.index("ARG VERSION"):].splitlines() if line and not line.startswith("#")] for stage in stages[2:4]]
    assert ends[0] == ends[1] and any(line.startswith("HEALTHCHECK") for line in ends[0])


def debian():
    path = pathlib.Path("/etc/os-release")
    return re.search(r'^VERSION_ID="?(\d+)', path.read_text(), re.MULTILINE).group(1) if path.exists() else None


@pytest.mark.skipif(debian() != "12", reason="the image is of Debian 12: packages have other names elsewhere")
def test_the_image_has_the_libraries_that_the_program_asks_for():
    dynamic = subprocess.run(["readelf", "-d", binary()], capture_output=True, text=True, check=True).stdout
    needed = [name for name in re.findall(r"\(NEEDED\).*\[(\S+)\]", dynamic) if not re.match(r"lib[at]?ubsan|lib[alt]san", name)]
    assert needed
    for library in needed:
        owner = subprocess.run(["dpkg-query", "-S", f"*/{library}"], capture_output=True, text=True, check=True).stdout
        packages = {line.partition(":")[0] for line in owner.splitlines()}
        assert packages & {"libc6", "libgcc-s1"} or any(re.search(rf"\s{re.escape(one)}\s", DOCKERFILE) for one in packages), (library, packages)
