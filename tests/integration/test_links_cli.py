# SPDX-License-Identifier: Apache-2.0
"""`sluice links import` and `sluice links export`: what goes in comes out, and what is wrong is said."""
import errno
import fcntl
import json
import os
import pty
import re
import signal
import sqlite3
import stat
import struct
import subprocess
import termios

import pytest

from support.server import SANITIZER, binary, clean_environment, run
from support.waiting import LIMIT_S, wait_until

HEADER = "code,url,created_at,clicks,last_click_at"
COLUMNS = "code, url, created_at, clicks, last_click_at"
SUMMARY = re.compile(r"imported ([\d,]+) links? \(([\d,]+) already there, ([\d,]+) refused\) in \d+\.\d s\n")


def links(cwd, *arguments, **more):
    return run("links", *arguments, cwd=cwd, **more)


def counts(done):
    """(imported, already there, refused) of the last line."""
    match = SUMMARY.fullmatch(done.stdout)
    assert match, done.stdout
    return tuple(int(number.replace(",", "")) for number in match.groups())


def query(path, sql):
    connection = sqlite3.connect(path, timeout=LIMIT_S)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def rows(path):
    return query(path, f"SELECT {COLUMNS} FROM links ORDER BY id")


def is_sanitized():
    with open(os.path.join(os.environ.get("SLUICE_BUILD", "build"), "meson-info", "intro-buildoptions.json"),
              encoding="utf-8") as file:
        return any(option["name"] == "b_sanitize" and option["value"] != "none" for option in json.load(file))


RECORDS = "\n".join([
    HEADER,
    "a,http://a.example/,1970-01-01T00:00:00Z,0,",
    "A,http://a.example/upper,2026-01-31T12:00:00.000001Z,1,2026-01-31T12:00:00.5Z",
    '"abcdefghijklmnopqrstuvwxyz-_0123","https://b.example/?q=""x,y""&z=\'1\'#\\",2026-01-31T17:30:00+05:30,'
    "4611686018427387904,9999-12-31T23:59:59.999999Z",
    f"long,http://l.example/{'x' * (8192 - 17)},2026-01-31T12:00:00Z,12,2026-02-01T00:00:00Z",
    ",http://drawn.example/,,,",
    "",
])


@pytest.mark.parametrize("name", ["out.csv", "out.jsonl", "out.ndjson"])
def test_export_and_import_round_trip(tmp_path, name):
    done = links(tmp_path, "import", "-", "--format", "csv", stdin=RECORDS)
    assert (done.returncode, counts(done), done.stderr) == (0, (5, 0, 0), "")
    first = rows(tmp_path / "sluice.db")
    assert first[0] == ("a", "http://a.example/", 0, 0, None)
    assert first[1][2:] == (1769860800000001, 1, 1769860800500000)
    assert first[2] == ("abcdefghijklmnopqrstuvwxyz-_0123", "https://b.example/?q=\"x,y\"&z='1'#\\", 1769860800000000, 1 << 62,
                        253402300799999999)
    done = links(tmp_path, "export", name)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"exported 5 links in \d+\.\d s\n", done.stdout)
    done = links(tmp_path, "import", name, "--links", "sqlite:second.db")
    assert (done.returncode, counts(done), done.stderr) == (0, (5, 0, 0), "")
    assert rows(tmp_path / "second.db") == first
    links(tmp_path, "export", "again-" + name, "--links", "sqlite:second.db")
    assert (tmp_path / name).read_bytes() == (tmp_path / ("again-" + name)).read_bytes()
    # Once more changes nothing.
    done = links(tmp_path, "import", name, "--links", "sqlite:second.db")
    assert (done.returncode, counts(done), done.stderr) == (0, (0, 5, 0), "")
    assert rows(tmp_path / "second.db") == first


def test_formats_as_documented(tmp_path):
    links(tmp_path, "import", "-", "--format", "csv", stdin=f"{HEADER}\nabc,http://a.example/,2026-01-31T12:00:00Z,7,\n")
    csv = links(tmp_path, "export", "-", "--format", "csv")
    assert csv.stdout == f"{HEADER}\nabc,http://a.example/,2026-01-31T12:00:00Z,7,\n"  # text mode reads CRLF as LF
    assert re.fullmatch(r"exported 1 link in \d+\.\d s\n", csv.stderr)
    jsonl = links(tmp_path, "export", "-", "--format", "jsonl")
    assert json.loads(jsonl.stdout) == {"code": "abc", "url": "http://a.example/", "created_at": "2026-01-31T12:00:00Z",
                                        "clicks": 7, "last_click_at": None}
    assert links(tmp_path, "export", "-", "--format", "urls").stdout == "http://a.example/\n"


