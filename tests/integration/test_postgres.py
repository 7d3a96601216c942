# SPDX-License-Identifier: Apache-2.0
"""Links that many servers share in PostgreSQL: one code a URL, and changes that reach every cache."""
import re
import urllib.parse

from support.crowd import at_once
from support.waiting import wait_until
from support.wire import build

FORM = ("Content-Type", "application/x-www-form-urlencoded")


def shorten_all(server, urls):
    """Shortens in a pipeline on one connection. Returns the paths."""
    with server.connect() as wire:
        for url in urls:
            wire.send(build("POST", "/shorten", [FORM], urllib.parse.urlencode({"url": url}).encode()))
        answers = [wire.read_answer() for _ in urls]
    assert [answer.status for answer in answers] == [200] * len(urls), answers
    return [answer.json["short_url"] for answer in answers]


def test_servers_share_their_links(start_pg, postgres, database):
    one, other = start_pg(), start_pg()
    path = one.code_of("http://example.org/shared")
    assert other.get(path)["Location"] == "http://example.org/shared"
    assert other.code_of("http://example.org/shared") == path
    assert postgres.links(database) == {path: "http://example.org/shared"}


def test_concurrent_shortens_of_one_url_agree(start_pg, postgres, database):
    """Sixteen clients on two servers shorten the same 40 URLs at once, in different orders."""
    servers = [start_pg(threads=2), start_pg(threads=2)]
    urls = [f"http://example.org/{i}" for i in range(40)]

    def work(i):
        mine = urls[i:] + urls[:i] if i % 4 < 2 else (urls[i:] + urls[:i])[::-1]
        return dict(zip(mine, shorten_all(servers[i % 2], mine)))

    found = at_once(16, work)
    assert all(codes == found[0] for codes in found)
    assert postgres.links(database) == {path: url for url, path in found[0].items()}
    created = sum(server.metrics().value("sluice_links_created_total") for server in servers)
    assert created == len(urls)


def test_creates_that_gather_are_committed_together(start_pg, postgres, database):
    """While the table is locked thirty creates come; when it is free they are in the first commit or in the next."""
    server = start_pg(threads=1, config="links:\n  timeout: 30s\n")
    lock = postgres.session(database)
    lock.run("BEGIN; LOCK TABLE links IN EXCLUSIVE MODE")

    def work(i):
        if i < 30:
            return server.code_of(f"http://example.org/{i}")
        wait_until(lambda: server.metrics().value("sluice_link_writes_queued") == 30, what="thirty that wait")
        lock.close()
        return None

    paths = at_once(31, work)[:30]
    assert postgres.links(database) == {path: f"http://example.org/{i}" for i, path in enumerate(paths)}
    metrics = server.metrics()
    assert metrics.value("sluice_links_created_total") == 30
    assert metrics.value("sluice_link_commits_total") <= 2


def test_a_code_that_is_taken_is_drawn_again(start_pg, postgres, database):
    """A trigger plays the unlikely: the first three codes that are drawn belong to another link."""
    server = start_pg()
    taken = server.code_of("http://example.org/taken")
    postgres.psql("CREATE SEQUENCE draws", database)
    postgres.psql("GRANT USAGE ON SEQUENCE draws TO sluice", database)
    postgres.psql(f"""CREATE FUNCTION collide() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('draws') <= 3 THEN NEW.code := '{taken[1:]}'; END IF; RETURN NEW; END $$""", database)
    postgres.psql("CREATE TRIGGER collide BEFORE INSERT ON links FOR EACH ROW EXECUTE FUNCTION collide()", database)
    path = server.code_of("http://example.org/new")
    assert path != taken
    assert int(postgres.value("SELECT last_value FROM draws", database)) == 4
    assert server.get(path)["Location"] == "http://example.org/new"
    assert server.get(taken)["Location"] == "http://example.org/taken"


def test_a_create_that_the_database_refuses_does_not_fail_its_neighbours(start_pg, postgres, database):
    server = start_pg(threads=1)
    postgres.psql("ALTER TABLE links ADD CONSTRAINT no_evil CHECK (url NOT LIKE '%evil%')", database)
    urls = [f"http://example.org/{'evil' if i % 7 == 3 else 'good'}/{i}" for i in range(40)]
    with server.connect() as wire:
        wire.send(b"".join(build("POST", "/shorten", [FORM], urllib.parse.urlencode({"url": url}).encode()) for url in urls))
        answers = [wire.read_answer() for _ in urls]
    for url, answer in zip(urls, answers):
        assert answer.status == (503 if "evil" in url else 200), (url, answer)
        if answer.status == 503:
            assert answer["Retry-After"] == "1"
    stored = postgres.links(database)
    assert stored == {answer.json["short_url"]: url for url, answer in zip(urls, answers) if answer.status == 200}
    assert server.get("/readyz").status == 200, "what is wrong with one URL says nothing of the database"


def test_a_commit_that_fails_is_told(start_pg, postgres, database):
    """What a deferred trigger refuses fails only at the end of the transaction, after every statement has succeeded."""
    server = start_pg(threads=1)
    postgres.psql("""CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.url LIKE '%late%' THEN RAISE EXCEPTION 'too late'; END IF; RETURN NULL; END $$""", database)
    postgres.psql("CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON links DEFERRABLE INITIALLY DEFERRED"
                  " FOR EACH ROW EXECUTE FUNCTION refuse()", database)
    assert server.shorten("http://example.org/late").status == 503
    path = server.code_of("http://example.org/fine")
    assert postgres.links(database) == {path: "http://example.org/fine"}
    assert server.get(path).status == 302


