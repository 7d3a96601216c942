# SPDX-License-Identifier: Apache-2.0
"""Let in by Redis, and sure of it: passwords, users, TLS; and a password is never shown, whatever goes wrong."""
import subprocess

import pytest

from support.redis import free_port, needs_tls
from support.server import run
from support.waiting import wait_until

KEY = "rate_limit:per-client:{127.0.0.1}"
SECRET = "hunter2&%s"
ESCAPED = "hunter2%26%25s"

# Authority, server (named by its address), client, each with a key of its own.
CERTIFICATES = """
set -e
key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $1.key; }
authority() { key $1; openssl req -x509 -new -key $1.key -subj /CN=$1 -days 30 -out $1.crt; }
issue() {
    key $1
    openssl req -new -key $1.key -subj /CN=$1 -out $1.csr
    echo "subjectAltName=$2" > $1.ext
    openssl x509 -req -in $1.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 -extfile $1.ext -out $1.crt
}
authority ca
authority stranger
issue server IP:127.0.0.1
issue client DNS:client
"""


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    needs_tls()
    folder = tmp_path_factory.mktemp("certificates")
    subprocess.run(["sh", "-c", CERTIFICATES], cwd=folder, check=True, capture_output=True, timeout=120)
    return folder


@pytest.fixture
def locked(start_redis):
    """A Redis that wants a password."""
    redis = start_redis()
    redis.ask("CONFIG", "SET", "requirepass", SECRET)
    return redis


def wait_for_redis(server):
    wait_until(lambda: server.get("/readyz").body == b"ready\n", what="the server to use Redis")


def wait_for_words(server, words):
    wait_until(lambda: words in server.stderr, what=f"\"{words}\" in the log")


def decided_by_redis(server):
    wait_for_redis(server)
    return [server.get("/").status for _ in range(12)] == [200] * 10 + [429] * 2


def forget(redis, password=None):
    with redis.client() as client:
        if password is not None:
            client.ask("AUTH", password)
        had = client.ask("EXISTS", KEY)
        client.ask("FLUSHALL")
        return had == 1


@pytest.mark.parametrize("credentials", [f":{ESCAPED}@", f"default:{ESCAPED}@"])
def test_a_password_in_the_url(start, locked, credentials):
    server = start(arguments=["--limiter", f"redis://{credentials}127.0.0.1:{locked.port}"])
    assert decided_by_redis(server)
    assert forget(locked, SECRET)
    assert "hunter2" not in server.stderr


def test_a_password_in_a_file_wins(start, locked, tmp_path):
    (tmp_path / "password").write_text(SECRET + "\n")
    server = start(arguments=["--limiter", f"redis://:wrong@127.0.0.1:{locked.port}"],
                   env={"SLUICE_LIMITER_PASSWORD_FILE": str(tmp_path / "password")})
    assert decided_by_redis(server)
    assert forget(locked, SECRET)


def test_a_password_file_that_is_not_there(tmp_path):
    done = run("serve", "--listen", "127.0.0.1:0", "--links", "sqlite::memory:", "--limiter", "redis://127.0.0.1",
               cwd=tmp_path, env={"SLUICE_LIMITER_PASSWORD_FILE": "/nonexistent/password"})
    assert done.returncode == 1
    assert "limiter.password_file: /nonexistent/password: No such file or directory" in done.stderr


@pytest.mark.parametrize("user, words", [("", "WRONGPASS"), ("bob", 'user "bob"')])
def test_a_wrong_password_is_named_and_not_shown(start, locked, user, words):
    server = start(arguments=["--limiter", f"redis://{user}:hunter3@127.0.0.1:{locked.port}"])
    wait_for_words(server, words)
    assert server.get("/").status == 200  # the failure policy decides
    shown = server.stderr + server.stdout + "".join(
        server.get(path).body.decode() for path in ("/metrics", "/readyz", "/healthz"))
    assert "hunter3" not in shown


def test_no_password_where_one_is_wanted(start, locked):
    server = start(arguments=["--limiter", f"redis://127.0.0.1:{locked.port}"])
    wait_for_words(server, "NOAUTH")
    assert "limiter.password_file" in server.stderr


def test_check_config_shows_no_password(tmp_path):
    (tmp_path / "f.yaml").write_text("limiter:\n  store: redis://bob:hunter2@h:port\n")
    done = run("check-config", "f.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert "hunter2" not in done.stderr
    (tmp_path / "f.yaml").write_text("limiter:\n  store: redis://bob:hunter2@h:1\n")
    done = run("check-config", "f.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "f.yaml: ok\n")


@pytest.fixture
def encrypted(start_redis, certificates):
    """A Redis with TLS on a second port; it wants certificates of clients there."""
    port = free_port()
    redis = start_redis(arguments=["--tls-port", str(port), "--tls-cert-file", str(certificates / "server.crt"),
                                   "--tls-key-file", str(certificates / "server.key"), "--tls-ca-cert-file",
                                   str(certificates / "ca.crt"), "--tls-auth-clients", "yes"])
    redis.tls_url = f"rediss://127.0.0.1:{port}"
    return redis


def tls_files(certificates, ca="ca", client="client"):
    return {"SLUICE_LIMITER_TLS_CA_FILE": str(certificates / f"{ca}.crt"),
            "SLUICE_LIMITER_TLS_CERT_FILE": str(certificates / f"{client}.crt") if client else "",
            "SLUICE_LIMITER_TLS_KEY_FILE": str(certificates / f"{client}.key") if client else ""}


def test_tls_with_certificates_of_both(start, encrypted, certificates):
    servers = [start(arguments=["--limiter", encrypted.tls_url], env=tls_files(certificates)) for _ in range(2)]
    assert decided_by_redis(servers[0])
    wait_for_redis(servers[1])
    assert servers[1].get("/").status == 429  # and one limit over both
    assert forget(encrypted)


@pytest.mark.parametrize("files, words", [
    ({"ca": "stranger"}, "its certificate is not trusted"),
    ({"client": None}, "limiter.tls_cert_file"),
])
def test_tls_that_is_not_trusted(start, encrypted, certificates, files, words):
    server = start(arguments=["--limiter", encrypted.tls_url], env=tls_files(certificates, **files))
    wait_for_words(server, words)
    assert server.get("/").status == 200
    assert not forget(encrypted)


def test_a_key_that_belongs_to_another(tmp_path, certificates):
    env = tls_files(certificates)
    env["SLUICE_LIMITER_TLS_KEY_FILE"] = str(certificates / "server.key")
    done = run("serve", "--listen", "127.0.0.1:0", "--links", "sqlite::memory:", "--limiter", "rediss://127.0.0.1",
               cwd=tmp_path, env=env)
    assert done.returncode == 1
    assert "server.key: no key" in done.stderr


def test_tls_comes_back(start, encrypted, certificates):
    server = start(arguments=["--limiter", encrypted.tls_url], env=tls_files(certificates))
    assert decided_by_redis(server)
    encrypted.kill()
    wait_until(lambda: server.get("/readyz").body != b"ready\n", what="the server to miss Redis")
    encrypted.start()
    wait_for_redis(server)