def test_plain_urls_get_codes(tmp_path):
    (tmp_path / "list.txt").write_text("http://a.example/\r\n\nhttp://b.example/\nhttp://a.example/\n")
    done = links(tmp_path, "import", "list.txt")
    assert (done.returncode, counts(done), done.stderr) == (0, (2, 1, 0), "")
    found = rows(tmp_path / "sluice.db")
    assert [row[1] for row in found] == ["http://a.example/", "http://b.example/"]
    assert all(re.fullmatch(r"[2-9A-HJ-NP-Za-km-z]{7}", row[0]) for row in found)
    assert all(row[2] > 1600000000000000 and row[3:] == (0, None) for row in found)


def test_a_list_that_people_keep(tmp_path):
    (tmp_path / "list.txt").write_text("# ours\n \t\n  http://a.example/ \t\n#" + "x" * 200000 + "\n" + " " * 200000 +
                                       "http://lost.example/\nhttp://b.example/#part\n")
    done = links(tmp_path, "import", "list.txt")
    assert done.returncode == 1 and counts(done) == (2, 0, 1)
    assert done.stderr.startswith("list.txt:5: URL must be at most 8192 bytes")
    assert [row[1] for row in rows(tmp_path / "sluice.db")] == ["http://a.example/", "http://b.example/#part"]


def test_one_is_no_plural(tmp_path):
    done = links(tmp_path, "import", "-", "--format", "urls", stdin="http://a.example/\n")
    assert done.stdout.startswith("imported 1 link (0 already there, 0 refused) in ")


def test_refused_rows_are_named_and_the_rest_imported(tmp_path):
    (tmp_path / "in.csv").write_bytes(b"\n".join([
        b"url,code,note",
        b"http://a.example/,first,x",
        b"javascript:alert(1),,x",
        b"http://b.example/\x1b[2J\xff,,x",
        b"http://c.example/,first,x",
        b"http://a.example/,other,x",
        b"http://a.example/,first,x",
        b"http://d.example/" + b"d" * 9000 + b",,x",
        b'"http://e.example/\nnext",,x',
        b"short",
        b'http://f.example/",,x',
        b"http://g.example/,metrics,x",
        b"http://h.example/,,x",
    ]))
    done = links(tmp_path, "import", "in.csv")
    assert done.returncode == 1
    assert counts(done) == (2, 2, 8)
    said = done.stderr.splitlines()
    assert sorted(said) == sorted([
        "in.csv:1: unknown columns are ignored: note",
        "in.csv:3: URL must start with http:// or https://: javascript:alert(1)",
        "in.csv:4: URL must not contain spaces, control characters or bytes beyond ASCII; percent-encode them: "
        "http://b.example/\\x1b[2J\\xff",
        "in.csv:5: code belongs to another URL: first",
        "in.csv:6: already there as first; not added under the code: other",
        "in.csv:8: URL must be at most 8192 bytes: http://d.example/" + "d" * 63 + "...",
        "in.csv:9: URL must not contain spaces, control characters or bytes beyond ASCII; percent-encode them: "
        "http://e.example/\\x0anext",
        "in.csv:11: 1 field where the header names 3: short",
        "in.csv:12: a quote inside a field that is not quoted",
        "in.csv:13: code must be 1 to 32 of A-Z a-z 0-9 _ - and not the name of a page: metrics",
    ])
    assert [row[1] for row in rows(tmp_path / "sluice.db")] == ["http://a.example/", "http://h.example/"]


def test_a_file_without_a_header_is_refused(tmp_path):
    (tmp_path / "in.csv").write_text("http://a.example/,abc\n")
    done = links(tmp_path, "import", "in.csv")
    assert done.returncode == 1
    assert done.stderr == ("in.csv:1: the first line must name the columns (code,url,created_at,clicks,last_click_at; "
                           'url is needed); it begins with "http://a.example/"\n')
    assert counts(done) == (0, 0, 0)


