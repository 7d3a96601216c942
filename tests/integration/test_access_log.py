# SPDX-License-Identifier: Apache-2.0
"""The access log: one true line a request, whatever was sent."""
import json
import pathlib
import re
import time

import pytest

from support import sandbox
from support.server import READY
from support.waiting import wait_until
from support.wire import build

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = "log:\n  access: json\n"
JSON_KEYS = ["time", "client", "method", "path", "status", "bytes", "duration_us", "decision"]


def raw_lines(server):
    return [line for line in server.stdout.split("\n") if line and not READY.match(line)]


def story(server):
    """One request of each kind, one after the other on one connection, so that one thread logs them in order."""
    with server.connect(source="127.0.0.8") as wire:
        def ask(*request, **more):
            wire.send(build(*request, **more))
            return wire.read_answer(head_only=request[0] == "HEAD")

        path = ask("POST", "/shorten", [FORM], b"url=http://example.org/").json["short_url"]
        ask("GET", path + "?a=b")
        ask("HEAD", "/")
        ask("GET", "/nothing")
        ask("DELETE", "/")
        ask("GET", "/")
        ask("GET", "/healthz")
    return path


def check_story(lines, path, began, ended):
    assert [(line["method"], line["path"], line["status"], line["bytes"], line["decision"]) for line in lines] == [
        ("POST", "/shorten", 200, len('{"short_url":"/1234567"}'), "allowed"),
        ("GET", path + "?a=b", 302, 0, "allowed"),
        ("HEAD", "/", 200, 0, "allowed"),
        ("GET", "/nothing", 404, len("URL not found"), "allowed"),
        ("DELETE", "/", 405, len('{"error":"Method not allowed"}'), "allowed"),
        ("GET", "/", 429, len('{"error":"Rate limit exceeded"}'), "denied"),
        ("GET", "/healthz", 200, len("ok\n"), "-"),
    ]
    assert {line["client"] for line in lines} == {"127.0.0.8"}
    for line in lines:
        assert began - 0.001 <= line["start"] <= line["end"] <= ended + 0.001
    assert [line["end"] for line in lines] == sorted(line["end"] for line in lines)


@pytest.mark.parametrize("config", ["", JSON], ids=["text", "json"])
def test_fields_are_right(start, config):
    server = start(limit="5/60s", config=config or None)
    began = time.time()
    path = story(server)
    lines = server.wait_for_log(7)
    check_story(lines, path, began, time.time())


def test_json_is_json_with_the_same_keys_each(start):
    server = start(limit="5/60s", config=JSON)
    story(server)
    server.wait_for_log(7)
    for line in raw_lines(server):
        assert list(json.loads(line)) == JSON_KEYS


def test_off_writes_nothing(start):
    server = start(config="log:\n  access: off\n")
    story(server)
    server.stop()
    assert raw_lines(server) == []


def test_a_file_instead_of_standard_output(start):
    server = start(limit="5/60s", config="log:\n  access_file: access.log\n")
    path = story(server)
    server.stop()
    assert raw_lines(server) == []
    lines = server.log(server.folder / "access.log")
    assert [line["path"] for line in lines][:2] == ["/shorten", path + "?a=b"] and len(lines) == 7


def test_a_stop_loses_no_line(start):
    server = start(limit="off")
    with server.connect() as wire:
        wire.send(build("GET", "/") * 2000)
        for _ in range(2000):
            wire.read_answer()
    server.stop()
    assert len(server.log()) == 2000


