# SPDX-License-Identifier: Apache-2.0
"""Backup and restore as docs/operations.md tells them: taken while servers are at work, put back into something empty, and
everything that was answered before the backup began is there."""
import concurrent.futures
import os
import pathlib
import shutil
import subprocess
import threading

import pytest

from support import sandbox
from support.postgres import programs
from support.server import binary
from support.waiting import LIMIT_S, wait_until

GUIDE = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md").read_text()


class Authors:
    """Clients that shorten for as long as the block lasts. `made` is {path: URL} of what has been answered."""

    def __init__(self, server, name):
        self.server, self.name, self.made, self.over = server, name, {}, threading.Event()
        self.pool = concurrent.futures.ThreadPoolExecutor(2)

    def _work(self, who):
        n = 0
        while not self.over.is_set():
            n += 1
            url = f"https://example.com/{self.name}/{who}/{n}"
            self.made[self.server.code_of(url)] = url

    def __enter__(self):
        self.futures = [self.pool.submit(self._work, who) for who in range(2)]
        return self

    def wait_for(self, more):
        before = len(self.made)
        wait_until(lambda: len(self.made) >= before + more, what="new links")

    def __exit__(self, *error):
        self.over.set()
        for future in self.futures:
            future.result(LIMIT_S)
        self.pool.shutdown()


def run(*command, **settings):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, timeout=120, **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def check_links(server, links):
    assert links
    for path, url in links.items():
        answer = server.get(path)
        assert answer.status == 302 and answer["Location"] == url, (path, answer)


def check_goes_on(server, links):
    """What is made after a restore gets codes of its own; what was there keeps its code."""
    path, url = next(iter(links.items()))
    assert server.code_of(url) == path
    assert server.code_of("https://example.com/after-the-restore") not in links


def told(words):
    """That the guide has this command."""
    assert words in GUIDE, words
    return words


def test_sqlite(start, tmp_path):
    server = start(limit="off")
    with Authors(server, "early") as authors:
        authors.wait_for(100)
        before = dict(authors.made)
        told('sqlite3 /var/lib/sluice/sluice.db ".backup /var/backups/sluice.db"')
        run("sqlite3", server.database, f".backup {tmp_path}/copy.db")
        authors.wait_for(50)
    clicked = next(iter(before))
    assert run("sqlite3", tmp_path / "copy.db", "PRAGMA integrity_check") == "ok\n"

    def put_back(folder):
        shutil.copy(tmp_path / "copy.db", folder / "sluice.db")
    restored = start(limit="off", prepare=put_back)
    check_links(restored, before)
    assert restored.get(clicked).status == 302
    check_goes_on(restored, before)


def test_sqlite_over_a_database_that_was_in_use(start, tmp_path):
    """A restore takes the files beside the database away, too: those of another database would damage it."""
    server = start(limit="off")
    kept = {server.code_of("https://example.com/kept"): "https://example.com/kept"}
    run("sqlite3", server.database, f".backup {tmp_path}/copy.db")
    lost = server.code_of("https://example.com/after-the-backup")
    server.kill()
    assert (server.folder / "sluice.db-wal").exists()
    told("rm -f /var/lib/sluice/sluice.db-wal /var/lib/sluice/sluice.db-shm")
    for name in ("sluice.db-wal", "sluice.db-shm"):
        (server.folder / name).unlink()
    shutil.copy(tmp_path / "copy.db", server.database)
    server.start()
    check_links(server, kept)
    check_goes_on(server, kept)
    assert server.get(lost).status == 404


def test_a_database_that_can_only_be_read_is_refused_at_the_start(start, tmp_path):
    """As one is that root has put back: better now than when the first author comes. The mount stands for another owner."""
    if sandbox.is_refused():
        pytest.skip("the kernel gives no namespaces here (not root, a chroot, or a container)")
    made = start()
    path = made.code_of("https://example.com/kept")
    made.stop()
    only_read = 'mount --bind sluice.db sluice.db && mount -o remount,bind,ro sluice.db && exec "$@"'
    with pytest.raises(AssertionError, match="ended with 1 .*sluice.db: can't be written by this user; give it to the user that serves"):
        start(prepare=lambda folder: shutil.copy(made.database, folder), before=["unshare", "--mount", "sh", "-c", only_read, "sh"])
    assert f"{path[1:]},https://example.com/kept" in run(binary(), "links", "export", "-", "--format", "csv",
                                                         "--links", f"sqlite:{made.database}")


def test_postgres(start_pg, postgres, database, tmp_path):
    server = start_pg()
    with Authors(server, "early") as authors:
        authors.wait_for(100)
        before = dict(authors.made)
        told("pg_dump --format=custom --file=urldb.dump")
        run(os.path.join(programs(), "pg_dump"), "--format=custom", f"--file={tmp_path}/urldb.dump", postgres.uri(database))
        authors.wait_for(50)
    empty = postgres.fresh_database()
    told("pg_restore --no-owner --dbname=")
    run(os.path.join(programs(), "pg_restore"), "--no-owner", "--exit-on-error", f"--dbname={postgres.uri(empty)}",
        tmp_path / "urldb.dump")
    restored = start_pg(links=postgres.uri(empty))
    restored.wait_until_ready()
    check_links(restored, before)
    check_goes_on(restored, before)
    # The triggers came along: a change by SQL reaches a server that has the link in its cache.
    assert "trigger" not in restored.stderr
    path = next(iter(before))
    postgres.psql(f"DELETE FROM links WHERE code = '{path[1:]}'", empty)
    wait_until(lambda: restored.get(path).status == 404, what="the deletion to be heard")


def test_redis(start, start_redis, tmp_path):
    """The states of clients: who was denied is denied after a restore into an empty Redis."""
    redis = start_redis(arguments=["--appendonly", "yes"])
    patience = {"SLUICE_LIMITER_TIMEOUT": "10s"}  # for a busy machine: all are to be decided by Redis
    server = start(arguments=["--limiter", redis.url], env=patience)
    wait_until(lambda: server.get("/readyz").body == b"ready\n", what="Redis to be found")
    assert [server.get("/", source=f"127.0.0.{i}").status for i in range(2, 30) for _ in range(11)] == ([200] * 10 + [429]) * 28
    told("redis-cli -h 10.0.0.130 --rdb /var/backups/sluice.rdb")
    run("redis-cli", "-h", redis.host, "-p", redis.port, "--rdb", tmp_path / "copy.rdb")
    redis.kill()
    empty = tmp_path / "empty"
    empty.mkdir()
    shutil.copy(tmp_path / "copy.rdb", empty / "dump.rdb")
    # First without the append-only file, which an empty Redis would prefer to the copy, as the guide says.
    restored = start_redis(port=redis.port, arguments=["--dir", str(empty), "--dbfilename", "dump.rdb"])
    assert restored.ask("DBSIZE") >= 28
    told("redis-cli -h 10.0.0.130 config set appendonly yes")
    assert restored.ask("CONFIG", "SET", "appendonly", "yes") == "OK"
    wait_until(lambda: restored.info("persistence")["aof_rewrite_in_progress"] == "0", what="the append-only file")
    other = start(arguments=["--limiter", restored.url], env=patience)
    wait_until(lambda: other.get("/readyz").body == b"ready\n", what="Redis to be found")
    assert {other.get("/", source=f"127.0.0.{i}").status for i in range(2, 30)} == {429}
    restored.kill()
    restored.arguments += ["--appendonly", "yes"]
    restored.start()
    assert restored.ask("DBSIZE") >= 28