@pytest.mark.parametrize("arguments, said", [
    ([], "import or export is missing"),
    (["import"], "FILE is missing"),
    (["import", ""], "FILE is missing"),
    (["move", "x.csv"], '"move" is neither import nor export'),
    (["import", "a.csv", "b.csv"], "not also b.csv"),
    (["import", "a.csv", "--nope"], "no such flag: --nope"),
    (["import", "a.csv", "--fromat", "csv"], "sluice links: no such flag: --fromat; did you mean --format?"),
    (["import", "a.csv", "--links=a", "-xy"], "sluice links: no such flag: -x; see sluice links --help"),
    (["import", "a.csv", "--links", "o.db"], '"o.db" is not a store; write sqlite:o.db'),
    (["import", "a.csv", "--links"], "a value is missing after --links"),
    (["import", "a.csv", "--links", "mysql:x"], 'no store "mysql:"'),
    (["import", "a.csv", "--links", "sqlite::memory:"], "inside a running server"),
    (["import", "a.csv", "--format", "xml"], "must be csv, jsonl or urls, not xml"),
    (["import", "-"], "give --format csv, jsonl or urls"),
    (["export", "links.db"], "give --format csv, jsonl or urls"),
])
def test_wrong_usage(tmp_path, arguments, said):
    done = links(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_help(tmp_path):
    done = links(tmp_path, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage: sluice links import|export FILE")


def test_the_store_is_found_as_the_server_finds_it(tmp_path):
    url = "http://a.example/\n"
    links(tmp_path, "import", "-", "--format", "urls", stdin=url, env={"SLUICE_LINKS": "sqlite:from-env.db"})
    assert len(rows(tmp_path / "from-env.db")) == 1
    links(tmp_path, "import", "-", "--format", "urls", "--links=sqlite:flag.db", stdin=url,
          env={"SLUICE_LINKS": "sqlite:from-env-2.db"})
    assert len(rows(tmp_path / "flag.db")) == 1 and not (tmp_path / "from-env-2.db").exists()
    done = links(tmp_path, "import", "-", "--format", "urls", stdin=url, env={"SLUICE_LINKS": "nonsense"})
    assert done.returncode == 2 and "SLUICE_LINKS" in done.stderr and "nonsense" in done.stderr


def test_what_is_not_there(tmp_path):
    done = links(tmp_path, "import", "none.csv")
    assert done.returncode == 1 and "none.csv: can't be read: No such file or directory" in done.stderr
    done = links(tmp_path, "export", "out.csv")
    assert done.returncode == 1 and "sluice.db: can't be opened: No such file or directory" in done.stderr
    (tmp_path / "in.txt").write_text("http://a.example/\n")
    assert links(tmp_path, "import", "in.txt").returncode == 0
    done = links(tmp_path, "export", "none/out.csv")
    assert done.returncode == 1
    assert "none/out.csv: can't be written: No such file or directory; create its folder first\n" in done.stderr
    done = links(tmp_path, "import", "in.txt", "--links", "sqlite:no/folder.db")
    assert done.returncode == 1 and "create its folder first" in done.stderr
    done = links(tmp_path, "import", ".", "--format", "csv")
    assert done.returncode == 1 and os.strerror(errno.EISDIR) in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.txt", "sluice.db"]


def test_an_export_that_fails_leaves_the_old_file(tmp_path):
    (tmp_path / "out.csv").write_text("precious")
    (tmp_path / "sluice.db").write_text("no database at all, but long enough to be looked at " * 100)
    done = links(tmp_path, "export", "out.csv")
    assert done.returncode == 1 and "not a SQLite database" in done.stderr
    assert (tmp_path / "out.csv").read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "sluice.db"]


def test_an_export_keeps_the_rights_of_the_file(tmp_path):
    links(tmp_path, "import", "-", "--format", "urls", stdin="http://a.example/\n")
    (tmp_path / "out.csv").write_text("old")
    (tmp_path / "out.csv").chmod(0o640)
    assert links(tmp_path, "export", "out.csv").returncode == 0
    assert stat.S_IMODE((tmp_path / "out.csv").stat().st_mode) == 0o640
    assert (tmp_path / "out.csv").read_text().startswith(HEADER)


def test_an_export_to_a_full_disk_fails(tmp_path):
    links(tmp_path, "import", "-", "--format", "urls", stdin="http://a.example/\n")
    done = links(tmp_path, "export", "/dev/full", "--format", "csv")
    assert done.returncode == 1 and os.strerror(errno.ENOSPC) in done.stderr


def test_a_row_changed_by_hand_is_left_out_and_named(tmp_path):
    links(tmp_path, "import", "-", "--format", "csv", stdin="code,url\ngood,http://a.example/\nbad,http://b.example/\n")
    connection = sqlite3.connect(tmp_path / "sluice.db")
    with connection:
        connection.execute("UPDATE links SET url = 'http://b.example/' || char(10) WHERE code = 'bad'")
    connection.close()
    done = links(tmp_path, "export", "out.csv")
    assert done.returncode == 1
    assert "bad" in done.stderr and "exported 1 link (1 left out)" in done.stdout
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2


class Running:
    """A command that runs while the test does something. Its standard input is a pipe."""

    def __init__(self, cwd, *arguments, **more):
        self.process = subprocess.Popen([binary(), "links", *arguments], cwd=cwd, stdin=subprocess.PIPE,
                                        env=clean_environment(), **more)

    def write(self, data):
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=LIMIT_S)


