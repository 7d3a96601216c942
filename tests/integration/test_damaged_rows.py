# SPDX-License-Identifier: Apache-2.0
"""Rows that no Sluice wrote: the fault of that row alone, for the server and for an export."""
import hashlib
import json
import sqlite3

import pytest

from support.server import run

INSERT = ("INSERT INTO links (code, url, url_sha256, created_at, clicks) VALUES (?, ?, ?, 1700000000000000, 0)")


def add(database, code, url):
    with sqlite3.connect(database, timeout=30) as connection:
        connection.execute(INSERT, (code, url, hashlib.sha256((code + url).encode()).digest()))
    connection.close()


@pytest.mark.parametrize("url", ["", "http://example.org/" + "x" * 9000, "http://example.org/\r\nX: y"])
def test_a_damaged_row_is_no_failure_of_the_database(start, url):
    server = start(limit="off")
    good = server.code_of("http://example.org/good")
    add(server.database, "damaged", url)
    for _ in range(3):
        answer = server.get("/damaged")
        assert answer.status == 500 and answer.error == "The stored URL is damaged"
        assert server.get("/readyz").status == 200
    assert server.get(good).status == 302
    assert "link damaged: its row is damaged" in server.stderr


@pytest.mark.parametrize("code, shown", [("", "..."), ("a" * 40, "a" * 29 + "..."), ("ab\0cd", "ab..."),
                                         ("x\x1b[31m", "x\\x1b[31m")])
def test_an_export_leaves_a_damaged_code_out_and_goes_on(start, code, shown):
    server = start(limit="off")
    paths = [server.code_of(f"http://example.org/{i}") for i in range(2)]
    add(server.database, code, "http://example.org/of-a-damaged-code")
    paths.append(server.code_of("http://example.org/2"))
    server.stop()
    done = run("links", "export", "-", "--format", "jsonl", "--links", "sqlite:sluice.db", cwd=server.folder)
    assert [json.loads(line)["code"] for line in done.stdout.splitlines()] == [path[1:] for path in paths]
    assert done.returncode == 1 and "left out" in done.stderr
    assert "\x1b" not in done.stderr and (code == "" or shown in done.stderr)


@pytest.mark.parametrize("name", ["SLUICE_LINKS", "SLUICE_LINKS_STORE"])
def test_links_read_both_names_of_their_store(tmp_path, name):
    (tmp_path / "urls.txt").write_text("http://example.org/\n")
    done = run("links", "import", "urls.txt", cwd=tmp_path, env={name: "sqlite:other.db"})
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "other.db").exists() and not (tmp_path / "sluice.db").exists()
    wrong = run("links", "export", "-", "--format", "csv", cwd=tmp_path, env={name: "x"})
    assert wrong.returncode == 2 and name in wrong.stderr
