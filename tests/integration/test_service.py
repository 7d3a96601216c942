# SPDX-License-Identifier: Apache-2.0
"""What deploy/systemd/ promises: units that systemd accepts, a sandbox that the program fits in, a service manager that is
told, and a port that outlives the server. There is no systemd to boot here: its part is played by the tests."""
import contextlib
import fcntl
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from support import sandbox
from support.server import binary
from support.waiting import LIMIT_S, wait_until
from support.wire import BrokenAnswer, Wire, build

ROOT = pathlib.Path(__file__).resolve().parents[2]
UNITS = ROOT / "deploy" / "systemd"
SERVICE = UNITS / "sluice.service"
# What of the system tests is run once more inside the sandbox, so that a server does there all that it ever does.
INSIDE = {
    "test_endpoints.py": ("test_shortens or test_a_redirect or test_home_is_a_page "
                          "or test_clicks or test_operations or test_over or test_a_connection"),
    "test_postgres_endpoints.py": "test_shortens or test_a_redirect or test_clicks",
    "test_postgres_outage.py": "test_killed_and_back or test_the_second_host_is_used",
    "test_redis_store.py": "test_two_servers or test_servers_are_counted",
    "test_redis_access.py": "test_a_password_in_a_file_wins or test_tls_with_certificates_of_both",
    "test_redis_topologies.py": "test_one_sentinel_that_hangs or test_the_first_server_that_is_named_may_be_away",
    "test_reload.py": "test_reloads_in_the_midst_of_traffic",
    "test_durability.py": "test_a_stop_in_the_midst_of_traffic or test_links_in_memory",
    "test_access_log.py": "test_a_rotated_file_is_opened_anew",
}
SANDBOXED = ["/usr/bin/python3", str(ROOT / "tests" / "integration" / "support" / "sandbox.py"), str(SERVICE)]


def is_sanitized():
    linked = subprocess.run(["ldd", binary()], capture_output=True, text=True, check=True).stdout
    return re.search(r"lib[at]san", linked) is not None


def analyze(*words):
    return subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, check=False)


def test_systemd_accepts_the_units(tmp_path):
    for name in ("sluice.service", "sluice.socket"):
        text = (UNITS / name).read_text()
        (tmp_path / name).write_text(text.replace("=sluice ", f"={binary()} "))
    done = analyze("verify", "--man=no", str(tmp_path / "sluice.service"), str(tmp_path / "sluice.socket"))
    assert done.returncode == 0 and done.stderr == "", done.stderr


def test_the_score_of_the_sandbox_is_what_the_docs_say():
    done = analyze("security", "--offline=true", str(SERVICE))
    score = re.search(r"Overall exposure level for sluice.service: ([0-9.]+) OK", done.stdout)
    assert score, done.stdout + done.stderr
    told = re.search(r"`systemd-analyze security` [^.]*?([0-9]+\.[0-9])", (ROOT / "docs" / "operations.md").read_text())
    assert told and told.group(1) == score.group(1)


def test_the_unit_names_settings_that_exist():
    """The file, the folders and the times of the unit are those that program and package use."""
    settings = sandbox.settings_of(SERVICE)
    assert settings["ExecStart"] == ["sluice serve --config /etc/sluice/sluice.yaml"]
    # The check comes first, since it is the one that can fail.
    assert settings["ExecReload"] == ["sluice check-config /etc/sluice/sluice.yaml", "/bin/kill -HUP $MAINPID"]
    assert settings["WorkingDirectory"] == ["/var/lib/sluice"] and settings["StateDirectory"] == ["sluice"]
    drain = re.search(r"shutdown_timeout: (\d+)s", (ROOT / "etc" / "sluice.yaml").read_text())
    assert int(settings["TimeoutStopSec"][0].rstrip("s")) > int(drain.group(1))


# The sandbox

@pytest.fixture(scope="module")
def namespaces():
    if sandbox.is_refused():
        pytest.skip("the kernel gives no namespaces here (not root, a chroot, or a container), and the sandbox is made of them")


