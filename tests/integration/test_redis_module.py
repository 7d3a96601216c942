# SPDX-License-Identifier: Apache-2.0
"""Servers and the module in their Redis: it is used where it is found, together with the script on the same keys, and who
decides may change under load.

What else holds with and without it is in the other files test_redis_*.py, which run with both.
"""
import collections
import signal
import threading

import pytest

from support.module import module_path
from support.redis import is_valkey, server_version
from support.server import run, stop
from support.waiting import LIMIT_S, wait_until
from support.wire import build

LIMIT = 150
SWITCHES = 3
THREADS = 2  # a server, of those who load it: each has one request on its way
CONNECTIONS, UP = ("sluice_limiter_connections", ()), ("sluice_limiter_up", ())
MODULE_CONNECTIONS = ("sluice_limiter_module_connections", ())


@pytest.fixture
def start(start):
    """Servers with much patience: the machine may be busy, and it is not what is tested here. What the store does not
    decide is denied. They have reached it: a server waits for that at its start for a second only."""
    def start_one(redis, config="", threads=1):
        server = start(config=f"trusted_proxies: [127.0.0.0/8]\nlimiter: {{store: '{redis.url}', timeout: 10s, on_failure: closed}}\n"
                       + config, threads=threads)
        wait_until(lambda: server.metrics()[CONNECTIONS] == threads and server.metrics()[UP] == 1, what="its connections")
        return server

    return start_one


def by_module(server):
    return server.metrics()[MODULE_CONNECTIONS]


def decided_elsewhere(server):
    """How many decisions were not the store's."""
    return sum(value for (name, labels), value in server.metrics().items()
               if name == "sluice_decisions_total" and ("by", "store") not in labels)


def statuses(server, n, source=None):
    return [server.get("/", source=source).status for _ in range(n)]


def load_module(redis):
    redis.ask("MODULE", "LOAD", module_path())


def unload_module(redis):
    redis.ask("MODULE", "UNLOAD", "sluice")


# Found, and used


def test_found_at_connect(start, store):
    server = start(store, threads=2)
    assert by_module(server) == 2
    assert server.stderr.count("decides") == 1  # one line, whatever the number of threads
    assert f"its module {store.counters()['version']} decides" in server.stderr
    assert statuses(server, 12) == [200] * 10 + [429] * 2
    assert store.calls("evalsha") == 0
    assert store.calls("sluice.mtake") >= 10
    assert server.metrics()[CONNECTIONS] == 2


def test_a_server_without_it(start, start_store):
    server = start(start_store(module=False), threads=1)
    assert by_module(server) == 0
    assert "the script decides" in server.stderr and " warn " not in server.stderr
    assert statuses(server, 12) == [200] * 10 + [429] * 2


def test_loaded_later_it_is_found_with_the_next_connection(start, start_store):
    store = start_store(module=False)
    server = start(store, threads=1)
    assert statuses(server, 4) == [200] * 4
    load_module(store)
    with store.client() as client:
        client.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    wait_until(lambda: by_module(server) == 1, what="the module to be found")
    assert statuses(server, 8) == [200] * 6 + [429] * 2


def test_requests_of_one_turn_are_few_commands(start, store):
    """The server is stopped while requests come, so that it finds all of them at once."""
    clients, each = 16, 12
    server = start(store, threads=1)
    wires = [server.connect(source=f"127.0.0.{2 + i % clients}") for i in range(clients * each)]
    before = store.calls("sluice.mtake")
    stop(server.process)
    try:
        for wire in wires:
            wire.send(build("GET", "/"))
    finally:
        server.signal(signal.SIGCONT)
    answers = [wire.read_answer() for wire in wires]
    for wire in wires:
        wire.close()
    for i in range(clients):
        assert sorted(answer.status for answer in answers[i::clients]) == [200] * 10 + [429] * 2
    assert store.calls("sluice.mtake") - before <= len(wires) / 4
    assert decided_elsewhere(server) == 0


