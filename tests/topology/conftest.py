# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the plant. Without network namespaces its tests fail and say what is missing: skipping them would let the
promise of this program go untested without anybody noticing."""
import contextlib
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))

from plant import figures, netns  # noqa: E402
from plant.hosts import CROWD, Plant  # noqa: E402

def pytest_terminal_summary(terminalreporter):
    for line in figures.lines():
        terminalreporter.write_line(line)


@contextlib.contextmanager
def plant_in(folder):
    missing = netns.missing()
    if missing:
        pytest.fail(missing, pytrace=False)
    plant = Plant(folder, CROWD)
    try:
        yield plant
    finally:
        wrong = plant.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def plant(tmp_path):
    """An empty plant: the hosts, and nothing on them. 200 addresses more on the load host."""
    with plant_in(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def shared_plant(tmp_path_factory):
    """One for the tests of a file."""
    with plant_in(tmp_path_factory.mktemp("plant")) as made:
        yield made
