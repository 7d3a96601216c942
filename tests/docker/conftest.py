# SPDX-License-Identifier: Apache-2.0
"""The engine with every image in it, and the plant that compose.yaml makes of them."""
import os
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "integration"), str(TESTS / "topology")]

import compose_of_today  # noqa: E402
from engine import Engine  # noqa: E402
from plant_of_compose import Plant  # noqa: E402


def build_folder():
    return pathlib.Path(os.environ["SLUICE_BUILD"]).resolve() / "docker"


@pytest.fixture(scope="session")
def engine():
    made = Engine(build_folder())
    try:
        made.make_bases()
        version = ["--build-arg", "VERSION=1.2.3-4-g5678"]
        made.build("sluice", "sluice", arguments=version)
        made.build("sluice:scratch", "sluice-scratch", arguments=version)
        made.build("sluice-redis", "redis", arguments=version)
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def todays_compose(engine):
    """Where it cannot be had, Debian's does what is not about it."""
    words, why = compose_of_today.command(engine.folder)
    print(f"Compose of today: {words or why}")
    return words or compose_of_today.DEBIANS_COMPOSE


@pytest.fixture(scope="module")
def plant(engine, todays_compose, tmp_path_factory):
    """compose.yaml, up, and nothing else done."""
    made = Plant(engine, todays_compose, tmp_path_factory.mktemp("a plant"))
    try:
        made.up()
        yield made
    finally:
        made.destroy()
