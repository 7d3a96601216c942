# SPDX-License-Identifier: Apache-2.0
"""`sluice links import` and `export` with PostgreSQL."""
import os
import signal
import subprocess

import pytest

from support.crowd import at_once
from support.server import binary, clean_environment, run
from support.waiting import wait_until
from test_links_cli import HEADER, RECORDS, counts, is_sanitized


def links(cwd, database_uri, *arguments, **more):
    return run("links", *arguments, "--links", database_uri, cwd=cwd, **more)


@pytest.fixture
def uri(postgres, database):
    return postgres.uri(database)


@pytest.mark.parametrize("name", ["links.csv", "links.jsonl"])
def test_round_trip_through_both_stores(tmp_path, postgres, uri, name):
    """From a file into SQLite, to PostgreSQL, to another PostgreSQL, and out: the same bytes, every time and count."""
    (tmp_path / "in.csv").write_text(RECORDS)
    assert links(tmp_path, "sqlite:first.db", "import", "in.csv").returncode == 0
    assert links(tmp_path, "sqlite:first.db", "export", name).returncode == 0
    n = RECORDS.strip().count("\n")
    done = links(tmp_path, uri, "import", name)
    assert (done.returncode, counts(done)) == (0, (n, 0, 0)), done.stderr
    assert links(tmp_path, uri, "export", "second-" + name).returncode == 0
    other = postgres.uri(postgres.fresh_database())
    assert counts(links(tmp_path, other, "import", "second-" + name)) == (n, 0, 0)
    assert links(tmp_path, other, "export", "third-" + name).returncode == 0
    first = (tmp_path / name).read_text()
    assert (tmp_path / ("second-" + name)).read_text() == first == (tmp_path / ("third-" + name)).read_text()
    assert counts(links(tmp_path, uri, "import", name)) == (0, n, 0), "an import can be repeated"


def test_what_contradicts_what(tmp_path, postgres, database, uri):
    """Of rows that contradict each other the first one counts; a URL that is there keeps its code; a code that is another
    URL's is refused."""
    (tmp_path / "first.csv").write_text("code,url\nold,http://example.org/old\n")
    assert counts(links(tmp_path, uri, "import", "first.csv")) == (1, 0, 0)
    (tmp_path / "in.csv").write_text("\n".join([
        "code,url,clicks",
        "a,http://example.org/1,5",
        "b,http://example.org/1,7",      # the URL of a
        "a,http://example.org/2,",       # the code of a
        "a,http://example.org/1,9",      # a once more
        ",http://example.org/3,",        # a code is drawn
        ",http://example.org/3,",
        "new,http://example.org/old,3",  # has a code
        "old,http://example.org/4,",     # the code of another
        "", ]))
    done = links(tmp_path, uri, "import", "in.csv")
    assert done.returncode == 1
    assert counts(done) == (2, 4, 2)
    assert "in.csv:3: already there as a; not added under the code: b" in done.stderr
    assert "in.csv:4: code belongs to another URL: a" in done.stderr
    assert "in.csv:8: already there as old; not added under the code: new" in done.stderr
    assert "in.csv:9: code belongs to another URL: old" in done.stderr
    found = {url: path for path, url in postgres.links(database).items()}
    assert sorted(found) == [f"http://example.org/{end}" for end in ("1", "3", "old")]
    assert (found["http://example.org/1"], found["http://example.org/old"]) == ("/a", "/old")
    assert postgres.psql("SELECT code, clicks FROM link_clicks JOIN links ON id = link_id", database) == [("a", "5")]


def test_disabled_links_stay_behind(tmp_path, postgres, database, uri):
    (tmp_path / "in.txt").write_text("http://example.org/1\nhttp://example.org/2\n")
    assert links(tmp_path, uri, "import", "in.txt").returncode == 0
    postgres.psql("UPDATE links SET disabled = true WHERE url LIKE '%1'", database)
    assert links(tmp_path, uri, "export", "out.txt").returncode == 0
    assert (tmp_path / "out.txt").read_text() == "http://example.org/2\n"


