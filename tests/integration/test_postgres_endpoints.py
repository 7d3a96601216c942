# SPDX-License-Identifier: Apache-2.0
"""With links in PostgreSQL every endpoint answers as it does with SQLite: the same tests."""
import pytest

from conftest import servers_in
from support.postgres import PostgresSluice
from test_endpoints import *  # noqa: F401,F403  (pytest collects them here once more)
from test_durability import (  # noqa: F401
    test_a_stop_in_the_midst_of_traffic_breaks_no_promise, test_after_kill_9_the_same_url_has_the_same_code)


@pytest.fixture
def start(tmp_path, postgres, database):
    """In place of the fixture that starts servers with SQLite."""
    with servers_in(tmp_path, lambda folder, **settings: PostgresSluice(folder, postgres, database, **settings)) as start_one:
        yield start_one
