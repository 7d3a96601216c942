# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL is killed, paused, cut off, restarted, full of connections: cached links go on, nothing hangs, nothing that
was answered is lost, and all is well again by itself."""
import concurrent.futures
import itertools
import re
import socket
import threading
import time

import pytest

from support.crowd import at_once
from support.forwarder import Forwarder
from support.waiting import wait_until
from support.wire import BrokenAnswer, build

FORM = ("Content-Type", "application/x-www-form-urlencoded")
LATE_S = 20  # far past any deadline here: only a request that hangs takes as long


def is_away(server):
    return server.get("/readyz").status == 503


def check_away(server, cached):
    """What must hold while the database is away."""
    for path, url in cached.items():
        answer = server.get(path)
        assert (answer.status, answer["Location"]) == (302, url)
    for answer in (server.get("/nothere"), server.shorten("http://example.org/refused")):
        assert (answer.status, answer["Retry-After"]) == (503, "1"), answer
    assert (server.get("/readyz").status, server.get("/readyz").body) == (503, b"links: not reachable\n")
    assert server.get("/healthz").status == 200
    assert server.metrics().value("sluice_links_up") == 0


def shortened(server, url):
    """The path of its short link. Asked for again while the database is too slow for a short links.timeout: a disk is busy
    now and then."""
    answer = wait_until(lambda: (answer := server.shorten(url)).status != 503 and answer, what="a link")
    assert answer.status == 200, answer
    return answer.json["short_url"]


def looked_up(server, path):
    """The answer of the database, which is asked again in the same way."""
    return wait_until(lambda: (answer := server.get(path)).status != 503 and answer, what="an answer of the database")


def fill_cache(server, n=5):
    urls = [f"http://example.org/cached/{i}" for i in range(n)]
    return {shortened(server, url): url for url in urls}


def lines_about_links(server):
    return re.findall(r"\w+ links: .*", server.stderr)


def test_killed_and_back(start_pg, postgres):
    server = start_pg(threads=2)
    cached = fill_cache(server)
    for round_ in range(2):
        postgres.kill()
        wait_until(lambda: is_away(server), what="the loss to be noticed")
        for _ in range(3):
            check_away(server, cached)
        postgres.start()
        server.wait_until_ready()
        for path, url in cached.items():
            assert server.get(path)["Location"] == url
        assert server.metrics().value("sluice_links_up") == 1
        server.code_of(f"http://example.org/after/{round_}")
    said = lines_about_links(server)
    assert len(said) <= 4 * 2, f"one line a change, not one a request: {said}"
    assert sum("there again" in line for line in said) == 2
    assert not any("secret" in line for line in said)


def test_paused_and_back(start_pg, postgres):
    """A database that neither answers nor ends connections holds nobody longer than links.timeout, and those that come
    later not at all."""
    server = start_pg(config="links:\n  timeout: 500ms\n", threads=2)
    cached = fill_cache(server)
    postgres.pause()
    try:
        began = time.monotonic()
        answers = at_once(8, lambda i: server.get(f"/wait{i}") if i % 2 else server.shorten(f"http://example.org/w/{i}"))
        assert time.monotonic() - began < LATE_S
        assert {answer.status for answer in answers} == {503}
        wait_until(lambda: is_away(server), what="the loss to be noticed")
        check_away(server, cached)
    finally:
        postgres.go_on()
    server.wait_until_ready()
    shortened(server, "http://example.org/after")
    assert looked_up(server, "/wait1").status == 404


def test_cached_links_go_on_without_a_gap(start_pg, postgres):
    """Clients follow cached links all the time that the database is paused, killed and restarted."""
    server = start_pg(config="links:\n  timeout: 500ms\n", threads=2)
    (path, url), = fill_cache(server, 1).items()
    over = threading.Event()

    def go_through_outages():
        postgres.pause()
        wait_until(lambda: is_away(server), what="the loss to be noticed")
        postgres.go_on()
        server.wait_until_ready()
        postgres.kill()
        wait_until(lambda: is_away(server), what="the loss to be noticed")
        postgres.start()
        server.wait_until_ready()

    def follow():
        n = 0
        with server.connect() as wire:
            while not over.is_set():
                wire.send(build("GET", path))
                answer = wire.read_answer()
                assert (answer.status, answer["Location"]) == (302, url)
                n += 1
        return n

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(follow) for _ in range(4)]
        try:
            go_through_outages()  # here, since a server may go with the thread that started it
        finally:
            over.set()
        counts = [client.result() for client in clients]
    assert all(n > 10 for n in counts)
    server.stop()
    assert server.clicks(path) == sum(counts), "every click is counted once, those during the outages too"


def test_starts_without_the_database_and_comes_to_life(start_pg, postgres, database):
    postgres.stop()
    server = start_pg()
    assert is_away(server)
    assert server.shorten("http://example.org/").status == 503
    assert len(lines_about_links(server)) == 1, server.stderr
    assert "Connection refused" in server.stderr
    postgres.start()
    server.wait_until_ready()
    path = server.code_of("http://example.org/")
    assert postgres.links(database) == {path: "http://example.org/"}


def test_stops_while_the_database_is_away(start_pg, postgres):
    server = start_pg()
    (path, _), = fill_cache(server, 1).items()
    postgres.kill()
    wait_until(lambda: is_away(server), what="the loss to be noticed")
    assert server.get(path).status == 302
    server.stop()
    assert "1 clicks could not be written" in server.stderr


def test_a_connection_that_is_ended_is_made_anew(start_pg, postgres, database):
    """Each of its connections in turn, as an administrator or a firewall would."""
    server = start_pg(threads=2)
    cached = fill_cache(server)
    assert len(postgres.connections(database)) == 3, "one a thread, and the keeper's"
    for pid in postgres.connections(database):
        postgres.psql(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda pid=pid: pid not in postgres.connections(database) and
                   len(postgres.connections(database)) == 3, what="a new connection")
        server.wait_until_ready()
        for path, url in cached.items():
            assert server.get(path)["Location"] == url
        assert server.get("/nothere").status == 404
    server.code_of("http://example.org/after")


def test_a_change_that_was_missed_is_caught_up_with(start_pg, postgres, database):
    """A deletion while nobody listens: the connections are cut, and the link is deleted before they are back."""
    relay = Forwarder((postgres.address, postgres.port))
    try:
        server = start_pg(links=f"postgresql://sluice@127.0.0.1:{relay.port}/{database}", threads=2)
        cached = fill_cache(server)
        gone, kept = list(cached)[:2]
        relay.cut()
        wait_until(lambda: is_away(server), what="the loss to be noticed")
        postgres.psql(f"DELETE FROM links WHERE code = '{gone[1:]}'", database)
        assert server.get(gone).status == 302, "in the cache, and nobody could tell"
        relay.mend()
        server.wait_until_ready()
        assert server.get(gone).status == 404
        assert server.get(kept)["Location"] == cached[kept]
        before = server.metrics().value("sluice_link_cache_hits_total")
        assert server.get(kept).status == 302
        assert server.metrics().value("sluice_link_cache_hits_total") == before + 1
    finally:
        relay.close()


def test_a_half_dead_connection_is_noticed(start_pg, postgres, database):
    """Packets vanish in both directions, and no connection is ever ended."""
    relay = Forwarder((postgres.address, postgres.port))
    try:
        server = start_pg(links=f"postgresql://sluice@127.0.0.1:{relay.port}/{database}", threads=2,
                          config="links:\n  timeout: 500ms\n")
        cached = fill_cache(server)
        relay.swallow()
        wait_until(lambda: is_away(server), what="the silence to be noticed")
        check_away(server, cached)
        postgres.psql(f"DELETE FROM links WHERE code = '{list(cached)[0][1:]}'", database)
        relay.mend()
        server.wait_until_ready()
        assert looked_up(server, list(cached)[0]).status == 404
        assert looked_up(server, list(cached)[1]).status == 302
    finally:
        relay.close()


def test_no_connection_is_left(start_pg, postgres, database):
    """The database has as many clients as it takes: that is said, and the server serves when there is room."""
    postgres.psql("ALTER ROLE sluice CONNECTION LIMIT 2")
    try:
        server = start_pg(threads=3)
        assert is_away(server)
        assert "too many connections" in server.stderr
    finally:
        postgres.psql("ALTER ROLE sluice CONNECTION LIMIT -1")
    server.wait_until_ready()
    server.code_of("http://example.org/")


def shorten_until_it_breaks(server, client, started, over):
    """Returns {path: url} of what was answered with 200; a 503 was not answered, and is asked again."""
    answered, n = {}, 0
    try:
        with server.connect() as wire:
            while not over.is_set():
                url = f"http://example.org/{server.starts}/{client}/{n}"
                wire.send(build("POST", "/shorten", [FORM], b"url=" + url.encode()))
                answer = wire.read_answer()
                assert answer.status in (200, 503), answer
                if answer.status == 200:
                    answered[answer.json["short_url"]] = url
                    n += 1
                    started.set()
    except (OSError, BrokenAnswer):
        pass
    return answered


@pytest.mark.parametrize("victim", ["database", "server", "both"])
def test_no_answered_link_is_lost_by_kill_9(start_pg, postgres, database, victim):
    servers, answered = [start_pg(threads=2), start_pg(threads=2)], {}
    for _ in range(2):
        started, over = [threading.Event() for _ in range(8)], threading.Event()

        def work(i, started=started, over=over):
            if i < 8:
                return shorten_until_it_breaks(servers[i % 2], i, started[i], over)
            for event in started:
                assert event.wait(30), "a client got no answer"
            wanted = len(answered) + 200
            try:
                wait_until(lambda: len(postgres.links(database)) >= wanted, what="links in the database")
                if victim != "server":
                    postgres.kill()
                if victim != "database":
                    servers[0].kill()
            finally:
                over.set()
            return {}

        for found in at_once(9, work):
            answered.update(found)
        if postgres.process is None:
            postgres.start()
        if not servers[0].alive():
            servers[0].start()
        for server in servers:
            server.starts += 1  # other URLs in the next round
            server.wait_until_ready()
        rows = postgres.links(database)
        missing = {path: url for path, url in answered.items() if rows.get(path) != url}
        assert not missing, f"{len(missing)} of {len(answered)} answered links are gone"
        assert len(set(rows.values())) == len(rows), "a URL has two codes"
    for server in servers:
        for path, url in list(answered.items())[:50]:
            assert server.get(path)["Location"] == url


def test_the_second_host_is_used(start_pg, postgres, database):
    """Multi-host URIs as libpq has them: a port where nobody listens is passed over."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        dead = nobody.getsockname()[1]
        server = start_pg(links=f"postgresql://sluice@127.0.0.1:{dead},127.0.0.1:{postgres.port}/{database}"
                                "?target_session_attrs=read-write")
        server.code_of("http://example.org/")


def test_a_database_that_only_reads(start_pg, postgres, database):
    """As after a failover to a standby: redirects work, new links are refused and that is told once."""
    server = start_pg(threads=1)
    path = server.code_of("http://example.org/")
    postgres.psql(f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    for pid in postgres.connections(database):
        postgres.psql(f"SELECT pg_terminate_backend({pid})")
    urls = (f"http://example.org/{i}" for i in itertools.count())
    wait_until(lambda: server.shorten(next(urls)).status == 503 and "cannot execute INSERT" in server.stderr, what="the refusal")
    assert server.get(path).status == 302
    assert server.get("/nothere").status == 404
    assert is_away(server)
    assert len(re.findall("cannot execute INSERT.*new links are refused", server.stderr)) == 1
    postgres.psql(f"ALTER DATABASE {database} SET default_transaction_read_only = off")
    for pid in postgres.connections(database):
        postgres.psql(f"SELECT pg_terminate_backend({pid})")
    server.wait_until_ready()  # without a request that would find out
    server.code_of(next(urls))