HOSTILE = {
    "quotes": (b'/a"b', '/a"b'),
    "an end of the field": (b'/" 200 0 0 allowed', None),
    "backslashes": (b"/a\\b\\\\\"", '/a\\b\\\\"'),
    "control bytes": (b"/\x01\x02\x1b[31m\x7f", "/\x01\x02\x1b[31m\x7f"),
    "bytes beyond ASCII": (b"/\x80\xff\xc3\xa4", "/\x80\xff\xc3\xa4"),
    "a forged line": (b"/a\r2026-01-01T00:00:00.000000Z", "/a\r2026-01-01T00:00:00.000000Z"),
    "JSON": (b'/","status":200,"x":"', '/","status":200,"x":"'),
    "escapes": (b"/%0d%0a%00%22", "/%0d%0a%00%22"),
    "a query": (b"/?a=1&b=2;c?d#e", "/?a=1&b=2;c?d#e"),
    "markup": (b"/<script>alert(1)</script>", "/<script>alert(1)</script>"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_targets_stay_in_their_place(start, name):
    sent, shown = HOSTILE[name]
    server = start(limit="off", config=JSON)
    with server.connect() as wire:
        wire.send(b"GET " + sent + b" HTTP/1.1\r\nHost: sluice.test\r\n\r\n")
        wire.read_end() if shown is None else wire.read_answer()
    server.get("/healthz")
    server.stop()
    lines = raw_lines(server)
    parsed = [json.loads(line) for line in lines]
    assert all(list(entry) == JSON_KEYS for entry in parsed)
    paths = [entry["path"] for entry in parsed]
    assert "/healthz" in paths and len(paths) <= 2
    if shown is not None:
        assert shown in paths
    assert all(re.fullmatch(r"[ -~]*", line) for line in lines)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_targets_stay_in_their_place_as_text_too(start, name):
    sent, shown = HOSTILE[name]
    server = start(limit="off")
    with server.connect() as wire:
        wire.send(b"GET " + sent + b" HTTP/1.1\r\nHost: sluice.test\r\n\r\n")
        wire.read_end() if shown is None else wire.read_answer()
    server.get("/healthz")
    server.stop()
    for line in raw_lines(server):
        assert re.fullmatch(r"[ -~]*", line)
        assert line.count('"') == 2, line
    assert len(server.log()) <= 2  # each line is one that can be read


def test_hostile_methods_and_clients_stay_in_their_place(start):
    server = start(limit="off", config=JSON + "trusted_proxies: [127.0.0.1]\n")
    with server.connect() as wire:
        wire.send(b'G"\\E / HTTP/1.1\r\nHost: sluice.test\r\nX-Forwarded-For: "}\\x\r\n\r\n')
        wire.read_answer()
    entry = server.wait_for_log(1)[0]
    assert (entry["method"], entry["client"]) == ('G"\\E', "127.0.0.1")


def test_a_long_target_is_cut(start):
    server = start(limit="off")
    server.get("/" + "a" * 5000)
    entry = server.wait_for_log(1)[0]
    assert entry["path"] == "/" + "a" * 255


def test_who_sends_rubbish_is_named(start):
    server = start(limit="off")
    with server.connect(source="127.0.0.8") as wire:
        wire.send(b"GET / HTTP/1.1\r\nnonsense\r\n\r\n")
        assert wire.read_answer().status == 400
    entry = server.wait_for_log(1)[0]
    assert (entry["client"], entry["method"], entry["status"]) == ("127.0.0.8", "-", 400)


def test_a_rotated_file_is_opened_anew(start):
    """Rename, SIGHUP: the lines from then on are in a new file, and none is lost."""
    server = start(limit="off", config="log:\n  access_file: access.log\n")
    log, old = server.folder / "access.log", server.folder / "access.log.1"
    for i in range(20):
        server.get(f"/healthz?{i}")
    server.wait_for_log(20, log)
    log.rename(old)
    server.get("/healthz?20")
    server.hang_up()
    for i in range(21, 40):
        server.get(f"/healthz?{i}")
    server.stop()
    before, after = server.log(old), server.log(log)
    assert {int(line["path"].partition("?")[2]) for line in before + after} == set(range(40))
    assert len(before) >= 20 and len(after) >= 19  # the one between may be in either


def test_a_log_that_cannot_be_written_is_told_and_counted(start):
    server = start(limit="off", config="log:\n  access_file: /dev/full\n")
    for _ in range(20):
        assert server.get("/healthz").status == 200
    wait_until(lambda: server.metrics().value("sluice_access_log_dropped_total") >= 20, what="the lines to be counted")
    # The lines are counted first, and the operator is told then.
    said = "log.access_file: /dev/full: No space left on device; lines are dropped and counted"
    wait_until(lambda: said in server.stderr, what="the complaint")
    server.stop()
    assert server.stderr.count(said) == 1


def test_a_disk_that_is_full_for_a_while(start):
    """Lines that found room are whole, the others counted, and it goes on by itself when there is room again."""
    if sandbox.is_refused():
        pytest.skip("the kernel gives no namespaces here (not root, a chroot, or a container), and so no small disk")
    small = 'mount -t tmpfs -o size=8k none disk && head -c 4096 /dev/zero >disk/ballast && exec "$@"'
    server = start(limit="off", config="log:\n  access_file: disk/access.log\n",
                   prepare=lambda folder: (folder / "disk").mkdir(), before=["unshare", "--mount", "sh", "-c", small, "sh"])
    disk = pathlib.Path(f"/proc/{server.process.pid}/root{server.folder}/disk")

    def dropped():
        server.get("/healthz?while-it-is-full")
        return server.metrics().value("sluice_access_log_dropped_total")
    wait_until(dropped, what="the disk to be full")
    assert (disk / "access.log").stat().st_size == 4096
    (disk / "ballast").unlink()
    server.get("/healthz?again")
    wait_until(lambda: "/healthz?again" in (disk / "access.log").read_text(), what="the log to be written again")
    lines = [line for line in (disk / "access.log").read_text().split("\n") if line]
    whole = re.compile(r'\S+Z 127\.0\.0\.1 "GET \S+" 200 \d+ \d+ -')
    assert len([line for line in lines if not whole.fullmatch(line)]) <= 1, "more than the line at which the disk was full"
    assert whole.fullmatch([line for line in lines if "again" in line][0])
    assert "No space left on device; lines are dropped" in server.stderr
    wait_until(lambda: "is written again" in server.stderr, what="the good news")  # which follow the line


def test_a_log_that_cannot_be_opened_anew_goes_on_in_the_old_file(start):
    server = start(limit="off", config="log:\n  access_file: logs/access.log\n", prepare=lambda folder: (folder / "logs").mkdir())
    server.get("/healthz?1")
    wait_until(lambda: server.log(server.folder / "logs" / "access.log"), what="the first line")
    (server.folder / "logs").rename(server.folder / "moved")
    said = server.hang_up()
    assert "logs/access.log" in said and "the old file stays in use" in said
    server.get("/healthz?2")
    server.stop()
    assert len(server.log(server.folder / "moved" / "access.log")) == 2
