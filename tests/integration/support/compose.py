# SPDX-License-Identifier: Apache-2.0
"""The Compose of today, which Debian 12 does not have, as far as it is here already. Building it: tests/docker."""
import shutil
import subprocess

VERSION = "v5.6.0"


def built(folder):
    """Where in this folder, a pathlib.Path, `make docker-test` keeps the one that it builds."""
    return folder.resolve() / f"docker-compose-{VERSION}"


def installed(folder):
    """The words that a command begins with: `docker compose`, or what was built in this folder; None where neither is."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0:
        return ["docker", "compose"]
    program = built(folder)
    return [str(program)] if program.exists() else None
