# SPDX-License-Identifier: Apache-2.0
"""Commands on a machine, over SSH, as an operator gives them. One connection serves all: a handshake costs an emulated
processor a second.

Leaves out: the machine (machine.py).
"""
import os
import pathlib
import shlex
import subprocess

from support.server import DIES_WITH_US

COMMAND_LIMIT_S = 300


class Shell:
    """@param lab  the network from whose gateway it is called. @param key  the private key's file."""

    def __init__(self, lab, user, address, key):
        self.lab, self.destination, self.connection, self.is_root = lab, f"{user}@{address}", None, user == "root"
        self.path = pathlib.Path(f"/run/sluice-vm-{os.getpid()}-{address}.ssh")  # short: sun_path has 108 bytes
        # The machine's own key is made at its first boot: nobody knows it before.
        self.options = ["-i", str(key), "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o",
                        "LogLevel=ERROR", "-o", "BatchMode=yes", "-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=10",
                        "-o", f"ControlPath={self.path}"]

    def is_open(self):
        """Whether there is a connection; begins to make one if there is none."""
        if self.connection is None or self.connection.poll() is not None:
            self.path.unlink(missing_ok=True)
            self.connection = subprocess.Popen(
                [*DIES_WITH_US, *self.lab.at_the_desk(), "ssh", *self.options, "-M", "-N", self.destination],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return self.path.exists()

    def close(self):
        if self.connection is not None:
            self.connection.kill()
            self.connection.wait()
            self.connection = None
        self.path.unlink(missing_ok=True)

    def call(self, command, limit_s=COMMAND_LIMIT_S, **options):
        """A command line there. Returns what subprocess.run() does."""
        return subprocess.run([*self.lab.at_the_desk(), "ssh", *self.options, self.destination, command], capture_output=True,
                              check=False, timeout=limit_s, **options)

    def run(self, script, check=True, limit_s=COMMAND_LIMIT_S):
        """A script there, as root, which the first command that fails ends. Returns what it wrote, both streams."""
        done = self.call(f"sudo bash -euo pipefail -c {shlex.quote('exec 2>&1' + chr(10) + script)}", limit_s, text=True)
        assert not check or done.returncode == 0, f"{self.destination}: {script[-500:]}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def put(self, source, target):
        """Copies a file, which is the user's there."""
        with open(source, "rb") as file:
            done = self.call(f"cat >{shlex.quote(target)}", stdin=file)
        assert done.returncode == 0, done.stderr
