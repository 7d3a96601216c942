# SPDX-License-Identifier: Apache-2.0
"""The tables: made once by whoever comes first, used by who may, refused with the cure otherwise; and how one connects."""
import re
import shutil
import subprocess
import threading

import pytest

from support.crowd import at_once
from support.postgres import Postgres, PostgresSluice
from support.server import run
from support.waiting import wait_until


def refused(start_pg, **settings):
    """What a server says that does not start."""
    with pytest.raises(AssertionError) as caught:
        start_pg(**settings)
    said = str(caught.value)
    assert "ended with 1 before it served" in said, said
    return said


def test_ten_servers_start_at_once_on_an_empty_database(postgres, database, tmp_path):
    """Each is started and ended by a thread of its own: a server goes with the thread that started it."""
    everybody = threading.Barrier(10, timeout=60)

    def work(i):
        # Patient with a database that is slow to take ten at once: it is not what is tested here.
        server = PostgresSluice(tmp_path / f"server-{i}", postgres, database, limit="off", threads=1, config="links:\n  timeout: 30s\n")
        server.wait_until_ready()
        path = server.code_of("http://example.org/")
        everybody.wait()
        server.stop()
        assert " error " not in server.stderr, server.stderr
        return path

    paths = set(at_once(10, work))
    assert postgres.links(database) == {path: "http://example.org/" for path in paths} and len(paths) == 1
    assert postgres.psql("SELECT version FROM sluice_schema", database) == [("1",)]


def test_a_user_without_create_rights_works_on_tables_that_are_there(start_pg, postgres, database):
    owner = start_pg()
    path = owner.code_of("http://example.org/")
    postgres.psql("DROP ROLE IF EXISTS guest", "postgres")
    postgres.psql("CREATE ROLE guest LOGIN", "postgres")
    try:
        said = refused(start_pg, links=postgres.uri(database, "guest"))
        grants = re.search(r"may not read the tables of links; as their owner: (GRANT .*)\n", said)
        assert grants and "UPDATE ON links" not in said, said
        postgres.psql(grants.group(1), database)  # the cure is taken as it was given, and is enough
        guest = start_pg(links=postgres.uri(database, "guest"))
        assert guest.get(path).status == 302
        guest.stop()
        postgres.psql("REVOKE ALL ON sluice_schema, links, link_clicks FROM guest", database)
        postgres.psql("GRANT SELECT ON sluice_schema TO guest; GRANT SELECT ON links, link_clicks TO guest", database)
        said = refused(start_pg, links=postgres.uri(database, "guest"))
        grants = re.search(r"as the owner of the tables: (GRANT .*; GRANT .*)\n", said)
        assert grants, said
        postgres.psql(grants.group(1), database)  # the cure is taken as it was given
        guest = start_pg(links=postgres.uri(database, "guest"))
        assert guest.get(path).status == 302
        other = guest.code_of("http://example.org/guest")
        owner.stop()
        guest.stop()
        assert guest.clicks(path) == 2
        postgres.psql(f"DELETE FROM links WHERE code = '{other[1:]}'", database)
    finally:
        postgres.psql("DROP OWNED BY guest", database)
        postgres.psql("DROP ROLE guest", "postgres")


def test_a_user_who_may_not_create_is_told(start_pg, postgres, database):
    postgres.psql("CREATE ROLE stranger LOGIN", "postgres")
    try:
        said = refused(start_pg, links=postgres.uri(database, "stranger"))
        assert "may not make tables in schema public" in said and 'GRANT CREATE ON SCHEMA "public" TO "stranger"' in said
        assert postgres.psql("SELECT to_regclass('links') IS NULL", database) == [("t",)]
    finally:
        postgres.psql("DROP ROLE stranger", "postgres")


def test_a_newer_schema_is_refused(start_pg, postgres, database):
    start_pg().stop()
    postgres.psql("UPDATE sluice_schema SET version = 99", database)
    said = refused(start_pg)
    assert "written by a newer Sluice (schema version 99, this program knows up to 1)" in said
    done = run("links", "export", "-", "--format", "csv", "--links", postgres.uri(database), cwd="/")
    assert done.returncode == 1 and "newer Sluice" in done.stderr


def test_a_table_of_another_program_is_left_alone(start_pg, postgres, database):
    postgres.psql("CREATE TABLE links (a int)", database)
    assert 'a table "links" of another program' in refused(start_pg)
    assert postgres.psql("SELECT count(*) FROM links", database) == [("0",)]
    postgres.psql("CREATE SCHEMA mine AUTHORIZATION sluice", database)  # the cure that was named
    server = start_pg(links=postgres.uri(database, options="?options=-csearch_path%3Dmine"))
    server.code_of("http://example.org/")
    assert postgres.psql("SELECT count(*) FROM mine.links", database) == [("1",)]