def test_ten_limits_are_all_or_nothing(start, store):
    text = "limits:\n" + "".join(f"  - {{name: l{i}, algorithm: {algorithm}, limit: {20 + i}, window: 1h}}\n" for i, algorithm in
                                 enumerate(["sliding-log", "sliding-counter", "fixed-window", "token-bucket"] * 2)) + \
        "  - {name: least, limit: 5, window: 1h}\n  - {name: all, limit: 1000, window: 1h, by: global}\n"
    server = start(store, text, threads=1)
    assert statuses(server, 8, "127.0.0.2") == [200] * 5 + [429] * 3
    assert statuses(server, 2, "127.0.0.3") == [200] * 2
    assert store.calls("evalsha") == 0
    for i in range(8):
        told = store.ask("SLUICE.PEEK", f"rate_limit:l{i}:{{127.0.0.2}}",
                         ["sliding-log", "sliding-counter", "fixed-window", "token-bucket"][i % 4], 20 + i, "1h")
        assert told[:3] == [1, 20 + i, 15 + i]
    (key,) = store.ask("KEYS", "rate_limit:all:*")
    assert store.ask("SLUICE.PEEK", key, "sliding-log", 1000, "1h")[:3] == [1, 1000, 993]


def test_inspect_and_reset(start, store, tmp_path):
    server = start(store, threads=1)
    assert statuses(server, 11) == [200] * 10 + [429]
    shown = run("inspect", "per-client:{127.0.0.1}", "--limiter", store.url, cwd=tmp_path)
    assert shown.returncode == 0 and "10" in shown.stdout, shown
    assert run("reset", "per-client:{127.0.0.1}", "--limiter", store.url, cwd=tmp_path).returncode == 0
    wait_until(lambda: server.get("/").status == 200, what="the client to be let in again")


# Rights


def with_rights(store, *rights):
    store.ask("ACL", "SETUSER", "limits", "on", ">p", "~rate_limit:*", "+@all", *rights)
    return store.url.replace("://", "://limits:p@")


class At:
    """A Redis as another user reaches it."""

    def __init__(self, url):
        self.url = url


@pytest.mark.parametrize("missing", ["-sluice.info", "-sluice.mtake"])
def test_a_user_who_may_not(start, store, missing):
    server = start(At(with_rights(store, missing)), threads=2)
    assert by_module(server) == 0
    assert "the script decides" in server.stderr
    assert server.stderr.count("the user may not call it") == 1
    assert statuses(server, 12) == [200] * 10 + [429] * 2
    assert decided_elsewhere(server) == 0


def test_a_right_that_is_taken_away(start, store):
    server = start(At(with_rights(store)), threads=1)
    assert by_module(server) == 1
    assert statuses(server, 4) == [200] * 4
    store.ask("ACL", "SETUSER", "limits", "-sluice.mtake")
    assert statuses(server, 8) == [200] * 6 + [429] * 2
    assert by_module(server) == 0
    assert "the user may not call it" in server.stderr
    assert decided_elsewhere(server) == 0


# Full


def test_a_store_that_is_full_still_denies(start, store):
    server, other = (start(store, threads=1) for _ in range(2))
    assert statuses(server, 10, "127.0.0.2") == [200] * 10
    store.ask("CONFIG", "SET", "maxmemory", "1")
    assert statuses(other, 2, "127.0.0.2") == [429] * 2
    assert decided_elsewhere(other) == 0
    assert statuses(other, 1, "127.0.0.3") == [429]
    assert decided_elsewhere(other) == 1
    assert "OOM command not allowed" in other.stderr  # Redis 6 has more words around it
    store.ask("CONFIG", "SET", "maxmemory", "0")
    assert statuses(other, 1, "127.0.0.3") == [200]
    assert by_module(other) == 1


# Switching under load


class Crowd:
    """Clients behind proxies that hammer on any servers, all with one client's name until it has been denied some times, then
    with the next one's."""

    def __init__(self):
        self.lock = threading.Lock()
        self.current = 0
        self.admitted, self.denied, self.lost = (collections.Counter() for _ in range(3))
        self.errors = []
        self.loads = {}

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for server in list(self.loads):
            self.leave(server)
        assert not self.errors, self.errors[0]

    @staticmethod
    def name(client):
        return f"10.0.{client // 250}.{client % 250}"

    def _hammer(self, server, over):
        try:
            with server.connect() as wire:
                while not over.is_set():
                    client = self.current
                    wire.send(build("GET", "/", [("X-Forwarded-For", self.name(client))]))
                    self._note(client, wire.read_answer())
        except Exception as error:  # noqa: B902  (reported at the end)
            self.errors.append(error)

    def _note(self, client, answer):
        assert answer.status in (200, 429), answer
        with self.lock:
            if answer.status == 200:
                self.admitted[client] += 1
            elif answer["Retry-After"] == "1":  # the policy's: the store was away
                self.lost[client] += 1
            else:
                self.denied[client] += 1
            if client == self.current and self.denied[client] >= 3:
                self.current += 1

    def join(self, server):
        over = threading.Event()
        self.loads[server] = over, [threading.Thread(target=self._hammer, args=(server, over)) for _ in range(THREADS)]
        for thread in self.loads[server][1]:
            thread.start()

    def leave(self, server):
        over, threads = self.loads.pop(server)
        over.set()
        for thread in threads:
            thread.join()

    def wait_for(self, requests):
        """Until so many more have been answered."""
        def answered():
            with self.lock:
                return sum(self.admitted.values()) + sum(self.denied.values())  # by the store

        until = answered() + requests
        wait_until(lambda: self.errors or answered() >= until, limit_s=2 * LIMIT_S, what=f"{requests} requests to be answered")

    def finish_client(self):
        """Until the client of now has been denied."""
        client = self.current
        wait_until(lambda: self.errors or self.current > client, limit_s=2 * LIMIT_S, what="the limit to be reached")

    def clients(self):
        """Those that were denied: they have had all that they may."""
        return [client for client in range(self.current) if self.denied[client]]