CONFINED = {
    "import os; open('/etc/sluice-was-here', 'w')": "Read-only file system",
    "import os; open('here', 'w'); os.remove('here'); print('written')": "written",
    "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)": "Address family not supported",
    "import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)": "Operation not permitted",
    "import os; os.setuid(0)": signal.SIGSYS,
    "import ctypes; ctypes.CDLL(None).unshare(0x40000000)": signal.SIGSYS,
    "import ctypes; ctypes.CDLL(None).mount(b'none', b'/mnt', b'tmpfs', 0, None)": signal.SIGSYS,
    "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)": signal.SIGSYS,
    "print(open('/proc/self/status').read())": "CapBnd:\t0000000000000000",
    "open('/proc/meminfo')": "No such file",
}


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("code", CONFINED)
def test_what_the_sandbox_forbids(tmp_path, code):
    """That the tests below would notice: a program in it can't do what the unit forbids."""
    done = subprocess.run([*SANDBOXED, str(tmp_path), "/usr/bin/python3", "-c", code], cwd=tmp_path, capture_output=True,
                          text=True, check=False, timeout=LIMIT_S)
    expected = CONFINED[code]
    if isinstance(expected, signal.Signals):
        assert done.returncode == -expected, (done.returncode, done.stderr)
    else:
        assert expected in done.stdout + done.stderr, (done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="module")
def confined_build(tmp_path_factory):
    """A build folder whose `sluice serve` runs in the sandbox; all else is as it was."""
    folder, real = tmp_path_factory.mktemp("build"), pathlib.Path(binary())
    for entry in real.parent.iterdir():
        if entry.name != "sluice":
            (folder / entry.name).symlink_to(entry)
    program = folder / "sluice"
    program.write_text(f'#!/bin/sh\n[ "$1" = serve ] || exec {real} "$@"\n'
                       f'exec {" ".join(SANDBOXED)} "$PWD" {real} "$@"\n')
    program.chmod(0o755)
    return folder


@pytest.mark.usefixtures("namespaces")
@pytest.mark.parametrize("name", INSIDE)
def test_the_program_needs_nothing_that_the_unit_forbids(tmp_path, confined_build, name):
    if is_sanitized():
        pytest.skip("sanitizers make calls of their own")
    env = dict(os.environ, SLUICE_BUILD=str(confined_build))
    chosen = ["-k", INSIDE[name]] if INSIDE[name] else []
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--basetemp={tmp_path}/t",
                           str(ROOT / "tests" / "integration" / name), *chosen],
                          env=env, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE), done.stdout


MAY_NOT_RAISE = """
import errno, os, resource, seccomp, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (1000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
calls = seccomp.SyscallFilter(seccomp.ALLOW)
calls.add_rule(seccomp.ERRNO(errno.EPERM), "prlimit64", seccomp.Arg(2, seccomp.NE, 0))
calls.load()
os.execv(sys.argv[1], sys.argv[1:])
"""


def test_descriptors_that_a_sandbox_withholds_are_told(start):
    if is_sanitized():
        pytest.skip("sanitizers make calls of their own")
    server = start(before=["/usr/bin/python3", "-c", MAY_NOT_RAISE])
    assert "10000 connections need 10128 file descriptors and the system grants 1000; raise LimitNOFILE" in server.stderr


# What the service manager hears

class Manager:
    """Its end of NOTIFY_SOCKET."""

    def __init__(self, folder):
        self.path = folder / "notify"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(self.path))
        self.socket.settimeout(LIMIT_S)

    def hears(self):
        return self.socket.recv(4096).decode()

    def hears_nothing_more(self):
        self.socket.setblocking(False)
        try:
            return self.socket.recv(4096) is None
        except BlockingIOError:
            return True


