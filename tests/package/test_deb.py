# SPDX-License-Identifier: Apache-2.0
"""The Debian packages, on a machine that has nothing: installed, used, upgraded, removed, purged. In this order, each test
goes on from where the one before left the machine.

Leaves out: that systemd starts the service (there is none that runs here; tests/integration/test_service.py has the unit)."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import urllib.error
import urllib.request

import pytest

import debs
from support.redis import free_port
from support.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
READY = re.compile(r"sluice is serving on http://127\.0\.0\.1:(\d+)")
AS_SLUICE = ["setpriv", "--reuid=sluice", "--regid=sluice", "--clear-groups", "--", "env", "-C", "/var/lib/sluice"]
EDIT = "# an edit of the operator\n"
SHARED = {"usr/share/doc", "usr/share/man", "usr/lib", "etc", "var/lib"}


@pytest.fixture(scope="module")
def before(machine):
    """What the machine has when the dependencies are there, and none of ours."""
    names = machine.run("dpkg-query", "-W", "-f", "${Package}\n").split()
    assert "sluice" not in names and "libuv1" not in names
    return names


def status_of(machine, package):
    return machine.run("dpkg-query", "-W", "-f", "${db:Status-Status}", package, check=False)


def test_lintian_finds_nothing(packages):
    # The maintainer's address is nobody's: whoever passes the packages on puts in his own.
    changes = next(packages["sluice"].parent.glob("*.changes"))
    done = subprocess.run(["lintian", "--allow-root", "--fail-on", "error,warning", "--suppress-tags",
                           "bogus-mail-host,bogus-mail-host-in-debian-changelog", str(changes)],
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stdout == "", done.stdout + done.stderr


def test_the_same_commit_makes_the_same_bytes(packages, tmp_path):
    if "+c" in packages["sluice"].name:
        pytest.skip("with changes that are not committed each build is a version of its own")
    subprocess.run(["sh", "-c", 'umask 077; exec "$@"', "sh", str(ROOT / "scripts" / "deb"), str(tmp_path)], check=True,
                   capture_output=True, env={**os.environ, "TZ": "Asia/Tokyo"})
    for package in packages.values():
        assert (tmp_path / package.name).read_bytes() == package.read_bytes(), package.name


def test_it_installs_on_a_bare_machine(machine, packages, before):
    machine.apt("install", machine.bring(packages["sluice"]))
    assert status_of(machine, "sluice") == "installed"
    assert machine.run("sluice", "--version").startswith("sluice ")
    assert "user sluice" not in machine.run("systemctl", "--version", check=False), "systemd came along"
    assert machine.run("getent", "passwd", "sluice").split(":")[5:] == ["/var/lib/sluice", "/usr/sbin/nologin\n"]
    assert machine.run("stat", "-c", "%U:%G %a", "/var/lib/sluice", "/var/log/sluice", "/etc/default/sluice",
                       "/etc/sluice/sluice.yaml").split("\n")[:-1] == [
        "sluice:sluice 750", "sluice:sluice 750", "root:root 640", "root:root 644"]
    assert (machine.root / "lib/systemd/system/sluice.service").exists()
    assert (machine.root / "etc/systemd/system/multi-user.target.wants/sluice.service").is_symlink(), "not enabled"
    assert not (machine.root / "etc/systemd/system/sockets.target.wants/sluice.socket").is_symlink(), "enabled"
    for name in ("usr/share/doc/sluice/copyright", "usr/share/doc/sluice/operations.md", "usr/share/doc/sluice/sluice.conf",
                 "usr/share/doc/sluice/CHANGELOG.md"):
        assert (machine.root / name).exists() or name.endswith("copyright"), name
    assert machine.run("sluice", "check-config", "/etc/sluice/sluice.yaml") == "/etc/sluice/sluice.yaml: ok\n"


def test_the_program_serves_there_as_its_own_user(machine):
    port = free_port()
    command = [*AS_SLUICE, "sluice", "serve", "--config", "/etc/sluice/sluice.yaml", "--listen", f"127.0.0.1:{port}"]
    with machine.running(*command, ready=READY.search):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/shorten", data=b"url=https://example.com/kept") as answer:
            code = json.load(answer)["short_url"]
        statuses = [status(port, "/") for _ in range(10)]
        assert statuses == [200] * 9 + [429]
    assert (machine.root / "var/lib/sluice/sluice.db").exists()
    exported = machine.run(*AS_SLUICE, "sluice", "links", "export", "-", "--format", "csv")
    assert f"{code.lstrip('/')},https://example.com/kept," in exported


def status(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code


def test_its_log_is_rotated_and_by_nobody_but_its_own_user(machine):
    machine.apt("install", "logrotate")
    for _ in range(2):
        machine.run(*AS_SLUICE, "sh", "-c", "echo a line >/var/log/sluice/access.log")
        machine.run("logrotate", "--force", "/etc/logrotate.d/sluice")
    assert machine.run("sh", "-c", "stat -c '%U %n' /var/log/sluice/*") == (
        "sluice /var/log/sluice/access.log.1\nsluice /var/log/sluice/access.log.2.gz\n")


def test_the_manual_is_found(machine, packages, tmp_path):
    subprocess.run(["dpkg-deb", "-x", packages["sluice"], tmp_path], check=True)
    pages = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.glob("usr/share/man/*/*"))
    assert pages == ["usr/share/man/man1/sluice.1.gz", "usr/share/man/man5/sluice.yaml.5.gz"]
    for page in pages:
        done = subprocess.run(["man", "--warnings", "-l", tmp_path / page], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and done.stderr == "" and "SLUICE" in done.stdout, done.stderr


def test_the_module_loads_into_debians_redis(machine, packages):
    machine.apt("install", machine.bring(packages["sluice-redis-module"]), "redis-server")
    port = free_port()
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", "/tmp", "--loadmodule",
               "/usr/lib/sluice/sluice.so"]
    with machine.running(*command, ready=lambda text: "Ready to accept connections" in text):
        told = machine.run("redis-cli", "-p", str(port), "SLUICE.TAKE", "k", "LIMIT", "10", "WINDOW", "60000", check=False)
        assert "ERR unknown command" not in told
        assert "sluice" in machine.run("redis-cli", "-p", str(port), "MODULE", "LIST")


def test_the_library_compiles_there(machine, packages):
    machine.apt("install", machine.bring(packages["libsluice-core0"]), machine.bring(packages["libsluice-core-dev"]), "gcc",
                "libc6-dev", "pkg-config")
    (machine.root / "tmp/a.c").write_text("#include <sluice/limiter.h>\n#include <stdio.h>\n"
                                          'int main(void) { return puts("well") < 0 || sizeof(struct sluice_policy) == 0; }\n')
    machine.run("sh", "-c", "cc -Wall -Werror /tmp/a.c -o /tmp/a $(pkg-config --cflags --libs sluice-core)")
    assert machine.run("/tmp/a") == "well\n"


# Upgrades

@pytest.fixture(scope="module")
def newer(packages, tmp_path_factory):
    return debs.newer(packages["sluice"], tmp_path_factory.mktemp("newer"))


def test_an_upgrade_keeps_edits_and_data(machine, newer):
    config, defaults = machine.root / "etc/sluice/sluice.yaml", machine.root / "etc/default/sluice"
    for path in (config, defaults):
        path.write_text(path.read_text() + EDIT)
    # As unattended upgrades do it; at a terminal dpkg asks, and to keep one's own is what it offers first.
    with machine.booted() as asked:
        machine.apt("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "install",
                    machine.bring(newer))
    # Not a word of sluice.socket: where systemd holds the port, it holds it throughout.
    assert asked == ["sluice.service restart"]
    assert machine.run("dpkg-query", "-W", "-f", "${Version}", "sluice") == "99.0"
    assert config.read_text().endswith(EDIT) and defaults.read_text().endswith(EDIT)
    assert "# new in this version" in (machine.root / "etc/sluice/sluice.yaml.dpkg-dist").read_text()
    assert machine.run("stat", "-c", "%U:%G %a", "/etc/default/sluice", "/var/lib/sluice/sluice.db").split("\n")[0] == "root:root 640"
    assert "example.com/kept" in machine.run(*AS_SLUICE, "sluice", "links", "export", "-", "--format", "csv")


def test_an_older_version_takes_over(machine, packages):
    """A downgrade, when the new version turns out to be worse."""
    machine.apt("--allow-downgrades", "-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold", "install",
                machine.bring(packages["sluice"]))
    assert (machine.root / "etc/sluice/sluice.yaml").read_text().endswith(EDIT)
    assert "example.com/kept" in machine.run(*AS_SLUICE, "sluice", "links", "export", "-", "--format", "csv")


def test_a_file_that_nobody_edited_is_replaced(machine, packages, newer):
    machine.apt("purge", "sluice")
    machine.apt("install", machine.bring(packages["sluice"]))
    machine.apt("install", machine.bring(newer))
    assert "# new in this version" in (machine.root / "etc/sluice/sluice.yaml").read_text()
    assert not (machine.root / "etc/sluice/sluice.yaml.dpkg-dist").exists()


# The end

def test_a_removal_keeps_settings_and_data(machine):
    config = machine.root / "etc/sluice/sluice.yaml"
    config.write_text(config.read_text() + EDIT)
    with machine.booted() as asked:
        machine.apt("remove", "sluice")
    assert asked == ["sluice.socket stop", "sluice.service stop"], "a port that is still open would start it again"
    assert status_of(machine, "sluice") == "config-files"
    assert not (machine.root / "usr/bin/sluice").exists() and config.read_text().endswith(EDIT)
    assert (machine.root / "var/lib/sluice/sluice.db").exists()


def test_a_purge_leaves_nothing_but_data(machine, packages):
    (machine.root / "var/log/sluice/access.log").write_text("a line\n")
    machine.apt("purge", *packages)
    left = {path for path in machine.files() if "sluice" in path}
    assert {path for path in left if not path.startswith("var/lib/sluice/")} == {"var/lib/sluice"}
    assert not (machine.root / "var/log/sluice").exists()
    assert machine.run("getent", "passwd", "sluice"), "whom the data belongs to"
    assert machine.run("find", "/", "-xdev", "(", "-nouser", "-o", "-nogroup", ")", "-print") == ""
    assert not [line for line in machine.run("dpkg-query", "-W").split("\n") if "sluice" in line]


def test_without_data_a_purge_leaves_nothing(machine, packages):
    shutil.rmtree(machine.root / "var/lib/sluice")
    machine.apt("install", machine.bring(packages["sluice"]))
    machine.apt("purge", "sluice")
    assert [path for path in machine.files() if "sluice" in path] == []
    assert machine.run("getent", "passwd", "sluice", check=False) == "" == machine.run("getent", "group", "sluice", check=False)


# Machines that are not as the package would make them

def test_a_user_who_is_there_gets_the_group(machine, packages):
    machine.run("useradd", "--system", "--no-user-group", "sluice")
    machine.apt("install", machine.bring(packages["sluice"]))
    assert machine.run("stat", "-c", "%U:%G", "/var/lib/sluice", "/var/log/sluice") == "sluice:sluice\n" * 2


def test_folders_that_are_mounted_stay_and_a_purge_ends(machine):
    machine.run("sh", "-c", "mount -t tmpfs none /var/lib/sluice && mount -t tmpfs none /var/log/sluice && touch /var/log/sluice/old.log && "
                "apt-get -y -qq purge sluice && ls -A /var/log/sluice")
    assert status_of(machine, "sluice") == "not-installed" or "no packages found" in status_of(machine, "sluice")
    assert (machine.root / "var/lib/sluice").is_dir() and (machine.root / "var/log/sluice").is_dir()
    machine.run("rmdir", "/var/lib/sluice", "/var/log/sluice")


def test_a_link_to_another_disk_stays_and_a_purge_ends(machine, packages):
    machine.run("mkdir", "-p", "/srv/links")
    machine.run("ln", "-s", "/srv/links", "/var/lib/sluice")
    machine.apt("install", machine.bring(packages["sluice"]))
    machine.apt("purge", "sluice")
    assert (machine.root / "var/lib/sluice").is_symlink() and machine.run("getent", "passwd", "sluice")