def change_and_look(start_pg, postgres, database, sql, expected):
    """Changes a link that two servers have in their caches; both must notice."""
    servers = [start_pg(threads=2), start_pg(threads=2)]
    url = "http://example.org/changed"
    path = servers[0].code_of(url)
    for server in servers:
        assert server.get(path)["Location"] == url
    misses = [server.metrics().value("sluice_link_cache_misses_total") for server in servers]
    for server, before in zip(servers, misses):
        assert server.get(path)["Location"] == url
        assert server.metrics().value("sluice_link_cache_misses_total") == before, "it was not in the cache"
    postgres.psql(sql.format(code=path[1:]), database)
    for server in servers:
        wait_until(lambda server=server: expected(server, path), what="the change in the cache")
    return servers, path, url


def is_missing(server, path):
    answer = server.get(path)
    return answer.status == 404 and answer.body == b"URL not found"


def test_a_deletion_reaches_every_cache(start_pg, postgres, database):
    servers, path, url = change_and_look(start_pg, postgres, database, "DELETE FROM links WHERE code = '{code}'", is_missing)
    again = servers[1].code_of(url)
    assert again != path, "the URL had no code any more: it gets a new one"
    assert servers[0].code_of(url) == again


def test_disabling_reaches_every_cache_and_is_undone(start_pg, postgres, database):
    servers, path, url = change_and_look(start_pg, postgres, database, "UPDATE links SET disabled = true WHERE code = '{code}'",
                                         is_missing)
    assert servers[0].code_of(url) == path, "it keeps its code"
    for server in servers:
        assert is_missing(server, path), "to shorten it again does not enable it"
    postgres.psql("UPDATE links SET disabled = false", database)
    for server in servers:
        assert server.get(path)["Location"] == url


def test_a_changed_url_reaches_every_cache(start_pg, postgres, database):
    servers, path, url = change_and_look(
        start_pg, postgres, database, "UPDATE links SET url = 'http://example.org/else' WHERE code = '{code}'",
        lambda server, path: server.get(path)["Location"] == "http://example.org/else")
    assert servers[0].code_of("http://example.org/else") == path
    assert servers[0].code_of(url) != path


def test_many_deletions_and_truncate_reach_every_cache(start_pg, postgres, database):
    servers = [start_pg(), start_pg()]
    for sql in ("DELETE FROM links", "TRUNCATE links CASCADE"):
        paths = shorten_all(servers[0], [f"http://example.org/{i}" for i in range(150)])
        for server in servers:
            assert server.get(paths[0]).status == server.get(paths[149]).status == 302
        postgres.psql(sql, database)
        for server in servers:
            wait_until(lambda server=server: is_missing(server, paths[0]), what=sql)
            # One commit, and as many notifications, which are taken one after the other.
            wait_until(lambda server=server: is_missing(server, paths[149]), what=sql)


def test_links_of_psql(start_pg, postgres, database):
    """A row that an operator inserts has its hash by itself; what is no link is refused by the database."""
    server = start_pg()
    postgres.psql("INSERT INTO links (code, url) VALUES ('mine', 'http://example.org/mine')", database)
    assert server.get("/mine")["Location"] == "http://example.org/mine"
    assert server.code_of("http://example.org/mine") == "/mine"
    for code in ("", "a b", "x" * 33, "\u00e4"):
        try:
            postgres.psql(f"INSERT INTO links (code, url) VALUES ('{code}', 'http://example.org/x')", database)
        except AssertionError as error:
            assert "links_code_check" in str(error)
        else:
            raise AssertionError(f"the code {code!r} was let in")


def test_a_url_that_can_not_be_sent_is_an_error_of_its_own(start_pg, postgres, database):
    server = start_pg()
    postgres.psql("INSERT INTO links (code, url) VALUES ('bad', E'http://example.org/\\r\\nX-Evil: 1')", database)
    answer = server.get("/bad")
    assert answer.status == 500 and answer["X-Evil"] is None
    assert re.search(r"link bad: .*delete or mend it", server.stderr)
    assert server.get("/readyz").status == 200


def test_clicks_of_all_servers_are_added_up(start_pg):
    servers = [start_pg(), start_pg()]
    path = servers[0].code_of("http://example.org/clicked")
    for server in servers:
        with server.connect() as wire:
            for _ in range(50):
                wire.send(build("GET", path))
                assert wire.read_answer().status == 302
    for server in servers:
        server.stop()
    assert servers[0].clicks(path) == 100


def test_clicks_of_a_deleted_link_are_passed_over(start_pg, postgres, database):
    server = start_pg(config="links:\n  click_interval: 1h\n")
    gone, kept = server.code_of("http://example.org/gone"), server.code_of("http://example.org/kept")
    for path in (gone, kept):
        assert server.get(path).status == 302
    postgres.psql(f"DELETE FROM links WHERE code = '{gone[1:]}'", database)
    server.stop()
    assert server.clicks(kept) == 1
    assert postgres.value("SELECT count(*) FROM link_clicks", database) == "1"
    assert "lost" not in server.stderr


def test_what_waits_is_bounded(start_pg, postgres, database):
    """While the table is locked, as many operations wait as configured; the others are refused at once, and none waits
    past its time."""
    # Time enough for all thirty to come while the first eight wait.
    server = start_pg(config="links:\n  queue: 8\n  timeout: 3s\n", threads=1)
    lock = postgres.session(database)
    lock.run("BEGIN; LOCK TABLE links IN ACCESS EXCLUSIVE MODE")
    try:
        answers = at_once(30, lambda i: server.get(f"/code{i}"))
    finally:
        lock.close()
    assert {answer.status for answer in answers} == {503}
    assert all(answer["Retry-After"] == "1" for answer in answers)
    assert server.metrics().value("sluice_link_refused_total") == 22
    wait_until(lambda: server.get("/none").status == 404, what="the database again")
