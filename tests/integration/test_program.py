# SPDX-License-Identifier: Apache-2.0
"""The program on the command line: what it says, and with which exit status it ends."""
import os
import re
import socket
import sqlite3
import subprocess

import pytest

from support.server import READY, binary, clean_environment, run

COMMANDS = ["serve", "check-config", "inspect", "reset", "links", "healthcheck"]


def test_help(tmp_path):
    done = run("--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    for command in COMMANDS:
        assert f"sluice {command}" in done.stdout or f"| {command} " in done.stdout, command
    assert run("-h", cwd=tmp_path).stdout == run("help", cwd=tmp_path).stdout == done.stdout
    for command in ["serve", "check-config", "links", "healthcheck"]:
        assert run("help", command, cwd=tmp_path).stdout == run(command, "--help", cwd=tmp_path).stdout


@pytest.mark.parametrize("command", ["serve", "check-config", "links", "healthcheck"])
def test_help_of_a_command(tmp_path, command):
    done = run(command, "--help", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith(f"usage: sluice {command}")
    assert os.listdir(tmp_path) == []


def test_version(tmp_path):
    done = run("--version", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"sluice \d+\.\d+\.\d+\n", done.stdout)
    assert run("version", cwd=tmp_path).stdout == done.stdout


@pytest.mark.parametrize("arguments, says", [
    ([], "sluice serve"),
    (["frobnicate"], 'sluice: "frobnicate" is no command; see sluice --help'),
    (["srve"], 'sluice: "srve" is no command; did you mean sluice serve?'),
    (["check-conf"], 'sluice: "check-conf" is no command; did you mean sluice check-config?'),
    (["help", "frobnicate"], '"frobnicate" is no command'),
    (["serve", "--frobnicate"], "sluice serve: no such flag: --frobnicate; see sluice serve --help"),
    (["serve", "--lisen=x"], "sluice serve: no such flag: --lisen=x; did you mean --listen?"),
    (["serve", "-q"], "sluice serve: no such flag: -q; see"),
    (["serve", "--listen"], "sluice serve: a value is missing after --listen; see"),
    (["check-config", "--frobnicate"], "sluice check-config: no such flag: --frobnicate; see"),
    (["serve", "extra"], '"extra"'),
    (["serve", "--listen", "nowhere"], "--listen: "),
    (["serve", "--listen", "127.0.0.1:70000"], "--listen: "),
    (["serve", "--threads", "-1"], "--threads: "),
    (["serve", "--threads", "100000"], "--threads: "),
    (["serve", "--log-level", "loud"], "--log-level: "),
    (["serve", "--links", "mysql://x"], "--links: "),
    (["serve", "--config", "missing.yaml"], "missing.yaml"),
    (["check-config"], "usage"),
    (["links"], "import or export is missing"),
    (["links", "frobnicate", "x"], "frobnicate"),
    (["links", "import"], "FILE is missing"),
    (["inspect"], "inspect"),
    (["healthcheck", "http://127.0.0.1:1/healthz", "x"], "usage: sluice healthcheck [URL]"),
    (["healthcheck", "https://127.0.0.1/"], 'sluice healthcheck: URL: "https://127.0.0.1/": it begins with http://'),
    (["healthcheck", "--frobnicate"], "it begins with http://"),
    (["healthcheck", ""], "it begins with http://"),
])
def test_what_is_asked_wrongly_ends_with_2_and_a_reason(tmp_path, arguments, says):
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == "" and says in done.stderr, done
    assert os.listdir(tmp_path) == []  # nothing was begun


def test_ready_is_said_when_it_serves(start):
    server = start()
    assert READY.match(server.stdout.splitlines()[0])
    assert server.get("/").status == 200


def test_it_listens_where_it_is_told(start):
    server = start(listen="127.0.0.3:0")
    assert server.address[0] == "127.0.0.3"
    assert server.get("/").status == 200
    # On an address that no other test listens on: elsewhere somebody may have the same port.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.4", server.address[1]), 5)


def test_a_port_in_use_is_named(start, tmp_path):
    """Also by another Sluice: two that shared a port would each enforce half a limit."""
    server = start()
    address = f"127.0.0.1:{server.address[1]}"
    done = run("serve", "--listen", address, "--links", "sqlite::memory:", cwd=tmp_path)
    assert done.returncode == 1
    assert address in done.stderr and "in use" in done.stderr and "--listen" in done.stderr
    assert server.get("/").status == 200


def test_an_address_of_another_machine_is_named(tmp_path):
    done = run("serve", "--listen", "192.0.2.1:0", "--links", "sqlite::memory:", cwd=tmp_path)
    assert done.returncode == 1 and "192.0.2.1:0" in done.stderr


@pytest.mark.parametrize("prepare, says", [
    (lambda path: path.write_bytes(b"no database at all, but quite some text in it" * 100), "not a SQLite database"),
    (lambda path: path.mkdir(), "links.db"),
])
def test_a_database_that_is_none_is_named_and_left_alone(tmp_path, prepare, says):
    path = tmp_path / "links.db"
    prepare(path)
    before = path.read_bytes() if path.is_file() else None
    done = run("serve", "--listen", "127.0.0.1:0", "--links", "sqlite:links.db", cwd=tmp_path)
    assert done.returncode == 1
    assert says in done.stderr and "links.db" in done.stderr, done.stderr
    assert before is None or path.read_bytes() == before


def test_a_database_of_another_program_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / "links.db") as connection:
        connection.execute("CREATE TABLE links (mine TEXT)")
    connection.close()
    before = (tmp_path / "links.db").read_bytes()
    done = run("serve", "--listen", "127.0.0.1:0", "--links", "sqlite:links.db", cwd=tmp_path)
    assert done.returncode == 1 and "another program" in done.stderr
    assert (tmp_path / "links.db").read_bytes() == before


def test_several_may_create_one_database_at_once(tmp_path):
    """None takes the half-made work of another for a stranger's, and none gives up."""
    (tmp_path / "urls.txt").write_text("http://example.org/\n")
    for i in range(15):
        # A shell starts them closer together than Python does.
        one = f"{binary()} links import urls.txt --links sqlite:{i}.db || echo failed >&2"
        done = subprocess.run(["sh", "-c", " & ".join([one] * 4) + " & wait"], cwd=tmp_path, env=clean_environment(),
                              capture_output=True, text=True, timeout=120, check=False)
        assert done.stderr == ""
        assert sorted(re.findall(r"imported (\d+)", done.stdout)) == ["0", "0", "0", "1"]
        with sqlite3.connect(tmp_path / f"{i}.db") as connection:
            assert connection.execute("SELECT count(*) FROM links").fetchall() == [(1,)]
        connection.close()


def test_an_access_log_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "sluice.yaml").write_text("log:\n  access_file: no/such/folder/access.log\n")
    done = run("serve", "--listen", "127.0.0.1:0", "--links", "sqlite::memory:", "--config", "sluice.yaml", cwd=tmp_path)
    assert done.returncode == 1
    assert ("log.access_file: no/such/folder/access.log: can't be written: No such file or directory; "
            "create its folder first\n") in done.stderr


def test_every_setting_can_come_from_file_variable_or_flag(start):
    """The order of the three is told by where the server listens."""
    file = "listen: 127.0.0.11:0\n"
    variable = {"SLUICE_LISTEN": "127.0.0.12:0"}
    assert start(config=file, listen=None).address[0] == "127.0.0.11"
    assert start(config=file, env=variable, listen=None).address[0] == "127.0.0.12"
    assert start(config=file, env=variable, listen="127.0.0.13:0").address[0] == "127.0.0.13"
    assert start(env=variable, listen=None).address[0] == "127.0.0.12"


def test_inspect_says_where_the_state_is(tmp_path):
    done = run("inspect", "per-client:{203.0.113.7}", cwd=tmp_path)
    assert done.returncode == 1 and "memory:" in done.stderr
