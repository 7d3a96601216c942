# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests: servers that are always ended, and ended well."""
import pytest

from support.server import Sluice


@pytest.fixture
def start(tmp_path):
    """A function that starts a server (see support/server.py for its settings). At the end of the test every server
    must stop on SIGTERM with status 0 and without a sanitizer's report."""
    servers = []

    def start_one(**settings):
        server = Sluice(tmp_path / f"server-{len(servers) + 1}", **settings)
        servers.append(server)
        return server

    yield start_one
    wrong = [problem for problem in (server.finish() for server in servers) if problem]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def sluice(start):
    """A server as it comes: 10 requests in 60 seconds a client."""
    return start()


@pytest.fixture
def unlimited(start):
    """A server without limits."""
    return start(limit="off")
