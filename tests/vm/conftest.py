# SPDX-License-Identifier: Apache-2.0
"""The image, the network, and what the machines have in common. `make vm-test` sets SLUICE_BUILD."""
import os
import pathlib
import sys

import pytest

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(TESTS / "integration"), str(TESTS / "topology"), str(TESTS / "package"), str(TESTS / "docker")]

import debs  # noqa: E402
from image import Image  # noqa: E402
from lab import Lab  # noqa: E402
from machine import make_key  # noqa: E402
from plant import netns  # noqa: E402


@pytest.fixture(scope="session")
def folder():
    """Where the image, and packages, are kept from one run to the next."""
    return pathlib.Path(os.environ["SLUICE_BUILD"]).resolve() / "vm"


@pytest.fixture(scope="session")
def image(folder):
    made = Image(folder)
    made.make()
    return made


@pytest.fixture(scope="session")
def lab(folder):
    missing = netns.missing()
    if missing:
        pytest.fail(missing, pytrace=False)
    made = Lab(folder)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="session")
def key(tmp_path_factory):
    """(private key's file, public key's line)."""
    return make_key(tmp_path_factory.mktemp("key"))


@pytest.fixture(scope="session")
def packages():
    return debs.built()
