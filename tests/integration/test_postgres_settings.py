# SPDX-License-Identifier: Apache-2.0
"""What administrators do to databases, for other work or by mistake: settings of the cluster, limits, locks, rows that a
backup brought back. Links stay durable, deletions are heard, and what can't work says what to do."""
import signal
import socket
import time

import pytest

from support.waiting import wait_until


@pytest.fixture(autouse=True)
def settings_as_before(postgres):
    yield
    postgres.psql("ALTER SYSTEM RESET ALL", "postgres")
    postgres.psql("ALTER ROLE sluice RESET ALL", "postgres")
    postgres.psql("ALTER ROLE sluice CONNECTION LIMIT -1", "postgres")
    postgres.psql("SELECT pg_reload_conf()", "postgres")


def set_everywhere(postgres, name, value):
    """For sessions that are there and for new ones."""
    postgres.psql(f"ALTER SYSTEM SET {name} = {value}", "postgres")
    postgres.psql("SELECT pg_reload_conf()", "postgres")
    wait_until(lambda: postgres.value(f"SELECT setting FROM pg_settings WHERE name = '{name}'") == value, what="the setting")


def watch_setting(postgres, database, name):
    """A trigger notes with which setting each link is stored."""
    postgres.psql("CREATE TABLE seen (url text, setting text)", database)
    postgres.psql("GRANT INSERT ON seen TO sluice", database)
    postgres.psql(f"""CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO seen VALUES (NEW.url, current_setting('{name}')); RETURN NULL; END $$""", database)
    postgres.psql("CREATE TRIGGER see AFTER INSERT ON links FOR EACH ROW EXECUTE FUNCTION see()", database)


@pytest.mark.parametrize("when", ["before the start", "while it runs"])
def test_synchronous_commit_that_is_turned_off_for_others_is_on_for_links(start_pg, postgres, database, when):
    if when == "before the start":
        set_everywhere(postgres, "synchronous_commit", "off")
    server = start_pg(threads=1)
    watch_setting(postgres, database, "synchronous_commit")
    if when == "while it runs":
        set_everywhere(postgres, "synchronous_commit", "off")
    server.code_of("http://example.org/")
    assert postgres.value("SELECT setting FROM seen", database) == "on"


def test_sessions_that_are_idle_stay(start_pg, postgres, database):
    """idle_session_timeout is meant for clients that forget to leave. One of ours that was ended could meet a request."""
    postgres.psql("ALTER ROLE sluice SET idle_session_timeout = '200ms'", "postgres")
    server = start_pg(threads=1)
    before = sorted(postgres.connections(database))
    wait_until(lambda: postgres.value(
        "SELECT max(now() - state_change) > '1s' FROM pg_stat_activity"
        f" WHERE application_name = 'sluice' AND datname = '{database}'") == "t", what="a session that was idle for a second")
    assert sorted(postgres.connections(database)) == before
    assert "lost its connection" not in server.stderr


def test_tables_that_were_filled_past_the_sequence(start_pg, postgres, database):
    """Logical replication and COPY bring rows and leave the sequence of their ids behind: every new row collides."""
    server = start_pg(threads=1)
    postgres.psql("INSERT INTO links (id, code, url) OVERRIDING SYSTEM VALUE"
                  " SELECT n, 'copied' || n, 'http://example.org/copied/' || n FROM generate_series(1, 1000) n", database)
    refused = server.shorten("http://example.org/new")
    assert (refused.status, refused["Retry-After"]) == (503, "1")
    wait_until(lambda: "setval(" in server.stderr, what="the cure")
    asked = int(postgres.value("SELECT last_value FROM links_id_seq", database))
    wait_until(lambda: int(postgres.value("SELECT last_value FROM links_id_seq", database)) >= asked + 2,
               what="two attempts of the server's own")
    assert server.get("/readyz").status == 503 and "stored again" not in server.stderr
    cure = server.stderr.split("run: ", 1)[1].split(";", 1)[0]
    postgres.psql(cure, database)
    server.code_of("http://example.org/new")
    wait_until(lambda: server.get("/readyz").status == 200, what="ready")