def test_imports_and_servers_at_once(tmp_path, start_pg, postgres, database, uri):
    """Two imports of the same URLs in opposite orders, beside a server that shortens them, too."""
    urls = [f"http://example.org/{i}" for i in range(3000)]
    (tmp_path / "up.txt").write_text("\n".join(urls) + "\n")
    (tmp_path / "down.txt").write_text("\n".join(urls[::-1]) + "\n")
    # A new link waits for the transaction of an import that has the same URL, and that for the disk, a thousand rows long.
    server = start_pg(threads=2, config="links:\n  timeout: 30s\n")

    def work(i):
        if i < 2:
            return links(tmp_path, uri, "import", ("up.txt", "down.txt")[i])
        return [server.code_of(url) for url in urls[i::30]]

    results = at_once(6, work)
    assert [done.returncode for done in results[:2]] == [0, 0], [done.stderr for done in results[:2]]
    stored = postgres.links(database)
    assert len(stored) == len(set(stored.values())) == len(urls)
    for i, paths in enumerate(results[2:], 2):
        assert [stored[path] for path in paths] == urls[i::30]
    assert sum(counts(done)[0] for done in results[:2]) + server.metrics().value("sluice_links_created_total") == len(urls)


def test_an_import_that_is_killed_is_run_again(tmp_path, postgres, database, uri):
    with open(tmp_path / "in.txt", "w", encoding="ascii") as file:
        file.writelines(f"http://example.org/{i}\n" for i in range(60000))
    process = subprocess.Popen([binary(), "links", "import", "in.txt", "--links", uri], cwd=tmp_path, env=clean_environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: postgres.value("SELECT to_regclass('links') IS NOT NULL", database) == "t" and
                   postgres.value("SELECT count(*) >= 2000 FROM links", database) == "t", what="rows")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    there = int(postgres.value("SELECT count(*) FROM links", database))
    assert there % 1000 == 0, "a transaction is all or nothing"
    imported, before, refused = counts(links(tmp_path, uri, "import", "in.txt"))
    assert (imported + before, refused) == (60000, 0) and before >= there


def peak_of_export(tmp_path, uri, name):
    """The most memory that an export took, in KiB."""
    process = subprocess.Popen([binary(), "links", "export", name, "--links", uri], cwd=tmp_path, env=clean_environment(),
                               stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    with process.stderr:
        said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, said
    return usage.ru_maxrss


def test_constant_memory(tmp_path, postgres, uri):
    """An export of 38 MB takes no more memory than one of 1 MB, but for some slack."""
    rows = [f"http://example.org/{i}/{'x' * 360}\n" for i in range(100000)]
    few = postgres.uri(postgres.fresh_database())
    for to, text in ((few, "".join(rows[:3000])), (uri, "".join(rows))):
        (tmp_path / "in.txt").write_text(text)
        assert links(tmp_path, to, "import", "in.txt").returncode == 0
    small, large = peak_of_export(tmp_path, few, "few.txt"), peak_of_export(tmp_path, uri, "out.txt")
    assert (tmp_path / "out.txt").read_text() == (tmp_path / "in.txt").read_text()
    slack = (64 if is_sanitized() else 8) * 1024
    assert large < small + slack, (small, large)


def test_what_is_not_there(tmp_path, postgres, uri):
    done = links(tmp_path, uri, "export", "out.csv")
    assert done.returncode == 1 and "holds no links of Sluice; name the right database" in done.stderr
    assert not (tmp_path / "out.csv").exists()
    (tmp_path / "in.csv").write_text(HEADER + "\n")
    done = links(tmp_path, postgres.uri("nowhere"), "import", "in.csv")
    assert done.returncode == 1 and 'database "nowhere" does not exist' in done.stderr