TWO_LIMITS = f"""limits:
  - {{name: few, algorithm: sliding-log, limit: {LIMIT}, window: 1h}}
  - {{name: many, algorithm: fixed-window, limit: 1000000, window: 24h}}
"""


@pytest.mark.skipif(server_version() >= (8,) and not is_valkey(), reason="unloaded from Redis 8, the module closes the connections: "
                    "the next test")
def test_switching_under_load(start, start_store):
    """From script to module, as servers come that find it, and back, as it is unloaded beneath them. Every client gets exactly
    what it may, whoever decided which part of it; and of two limits both have counted the same."""
    store = start_store(module=False)
    servers = [start(store, TWO_LIMITS, threads=1) for _ in range(2)]
    with Crowd() as crowd:
        for server in servers:
            crowd.join(server)
        for _ in range(SWITCHES):
            crowd.wait_for(200)
            load_module(store)
            servers.append(start(store, TWO_LIMITS, threads=1))
            assert by_module(servers[-1]) == 1
            before = store.calls("evalsha")
            crowd.join(servers[-1])
            wait_until(lambda: store.calls("sluice.mtake") > 100 and store.calls("evalsha") > before + 100,  # noqa: B023
                       what="both to decide")
            unload_module(store)
            wait_until(lambda: by_module(servers[-1]) == 0, what="the module to be missed")
            assert "the script decides" in servers[-1].stderr
            crowd.wait_for(200)
            crowd.leave(servers[0])
            assert decided_elsewhere(servers[0]) == 0
            servers.pop(0).stop()
        crowd.finish_client()
    for server in servers:
        assert decided_elsewhere(server) == 0, server.stderr
    load_module(store)
    assert len(crowd.clients()) >= SWITCHES
    for client in crowd.clients():
        assert crowd.admitted[client] == LIMIT
        name = Crowd.name(client)
        assert store.ask("SLUICE.PEEK", f"rate_limit:few:{{{name}}}", "sliding-log", LIMIT, "1h")[:3] == [0, LIMIT, 0]
        assert store.ask("SLUICE.PEEK", f"rate_limit:many:{{{name}}}", "fixed-window", 1000000, "24h")[2] == 1000000 - LIMIT


def test_switching_by_reconnects_under_load(start, start_store):
    """Here the same servers go from script to module: they lose their connections, and find it on the next. What was on its way
    then was taken or not, and nobody is told: such a request is denied, so a client may get less than it may by as many, and never
    more."""
    store = start_store(module=False)
    servers = [start(store, TWO_LIMITS, threads=1) for _ in range(2)]
    with Crowd() as crowd:
        for server in servers:
            crowd.join(server)
        for _ in range(SWITCHES):
            load_module(store)
            with store.client() as client:
                client.ask("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            wait_until(lambda: all(by_module(server) == 1 for server in servers), what="the module to be found")
            crowd.wait_for(200)
            unload_module(store)
            wait_until(lambda: all(by_module(server) == 0 for server in servers), what="the module to be missed")
            crowd.wait_for(200)
        crowd.finish_client()
    assert len(crowd.clients()) >= SWITCHES
    short = [LIMIT - crowd.admitted[client] for client in crowd.clients()]
    assert min(short) >= 0 and sum(short) <= SWITCHES * THREADS * len(servers), short
    limits = TWO_LIMITS.count("name:")
    assert limits * sum(crowd.lost.values()) == sum(decided_elsewhere(server) for server in servers)
