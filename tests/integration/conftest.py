# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the system tests: servers that are always ended, and ended well."""
import contextlib

import pytest

from support.module import ModuleRedis
from support.postgres import Postgres, PostgresSluice
from support.redis import Redis
from support.server import Sluice


@contextlib.contextmanager
def servers_in(folder, make=Sluice):
    """Gives a function that starts a server (see support/server.py for its settings). At the end every server must stop
    on SIGTERM with status 0 and without a sanitizer's report."""
    servers = []

    def start_one(**settings):
        server = make(folder / f"server-{len(servers) + 1}", **settings)
        servers.append(server)
        return server

    try:
        yield start_one
    finally:
        wrong = [problem for problem in (server.finish() for server in servers) if problem]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def start(tmp_path):
    """Starts servers that live as long as the test."""
    with servers_in(tmp_path) as start_one:
        yield start_one


@pytest.fixture(scope="module")
def start_shared(tmp_path_factory):
    """Starts servers that live as long as the tests of one file."""
    with servers_in(tmp_path_factory.mktemp("shared")) as start_one:
        yield start_one


@pytest.fixture
def sluice(start):
    """A server as it comes: 10 requests in 60 seconds a client."""
    return start()


@pytest.fixture
def unlimited(start):
    """A server without limits."""
    return start(limit="off")


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL that lives as long as the tests of one file, always running when a test begins."""
    server = Postgres()
    try:
        yield server
    finally:
        server.close()


@pytest.fixture
def database(postgres):
    """The name of a fresh database in it."""
    if postgres.process is None:
        postgres.start()
    return postgres.fresh_database()


@pytest.fixture
def start_pg(tmp_path, postgres, database):
    """Starts servers whose links are all in the same fresh database."""

    def make(folder, **settings):
        settings.setdefault("limit", "off")
        return PostgresSluice(folder, postgres, database, **settings)

    with servers_in(tmp_path, make) as start_one:
        yield start_one


@contextlib.contextmanager
def redis_in(folder, make=Redis):
    """Gives a function that starts a Redis (see support/redis.py for its settings). At the end none may have died."""
    servers = []

    def start_one(**settings):
        servers.append(make(folder / f"redis-{len(servers) + 1}", **settings))
        return servers[-1]

    try:
        yield start_one
    finally:
        wrong = [problem for problem in (server.finish() for server in servers) if problem]
    assert not wrong, "\n".join(wrong)


@pytest.fixture
def start_redis(tmp_path):
    """Starts Redis servers that live as long as the test."""
    with redis_in(tmp_path) as start_one:
        yield start_one


@pytest.fixture
def redis(start_redis):
    return start_redis()


@pytest.fixture
def start_store(tmp_path):
    """Starts servers with our module (see support/module.py) that live as long as the test."""
    with redis_in(tmp_path, ModuleRedis) as start_one:
        yield start_one


@pytest.fixture(params=[False, True], ids=["script", "module"])
def start_either(request, start_store):
    """Starts servers without our module, and again with it."""
    return lambda **settings: start_store(module=request.param, **settings)


@pytest.fixture
def store(start_store):
    return start_store()


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory):
    """A server with our module that lives as long as the tests of one file."""
    with redis_in(tmp_path_factory.mktemp("store"), ModuleRedis) as start_one:
        yield start_one()
