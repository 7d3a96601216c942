# SPDX-License-Identifier: Apache-2.0
"""The Compose of today, which Debian 12 does not have: `docker compose` where it is installed, or built from its Go module.
"""
import json
import os
import shutil
import subprocess

from support.compose import VERSION, built, installed

DEBIANS_COMPOSE = ["docker-compose"]
MODULE = "github.com/docker/compose/v5"


def go(words, folder):
    """With the lowest priority and one compiler: it takes some minutes, once."""
    env = {**os.environ, "GOFLAGS": os.environ.get("GOFLAGS", "") + " -p=1", "CGO_ENABLED": "0"}
    return subprocess.run(["nice", "-n", "19", "go", *words], cwd=folder, env=env, capture_output=True, text=True, check=True).stdout


def build(folder):
    """Builds the program in a folder, where installed() finds it."""
    program = built(folder)
    module = json.loads(go(["mod", "download", "-json", f"{MODULE}@{VERSION}"], folder))
    source = folder / "compose-source"
    shutil.rmtree(source, ignore_errors=True)
    # `go install` refuses a module with `exclude` in it, and the module cache can't be written to.
    shutil.copytree(module["Dir"], source, copy_function=shutil.copyfile)
    subprocess.run(["chmod", "-R", "u+w", str(source)], check=True)
    go(["build", "-buildvcs=false", "-trimpath", "-ldflags", f"-s -w -X {MODULE}/internal.Version={VERSION}", "-o",
        f"{program}.new", "./cmd"], source)
    os.rename(f"{program}.new", program)
    shutil.rmtree(source)


def command(folder):
    """The words that a command begins with, and None; or None, and why there is no such Compose here.

    @param folder  a pathlib.Path: where it is kept once it is built."""
    if (words := installed(folder)) is not None:
        return words, None
    if not shutil.which("go"):
        return None, "no `docker compose` here, and no Go to build it with"
    try:
        build(folder)
    except subprocess.CalledProcessError as error:
        return None, f"Compose {VERSION} can't be built: {error.stderr[-500:]}"
    return installed(folder), None