def test_the_service_manager_hears_when_it_serves_reloads_and_stops(tmp_path, start):
    manager = Manager(tmp_path)
    server = start(config="limits:\n  - {name: a, limit: 3, window: 60s}\n", env={"NOTIFY_SOCKET": str(manager.path)})
    assert manager.hears() == "READY=1"
    for text, said in (("limits:\n  - {name: a, limit: 5, window: 60s}\n", "in force"), ("limits: 5\n", "nothing was changed")):
        server.config_path.write_text(text)
        assert said in server.hang_up()
        assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", manager.hears())
        assert manager.hears() == "READY=1"
    server.stop()
    assert manager.hears() == "STOPPING=1"
    assert manager.hears_nothing_more()
    manager.socket.close()


def test_a_service_manager_that_is_gone_stops_nothing(tmp_path, start):
    server = start(env={"NOTIFY_SOCKET": str(tmp_path / "nobody")})
    assert server.get("/").status == 200
    assert 'NOTIFY_SOCKET: the service manager can\'t be told "READY=1"' in server.stderr


# The port that outlives the server

def as_passed(*sockets):
    """Settings of a server that is handed these, as systemd does it: as descriptors 3, 4, …"""
    places = " ".join(f"{3 + i}<&{one.fileno()}" for i, one in enumerate(sockets))
    script = f'export LISTEN_PID=$$ LISTEN_FDS={len(sockets)}; exec "$@" {places}'
    return {"before": ["/bin/bash", "-c", script, "bash"], "pass_fds": [one.fileno() for one in sockets]}


@contextlib.contextmanager
def listening():
    """A socket that somebody else holds. Its number is far from those under which it will be passed."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen(512)
        with socket.socket(fileno=fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, 200)) as held:
            yield held


@pytest.fixture
def port():
    with listening() as held:
        yield held


def test_a_socket_that_is_passed_is_served_instead_of_listen(start, port):
    server = start(threads=3, limit="off", **as_passed(port))
    assert server.address == port.getsockname()
    assert "listen: 1 socket of the service manager instead of 127.0.0.1:0" in server.stderr
    assert {server.get("/").status for _ in range(30)} == {200}


def test_more_sockets_than_threads_are_refused(start, port):
    with listening() as other, pytest.raises(AssertionError, match="ended with 1.*more sockets are passed than server.threads"):
        start(threads=1, **as_passed(port, other))


def test_each_of_several_sockets_is_served(start, port):
    with listening() as other:
        server = start(threads=2, limit="off", **as_passed(port, other))
        for one in (port, other):
            server.address = one.getsockname()
            assert server.get("/").status == 200


def test_a_restart_behind_a_port_that_stays_drops_no_connection(start, port):
    """Who comes while no server runs waits, and is answered by the next one."""
    server = start(threads=2, limit="off", **as_passed(port))
    path = server.code_of("https://example.com/")
    address, over, wrong, answered = port.getsockname(), threading.Event(), [], [0] * 4

    def ask(i):
        while not over.is_set():
            began = sent = time.monotonic()
            try:
                with Wire(address) as wire:
                    try:
                        wire.send(build("GET", path, [("Connection", "close")]))
                    finally:
                        sent = time.monotonic()
                    status = wire.read_answer().status
            except (OSError, BrokenAnswer) as error:
                if sent - began > 0.5:
                    continue  # who has connected is waited for a second, and this machine was too busy to ask in time
                status = repr(error)
            answered[i] += 1
            if status != 302:
                wrong.append(status)

    clients = [threading.Thread(target=ask, args=(i,)) for i in range(len(answered))]
    for client in clients:
        client.start()
    try:
        for _ in range(5):
            before = list(answered)
            wait_until(lambda: all(now > then + 20 for now, then in zip(answered, before)), what="requests of every client")
            server.stop()
            with Wire(address) as wire:  # comes in between
                wire.send(build("GET", path, [("Connection", "close")]))
                server.start()
                assert wire.read_answer().status == 302
    finally:
        over.set()
        for client in clients:
            client.join()
    assert not wrong, f"{len(wrong)} of {sum(answered)} went wrong: {wrong[:5]}"
