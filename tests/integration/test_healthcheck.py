# SPDX-License-Identifier: Apache-2.0
"""`sluice healthcheck` against servers that are well, not well, not there, and silent."""
import socket

from support.server import run


def ask(folder, address, path, **more):
    return run("healthcheck", f"http://{address[0]}:{address[1]}{path}", cwd=folder, **more)


def test_a_server_that_is_well(sluice, tmp_path):
    for path in ("/healthz", "/readyz", "/"):
        done = ask(tmp_path, sluice.address, path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", ""), path


def test_no_proxy_is_asked(sluice, tmp_path):
    """The environment of a container often names one."""
    done = ask(tmp_path, sluice.address, "/healthz", env={"http_proxy": "http://127.0.0.1:1"})
    assert done.returncode == 0, done.stderr


def test_an_answer_of_another_kind(sluice, tmp_path):
    done = ask(tmp_path, sluice.address, "/no-such-code")
    assert done.returncode == 1
    assert done.stderr.endswith("/no-such-code answers 404\n")


def test_stores_that_cannot_be_reached(start, tmp_path):
    server = start(links="postgresql://nobody@127.0.0.1:1/none")
    assert ask(tmp_path, server.address, "/healthz").returncode == 0
    done = ask(tmp_path, server.address, "/readyz")
    assert done.returncode == 1 and "answers 503" in done.stderr


def test_nobody_there(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        done = ask(tmp_path, free.getsockname(), "/healthz")
    assert done.returncode == 1
    assert done.stderr.startswith("sluice healthcheck: http://127.0.0.1:") and "connect" in done.stderr


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        done = ask(tmp_path, silent.getsockname(), "/healthz")
    assert done.returncode == 1 and "timed out" in done.stderr
