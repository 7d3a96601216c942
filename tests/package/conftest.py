# SPDX-License-Identifier: Apache-2.0
"""A bare Debian 12 in a folder of its own, made once for the tests of a run, and taken down whatever happens."""
import contextlib
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "integration"), str(HERE)]

import debs  # noqa: E402
from support.waiting import LIMIT_S, wait_until  # noqa: E402

MIRROR = os.environ.get("SLUICE_TEST_DEBIAN_MIRROR") or "http://deb.debian.org/debian"
SUITE = "bookworm"
# A mount namespace of its own: what is mounted in it goes with its last process.
ALONE = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--", "sh", "-c",
         'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"']


@pytest.fixture(scope="session")
def packages():
    return debs.built()


class Machine:
    """A Debian in a folder."""

    def __init__(self, root):
        self.root = root

    def run(self, *words, check=True, **environment):
        """Runs a command in it to its end. Its output is one text."""
        done = subprocess.run([*ALONE, str(self.root), *words], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False, timeout=600, stdin=subprocess.DEVNULL,
                              env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root",
                                   "DEBIAN_FRONTEND": "noninteractive", **environment})
        assert not check or done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def apt(self, *words):
        return self.run("apt-get", "-y", "-qq", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends", *words)

    def bring(self, package):
        """Puts a package file into it. Returns its name there."""
        shutil.copy(package, self.root / "tmp")
        return f"/tmp/{package.name}"

    @contextlib.contextmanager
    def booted(self):
        """Packages take it for a machine on which systemd runs. Gives a list: what they ask of it, when the block is over."""
        sign, asked, told = self.root / "run/systemd/system", self.root / "tmp/asked", []
        asked.unlink(missing_ok=True)
        sign.mkdir(parents=True)
        try:
            yield told
            told += asked.read_text().split("\n")[:-1]
        finally:
            sign.rmdir()

    @contextlib.contextmanager
    def running(self, *words, ready):
        """A program that runs in it while the block does, and must end with 0 on SIGTERM.

        @param ready  called with its output so far, until it is true.
        """
        output = self.root.parent / "output"
        with open(output, "wb") as file:
            process = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "chroot", str(self.root), *words], stdout=file,
                                       stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                       env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"})
        try:
            wait_until(lambda: ready(output.read_text()) or process.poll() is not None, what="it to be ready")
            assert process.poll() is None, output.read_text()
            yield output
            process.send_signal(signal.SIGTERM)
            assert process.wait(LIMIT_S) == 0, output.read_text()
        finally:
            process.kill()
            process.wait(LIMIT_S)

    def files(self):
        """Every file and folder in it but what programs keep for themselves."""
        left_out = ("proc", "sys", "dev", "tmp", "run", "var/cache", "var/lib/apt", "var/lib/dpkg", "var/log")
        found = set()
        for folder, folders, files in os.walk(self.root):
            relative = os.path.relpath(folder, self.root)
            folders[:] = [one for one in folders if os.path.normpath(os.path.join(relative, one)) not in left_out]
            found |= {os.path.normpath(os.path.join(relative, one)) for one in (*folders, *files)}
        return found


@pytest.fixture(scope="session")
def machine(tmp_path_factory):
    """Nothing but what debootstrap calls minimal."""
    if os.geteuid() != 0:
        pytest.fail("a chroot needs root: run the tests as root (CI does)", pytrace=False)
    folder = tmp_path_factory.mktemp("debian")
    root = folder / "root"
    try:
        done = subprocess.run(["debootstrap", "--variant=minbase", SUITE, str(root), MIRROR], capture_output=True, text=True,
                              check=False, timeout=900)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        # As on a machine that is being installed: services are not started. What would have been done is kept.
        (root / "usr/sbin/policy-rc.d").write_text('#!/bin/sh\necho "$@" >>/tmp/asked\nexit 101\n')
        (root / "usr/sbin/policy-rc.d").chmod(0o755)
        made = Machine(root)
        made.apt("update")
        yield made
    finally:
        subprocess.run(["umount", "-q", str(root / "proc")], check=False)  # of debootstrap, should it have been killed
        shutil.rmtree(root, ignore_errors=True)