@pytest.mark.parametrize("uri, said", [
    ("postgresql://u:hidden@h/d?ssl_mode=require", 'invalid URI query parameter: "ssl_mode"'),
    ("postgresql://u:hid%zzden@h/d", "invalid percent-encoded token"),
    ("postgresql://u:hidden@[::1/d", "end of string reached"),
])
def test_a_uri_that_can_not_be_read(tmp_path, uri, said):
    done = run("serve", "--links", uri, cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr and "hid" not in done.stderr and "postgresql://USER@HOST:PORT/DATABASE" in done.stderr


def test_a_database_that_is_not_there_is_told(start_pg, postgres):
    server = start_pg(links=postgres.uri("nowhere"))
    wait_until(lambda: 'database "nowhere" does not exist' in server.stderr, what="the reason")
    assert server.get("/readyz").status == 503


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A PostgreSQL that takes TLS connections with a password only, and the certificate of its authority."""
    folder = tmp_path_factory.mktemp("certificates")
    for name, subject, more in (("ca", "/CN=Test CA", ("-x509",)), ("server", "/CN=localhost", ())):
        openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", subject, *more, "-keyout",
                str(folder / f"{name}.key"), "-out", str(folder / f"{name}.{'crt' if more else 'csr'}"))
    openssl("x509", "-req", "-in", str(folder / "server.csr"), "-CA", str(folder / "ca.crt"), "-CAkey", str(folder / "ca.key"),
            "-CAcreateserial", "-days", "2", "-out", str(folder / "server.crt"))
    server = Postgres(hba="local all all trust\nhostssl all all all scram-sha-256\n")
    try:
        for name in ("server.crt", "server.key"):
            path = server.write(name, (folder / name).read_text())
            subprocess.run(["chmod", "600", path], check=True)
        server.append("postgresql.conf", "ssl = on\n")
        server.restart()
        yield server, folder / "ca.crt"
    finally:
        server.close()
        shutil.rmtree(folder)


def tls_uri(server, mode, host="localhost", login="sluice:secret", ca=None):
    root = f"&sslrootcert={ca}" if ca else ""
    return f"postgresql://{login}@{host}:{server.port}/urldb?sslmode={mode}{root}"


def test_tls_with_full_verification(start, secured):
    server, ca = secured
    sluice = start(links=tls_uri(server, "verify-full", ca=ca), limit="off")
    path = sluice.code_of("http://example.org/tls")
    assert sluice.get(path)["Location"] == "http://example.org/tls"
    found = server.psql("SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sluice'")
    assert found == [("t",)]
    server.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'")
    wait_until(lambda: sluice.shorten("http://example.org/again").status == 200, what="new TLS connections")


@pytest.mark.parametrize("settings, said", [
    ({"mode": "verify-full", "host": "127.0.0.1"}, "does not match host name"),
    ({"mode": "disable"}, "no pg_hba.conf entry"),
    ({"mode": "verify-full", "login": "sluice:wrongword"}, "password authentication failed"),
    ({"mode": "verify-full", "login": "sluice"}, "no password supplied"),
])
def test_a_connection_that_is_refused_is_told(start, secured, settings, said):
    server, ca = secured
    sluice = start(links=tls_uri(server, ca=ca, **settings), limit="off")
    wait_until(lambda: said in sluice.stderr, what=said)  # a server starts also while its first attempt goes on
    assert "wrongword" not in sluice.stderr and "secret" not in sluice.stderr
    assert sluice.get("/readyz").status == 503


def test_the_password_may_come_from_the_environment_or_a_file(start, secured, tmp_path):
    server, ca = secured
    uri = tls_uri(server, "verify-full", login="sluice", ca=ca)
    start(links=uri, limit="off", env={"PGPASSWORD": "secret"}).code_of("http://example.org/env")
    passwords = tmp_path / "pgpass"
    passwords.write_text("localhost:*:urldb:sluice:secret\n")
    passwords.chmod(0o600)
    start(links=uri, limit="off", env={"PGPASSFILE": str(passwords)}).code_of("http://example.org/file")


def test_a_service_file(start, secured, tmp_path):
    server, ca = secured
    services = tmp_path / "pg_service.conf"
    services.write_text(f"[links]\nhost=localhost\nport={server.port}\ndbname=urldb\nuser=sluice\npassword=secret\n"
                        f"sslmode=verify-full\nsslrootcert={ca}\nconnect_timeout=5\napplication_name=mine\n")
    start(links="postgresql://?service=links", limit="off", env={"PGSERVICEFILE": str(services)}).code_of("http://example.org/s")
    assert server.psql("SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'mine'") == [("t",)]