def test_a_deleted_link_goes_though_the_listener_cannot_come_back(start_pg, postgres, database):
    """No connection is free for the one that listens, while those that look links up go on."""
    server = start_pg(threads=1)
    path = server.code_of("http://example.org/")
    assert server.get(path).status == 302
    postgres.psql("ALTER ROLE sluice CONNECTION LIMIT 1", "postgres")
    for pid in postgres.listeners(database):
        postgres.psql(f"SELECT pg_terminate_backend({pid})")
    wait_until(lambda: "can't be used" in server.stderr, what="the loss to be noticed")
    postgres.psql("DELETE FROM links", database)
    wait_until(lambda: server.get(path).status == 404, what="the link to be gone")


@pytest.mark.parametrize("table", ["sluice_schema", "links", "link_clicks"])
def test_an_administrators_lock_does_not_hold_up_the_end(start_pg, postgres, database, table):
    server = start_pg(threads=1, config="links:\n  timeout: 500ms\n")
    wait_until(lambda: server.shorten("http://example.org/").status == 200, what="a link")  # a busy disk may need longer
    path = server.code_of("http://example.org/")
    lock = postgres.session(database)
    lock.run(f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
    try:
        assert server.get(path).status == 302
        for pid in postgres.connections(database):
            postgres.psql(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: postgres.value("SELECT count(*) FROM pg_locks WHERE NOT granted", database) != "0",
                   what="a session that waits for the lock")
        began = time.monotonic()
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        print(f"{table}: {time.monotonic() - began:.1f} s")
    finally:
        lock.close()
    wait_until(lambda: postgres.connections(database) == [], what="the end of its sessions")


def test_a_lock_does_not_gather_sessions_that_wait(start_pg, postgres, database):
    """A server that tries again leaves nothing behind in the database."""
    server = start_pg(threads=1)
    lock = postgres.session(database)
    lock.run("BEGIN; LOCK TABLE sluice_schema IN ACCESS EXCLUSIVE MODE")
    for pid in postgres.listeners(database):
        postgres.psql(f"SELECT pg_terminate_backend({pid})")
    seen = set()

    def tried_again():
        seen.update(pid for (pid,) in postgres.psql("SELECT pid FROM pg_locks WHERE NOT granted", database))
        return len(seen) >= 3

    wait_until(tried_again, what="the third attempt")
    assert len(postgres.connections(database)) <= 2
    lock.close()
    server.wait_until_ready()


def test_a_trigger_that_was_dropped_is_told(start_pg, postgres, database):
    server = start_pg(threads=1)
    assert "trigger" not in server.stderr
    postgres.psql("ALTER TABLE links DISABLE TRIGGER sluice_links_deleted", database)
    assert "trigger" in start_pg(threads=1).stderr
    postgres.psql("DROP TRIGGER sluice_links_changed ON links", database)
    warned = start_pg(threads=1).stderr
    assert "sluice_links_changed, sluice_links_deleted" in warned and "TRUNCATE" not in warned


def test_a_search_path_that_is_empty_says_what_to_do(start_pg, postgres, database):
    postgres.psql("ALTER ROLE sluice SET search_path = ''", "postgres")
    with pytest.raises(AssertionError, match=r"no schema.*ALTER ROLE"):
        start_pg(threads=1)


@pytest.mark.parametrize("encoding", ["SQL_ASCII", "LATIN1"])
def test_databases_of_other_encodings(start_pg, postgres, database, encoding):
    postgres.psql(f"DROP DATABASE {database}", "postgres")
    postgres.psql(f"CREATE DATABASE {database} OWNER sluice ENCODING '{encoding}' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
                  "postgres")
    server = start_pg(threads=1)
    for url in ("http://example.org/%C3%A9", "http://example.org/%FF%00", "http://example.org/" + "y" * 8172):
        path = server.code_of(url)
        assert server.get(path)["Location"] == url
        assert server.code_of(url) == path
    assert server.shorten("http://example.org/é€").status in (200, 400)


def test_timeouts_that_the_administrator_set_for_others(start_pg, postgres):
    for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
        postgres.psql(f"ALTER ROLE sluice SET {name} = '1s'", "postgres")
    server = start_pg(threads=1)
    path = server.code_of("http://example.org/")
    assert server.get(path).status == 302


def test_a_user_who_would_wait_for_ever_can_stop(start):
    """connect_timeout=0 means so to libpq, and the host takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        server = start(links=f"postgresql://sluice@127.0.0.1:{silent.getsockname()[1]}/urldb?connect_timeout=0")
        wait_until(lambda: "timeout expired" in server.stderr, what="the end of the first attempt")
        server.stop()