@pytest.fixture
def running():
    """Starts commands, and ends those that are still there when the test is over."""
    started = []

    def start(*arguments, **more):
        started.append(Running(*arguments, **more))
        return started[-1]

    yield start
    for command in started:
        command.end()


def count(path):
    try:
        return query(path, "SELECT count(*) FROM links")[0][0]
    except sqlite3.OperationalError:
        return 0  # no table yet


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_import_finishes_what_it_has_read(tmp_path, running, number):
    command = running(tmp_path, "import", "-", "--format", "urls", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command.write(b"".join(b"http://a.example/%d\n" % i for i in range(2500)) + b"http://a.example/cut-sho")
    wait_until(lambda: count(tmp_path / "sluice.db") >= 2000, what="two transactions")
    command.process.send_signal(number)
    out, err = command.process.communicate(timeout=LIMIT_S)
    assert command.process.returncode == 128 + number
    assert not SANITIZER.search(err.decode()) and err == b""
    said = re.fullmatch(r"interrupted; run it again to go on: imported (2,\d\d\d) links \(0 already there, 0 refused\) in .* s\n",
                        out.decode())
    assert said, out
    imported = int(said.group(1).replace(",", ""))
    assert 2000 <= imported <= 2500  # as far as it had read when the signal came
    assert count(tmp_path / "sluice.db") == imported
    assert query(tmp_path / "sluice.db", "SELECT count(*) FROM links WHERE url LIKE '%cut%'") == [(0,)]


def test_an_import_that_was_killed_is_run_again(tmp_path, running):
    urls = b"".join(b"http://a.example/%d\n" % i for i in range(3000))
    command = running(tmp_path, "import", "-", "--format", "urls", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command.write(urls[:urls.index(b"/2500\n")])
    wait_until(lambda: count(tmp_path / "sluice.db") >= 1000, what="a transaction")
    command.process.kill()
    command.process.communicate(timeout=LIMIT_S)
    before = dict(query(tmp_path / "sluice.db", "SELECT url, code FROM links"))
    done = links(tmp_path, "import", "-", "--format", "urls", stdin=urls.decode())
    assert done.returncode == 0
    assert counts(done) == (3000 - len(before), len(before), 0)
    after = dict(query(tmp_path / "sluice.db", "SELECT url, code FROM links"))
    assert len(after) == 3000 and after.items() >= before.items()
    assert query(tmp_path / "sluice.db", "PRAGMA integrity_check") == [("ok",)]


def test_two_imports_at_once(tmp_path, running):
    urls = b"".join(b"http://a.example/%d\n" % i for i in range(5000))
    both = [running(tmp_path, "import", "-", "--format", "urls", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            for _ in range(2)]
    for command in both:
        command.write(urls)
        command.process.stdin.close()
    imported = there = 0
    for command in both:
        command.process.stdin = None
        out, err = command.process.communicate(timeout=LIMIT_S)
        assert (command.process.returncode, err) == (0, b"")
        numbers = [int(n.replace(",", "")) for n in SUMMARY.fullmatch(out.decode()).groups()]
        imported, there = imported + numbers[0], there + numbers[1]
    assert (imported, there) == (5000, 5000)
    assert count(tmp_path / "sluice.db") == 5000


def test_an_import_beside_a_server(start, running):
    """Neither fails, whoever holds the lock; the server follows imported links at once."""
    server = start(limit="off")
    command = running(server.folder, "import", "-", "--format", "csv", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    command.write(b"code,url\n")
    own = {}
    for part in range(20):
        command.write(b"".join(b"i%d,http://imported.example/%d\n" % (i, i) for i in range(part * 1000, part * 1000 + 1000)))
        for i in range(5):
            url = f"http://created.example/{part}/{i}"
            own[url] = server.code_of(url)
    own["http://imported.example/7"] = "/i7"
    command.process.stdin.close()
    command.process.stdin = None
    out, err = command.process.communicate(timeout=LIMIT_S)
    assert (command.process.returncode, err) == (0, b"")
    assert SUMMARY.fullmatch(out.decode()).group(1) == "20,000"
    for url, path in own.items():
        answer = server.get(path)
        assert (answer.status, answer["Location"]) == (302, url)
        assert server.code_of(url) == path
    assert server.rows("SELECT count(*) FROM links") == [(20100,)]
    done = links(server.folder, "export", "all.csv")
    assert done.returncode == 0 and "exported 20,100 links" in done.stdout


@pytest.mark.parametrize("columns, form", [
    (0, rb"importing +\d+% \[[#.]{8,24}\]  [\d,]+ links  [\d,]+/s  \d+:\d\d left"),  # 80 are taken for granted
    (80, rb"importing +\d+% \[[#.]{8,24}\]  [\d,]+ links  [\d,]+/s  \d+:\d\d left"),
    (66, rb"importing +\d+% \[[#.]{6,16}\]  [\d,]+ links  [\d,]+/s  \d+:\d\d left"),
    (54, rb"importing +\d+% \[[#.]{6,16}\]  [\d,]+ links  [\d,]+/s"),
    (20, rb"importing +\d+%  [\d,]+.*"),
])
def test_a_progress_bar_on_a_terminal_only(tmp_path, columns, form):
    (tmp_path / "in.txt").write_text("".join(f"http://a.example/{i}\n" for i in range(60000)))
    assert links(tmp_path, "import", "in.txt", "--links", "sqlite:plain.db").stderr == ""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = subprocess.Popen([binary(), "links", "import", "in.txt"], cwd=tmp_path, stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=theirs, env=clean_environment({"TERM": "xterm"}))
    os.close(theirs)
    drawn = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # EIO: the other side is closed
            break
        if not piece:
            break
        drawn += piece
    os.close(ours)
    out, _ = command.communicate(timeout=LIMIT_S)
    assert command.returncode == 0 and SUMMARY.fullmatch(out.decode())
    frames = drawn.split(b"\r\x1b[K")
    assert frames[0] == b"" and frames[-1] == b""  # it begins at the left and cleans up behind itself
    assert len(frames) >= 3
    for frame in frames[1:-1]:
        assert re.fullmatch(form, frame), frame
        assert len(frame) < (columns or 80)


@pytest.mark.skipif(is_sanitized(), reason="a sanitizer needs memory of its own")
def test_constant_memory(tmp_path):
    """Less memory than the file has bytes, SQLite's page cache of 16 MB included."""
    with open(tmp_path / "in.txt", "w", encoding="ascii") as file:
        for i in range(400000):
            file.write(f"http://a.example/{'x' * 80}/{i}\n")
    limit_kib = 32768
    assert (tmp_path / "in.txt").stat().st_size > limit_kib * 1024
    for arguments in ("import in.txt", "export out.csv", "export out.jsonl"):
        done = subprocess.run(["sh", "-c", f"ulimit -d {limit_kib}; exec '{binary()}' links {arguments}"], cwd=tmp_path,
                              env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
        assert (done.returncode, done.stderr) == (0, "")
    # The limit bites: with far less it fails, and says so.
    done = subprocess.run(["sh", "-c", f"ulimit -d 4096; exec '{binary()}' links import in.txt --links sqlite:b.db"],
                          cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode != 0 and "memory" in done.stderr
