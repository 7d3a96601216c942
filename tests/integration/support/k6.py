# SPDX-License-Identifier: Apache-2.0
"""Runs the scripts of deploy/k6 in the stand-in for k6 (tests/k6), and reads what came of it.

Leaves out: the load itself; how many requests there are is the script's matter.
"""
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[3]
SCRIPTS = ROOT / "deploy" / "k6"
STAND_IN = ROOT / "tests" / "k6" / "k6.mjs"
LIMIT_S = 300  # the reference story at full length takes 2 to 3 minutes
THRESHOLDS_FAILED, SETUP_TIMEOUT, INVALID_CONFIG, SCRIPT_EXCEPTION = 99, 100, 104, 107
CROSSED = re.compile(r"thresholds on metrics '([^']*)' have been crossed")


def node():
    """The command that runs a file with modules. Debian calls the program node, too. SLUICE_TEST_NODE names another one."""
    program = os.environ.get("SLUICE_TEST_NODE") or shutil.which("node")
    assert program, "no node: install Debian's package nodejs (scripts/deps test does)"
    return [program, "--no-warnings", "--experimental-vm-modules"]


class Run:
    """A run that has ended."""

    def __init__(self, done):
        self.status, self.stdout, self.stderr = done.returncode, done.stdout, done.stderr

    @property
    def crossed(self):
        """The metrics, without tags, on which a threshold failed."""
        found = CROSSED.search(self.stderr)
        return {name.split("{")[0] for name in re.split(r", (?![^{]*\})", found.group(1))} if found else set()

    def __repr__(self):
        return f"exit status {self.status}\n{self.stdout[-3000:]}\n{self.stderr[-3000:]}"


def run_k6(script, env, *arguments, before=(), cwd=None):
    """@param script  a path, or the name of one in deploy/k6. @param env  what the script finds in __ENV.
    @param before  words before the command, which end in becoming it: to run it elsewhere."""
    path = SCRIPTS / script  # an absolute path stays as it is
    words = [word for name, value in env.items() for word in ("-e", f"{name}={value}")]
    return Run(subprocess.run([*before, *node(), str(STAND_IN), "run", *words, *arguments, str(path)], cwd=cwd, text=True,
                              capture_output=True, timeout=LIMIT_S, check=False))
