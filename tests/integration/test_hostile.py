# SPDX-License-Identifier: Apache-2.0
"""Hostile input: it is refused, hurts nobody else, and the server lives on."""
import contextlib
import json
import select
import signal
import socket
import sqlite3
import struct
import threading
import time

import pytest

from support.server import SANITIZER, stop
from support.waiting import wait_until
from support.wire import BrokenAnswer, build

FORM = ("Content-Type", "application/x-www-form-urlencoded")
TARGET = "http://example.org/bystander"
BYSTANDER = "127.0.0.5"


class Bystander:
    """An honest client on a thread of its own. Every request of his must be answered, and rightly. The exception is one that
    he was late with himself, as on a machine that stood still: then he asks again."""

    LATE_S = 0.5  # half of the shortest request_timeout here

    def __init__(self, server, path):
        self.server, self.path = server, path
        self.served, self.wrong = 0, []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            began = sent = time.monotonic()
            try:
                with self.server.connect(source=BYSTANDER) as wire:
                    try:
                        wire.send(build("GET", self.path, [("Connection", "close")]))
                    finally:
                        sent = time.monotonic()
                    answer = wire.read_answer()
                if (answer.status, answer["Location"]) != (302, TARGET):
                    self.wrong.append(answer)
                self.served += 1
            except (OSError, BrokenAnswer) as error:
                if sent - began < self.LATE_S:
                    self.wrong.append(error)
            self.ended.wait(0.005)  # honest clients do not hammer

    def served_again(self):
        """Waits until a request that began after this call has been answered."""
        before = self.served
        wait_until(lambda: self.served >= before + 2, what="an answer for the bystander")
        assert not self.wrong, self.wrong[:3]

    def end(self):
        self.ended.set()
        self.thread.join()
        assert not self.wrong, self.wrong[:3]
        assert self.served > 0


@contextlib.contextmanager
def beside_a_bystander(server):
    """While the block runs, somebody else is served by the same server, which must be there afterwards, too."""
    bystander = Bystander(server, server.code_of(TARGET, source=BYSTANDER))
    try:
        yield bystander
        bystander.served_again()
    finally:
        bystander.end()
    assert server.alive(), server.stderr
    assert not SANITIZER.search(server.stderr), server.stderr


@pytest.fixture(scope="module")
def victim(start_shared):
    """One server for all of this file's single shots, with a bystander that must never notice."""
    server = start_shared(limit="off", threads=2)
    with beside_a_bystander(server) as bystander:
        yield server, bystander


def head(first_line, *fields):
    return b"\r\n".join([first_line, b"Host: sluice.test", *fields, b"", b""])


def posted(*fields, body=b""):
    return head(b"POST /shorten HTTP/1.1", *fields) + body


CHUNKED = b"Transfer-Encoding: chunked"
CLOSED = "closed"  # the connection is ended without an answer
OPEN = "open"      # answered, and the connection goes on

# name: (bytes sent, what may come of it). Unless OPEN is among those, the connection ends after the answer.
SHOTS = {
    # The request line.
    "NUL in the target": (head(b"GET /a\0b HTTP/1.1"), {400}),
    "NUL at the end of the target": (head(b"GET /a\0 HTTP/1.1"), {400}),
    "escaped NUL in the target": (head(b"GET /a%00b HTTP/1.1"), {404, OPEN}),
    "CR in the target": (head(b"GET /a\rb HTTP/1.1"), {400, 404, OPEN}),
    "LF in the target": (head(b"GET /a\nb HTTP/1.1"), {400, CLOSED}),
    "escaped CR LF in the target": (head(b"GET /a%0d%0aSet-Cookie:x HTTP/1.1"), {404, OPEN}),
    "control bytes in the target": (head(b"GET /\x01\x02\x7f\x80\xff HTTP/1.1"), {400, 404, OPEN}),
    "bad escape in the target": (head(b"GET /%zz HTTP/1.1"), {404, OPEN}),
    "half an escape in the target": (head(b"GET /abc% HTTP/1.1"), {404, OPEN}),
    "space in the target": (head(b"GET /a b HTTP/1.1"), {400, CLOSED}),
    "no target": (b"GET\r\n\r\n", {400, CLOSED}),
    "empty target": (b"GET  HTTP/1.1\r\n\r\n", {400, CLOSED}),
    "target without a slash": (head(b"GET abc HTTP/1.1"), {400}),
    "asterisk as target": (head(b"GET * HTTP/1.1"), {400}),
    "CONNECT": (head(b"CONNECT example.org:443 HTTP/1.1"), {400}),
    "tabs for spaces": (head(b"GET\t/\tHTTP/1.1"), {400, CLOSED}),
    "lower case protocol": (head(b"GET / http/1.1"), {400}),
    "unknown protocol": (head(b"GET / ICAP/1.0"), {400}),
    "no version digits": (head(b"GET / HTTP/x.y"), {400}),
    "many version digits": (head(b"GET / HTTP/1.11"), {400}),
    # Other versions.
    "HTTP/0.9": (b"GET /\r\n", {400, CLOSED}),
    "HTTP/0.9 spelled out": (head(b"GET / HTTP/0.9"), {505}),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", {200}),
    "HTTP/2 over 1": (head(b"GET / HTTP/2.0"), {505}),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04\0\0\0\0\0", {400, 505}),
    "HTTP/1.1 without a Host": (b"GET / HTTP/1.1\r\n\r\n", {400}),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2 + b"\r\n\r\n", {400, CLOSED}),
    # Methods.
    "unknown method": (head(b"FROBNICATE / HTTP/1.1"), {405, OPEN}),
    "lower case method": (head(b"get / HTTP/1.1"), {405, OPEN}),
    "endless method": (head(b"A" * 2000 + b" / HTTP/1.1"), {405, OPEN}),
    "method of bytes": (head(b"\x01\xff\x80 / HTTP/1.1"), {400, 405, OPEN}),
    "method with NUL": (head(b"G\0T / HTTP/1.1"), {400, 405, OPEN}),
    "empty method": (head(b" / HTTP/1.1"), {400, CLOSED}),
    # Names and values of fields.
    "NUL in a name": (head(b"GET / HTTP/1.1", b"X\0Y: a"), {400}),
    "NUL in a value": (head(b"GET / HTTP/1.1", b"X: a\0b"), {200, 400, OPEN}),
    "CR in a value": (head(b"GET / HTTP/1.1", b"X: a\rb"), {200, 400, OPEN}),
    "space before the colon": (head(b"GET / HTTP/1.1", b"X : a"), {400}),
    "no colon": (head(b"GET / HTTP/1.1", b"nonsense"), {400}),
    "folded line": (head(b"GET / HTTP/1.1", b"X: a", b" b"), {200, 400, OPEN}),
    "two Hosts": (head(b"GET / HTTP/1.1", b"Host: other.test"), {400}),
    "bytes beyond ASCII in a value": (head(b"GET / HTTP/1.1", b"X: \x80\xff\xc3\xa4"), {200, OPEN}),
    # Where a body ends: two opinions are one too many.
    "Content-Length and Transfer-Encoding": (
        posted(b"Content-Length: 5", CHUNKED, body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"), {400}),
    "Transfer-Encoding and Content-Length": (posted(CHUNKED, b"Content-Length: 5", body=b"0\r\n\r\n"), {400}),
    "two Content-Lengths": (posted(b"Content-Length: 5", b"Content-Length: 6", body=b"url=ab"), {400}),
    "the same Content-Length twice": (posted(b"Content-Length: 5", b"Content-Length: 5", body=b"url=a"), {400}),
    "two Content-Lengths in one": (posted(b"Content-Length: 5, 5", body=b"url=a"), {400}),
    "negative Content-Length": (posted(b"Content-Length: -1"), {400}),
    "signed Content-Length": (posted(b"Content-Length: +5", body=b"url=a"), {400}),
    "hexadecimal Content-Length": (posted(b"Content-Length: 0x5", body=b"url=a"), {400}),
    "empty Content-Length": (posted(b"Content-Length:"), {400}),
    "Content-Length of words": (posted(b"Content-Length: five", body=b"url=a"), {400}),
    "Content-Length of 2^64": (posted(b"Content-Length: 18446744073709551616"), {413}),
    "Content-Length of 2^63": (posted(b"Content-Length: 9223372036854775808"), {413}),
    "another Transfer-Encoding": (posted(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), {400}),
    "a misspelt Transfer-Encoding": (posted(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), {400}),
    "Transfer-Encoding twice": (posted(CHUNKED, CHUNKED, body=b"0\r\n\r\n"), {400}),
    "Transfer-Encoding with a space before its colon": (
        posted(b"Transfer-Encoding : chunked", body=b"0\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"), {400}),
    # Chunks.
    "chunk size of words": (posted(CHUNKED, body=b"zz\r\n\r\n"), {400}),
    "negative chunk size": (posted(CHUNKED, body=b"-1\r\n\r\n"), {400}),
    "chunk size beyond 2^64": (posted(CHUNKED, body=b"f" * 17 + b"\r\n"), {400, 413}),
    "empty chunk size": (posted(CHUNKED, body=b"\r\n\r\n"), {400}),
    "chunk longer than told": (posted(CHUNKED, body=b"3\r\nurl=a\r\n0\r\n\r\n"), {400}),
    "chunk size of a thousand zeros": (posted(CHUNKED, body=b"0" * 1000 + b"5\r\nurl=a\r\n0\r\n\r\n"), {400, 413, OPEN}),
    # Bodies that are no body.
    "a form of NULs": (posted(b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 1000",
                              body=bytes(1000)), {400, OPEN}),
    "a form of ampersands": (posted(b"Content-Type: application/x-www-form-urlencoded", b"Content-Length: 65536",
                                    body=b"&" * 65536), {400, OPEN}),
    "JSON a hundred thousand deep": (posted(b"Content-Type: application/json", b"Content-Length: 60000",
                                            body=b"[" * 60000), {400, OPEN}),
    "JSON with a number too large": (posted(b"Content-Type: application/json", b"Content-Length: 411",
                                            body=b'{"url":1' + b"0" * 402 + b"}"), {400, OPEN}),
    # Sizes.
    "9 KiB target": (head(b"GET /" + b"a" * 9216 + b" HTTP/1.1"), {414, 431}),
    "1 MiB target": (head(b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1"), {414, 431}),
    "9 KiB field": (head(b"GET / HTTP/1.1", b"X: " + b"a" * 9216), {431}),
    "1 MiB field": (head(b"GET / HTTP/1.1", b"X: " + b"a" * (1 << 20)), {431}),
    "1 MiB of name": (head(b"GET / HTTP/1.1", b"a" * (1 << 20)), {431}),
    "a thousand fields": (head(b"GET / HTTP/1.1", *[b"X: a"] * 1000), {431}),
    "100,000 fields": (head(b"GET / HTTP/1.1", *[b"X: a"] * 100000), {431}),
    "a thousand cookies": (head(b"GET / HTTP/1.1", b"Cookie: " + b"a=b; " * 1000), {431, CLOSED}),
    "a query of a thousand fields": (head(b"GET /?" + b"a=b&" * 1000 + b" HTTP/1.1"), {414, 431, CLOSED}),
    "1 MiB of one line": (b"A" * (1 << 20), {414, 431, CLOSED}),
    "1 MiB of empty lines": (b"\r\n" * (1 << 19), {400, 414, 431, CLOSED}),
    "1 MiB of NULs": (bytes(1 << 20), {400, 414, 431, CLOSED}),
}


def outcome(server, shot):
    """What came of it: the set of the status, or CLOSED, and of OPEN when the connection can be used again."""
    with server.connect() as wire:
        with contextlib.suppress(ConnectionResetError, BrokenPipeError):  # it need not read all of it
            wire.send(shot)
        try:
            answer = wire.read_answer()
        except (BrokenAnswer, ConnectionResetError):
            return {CLOSED}
        if answer["Connection"] is not None and answer["Connection"].lower() == "close":
            # Nothing but, perhaps, the rest of the library's own words may follow: no second answer.
            assert b"HTTP/1.1 " not in wire.read_end()
            return {answer.status}
        wire.send(build("GET", "/healthz"))
        assert wire.read_answer().body == b"ok\n"
        return {answer.status, OPEN}


@pytest.mark.parametrize("name", SHOTS)
def test_refuses(victim, name):
    server, bystander = victim
    shot, allowed = SHOTS[name]
    found = outcome(server, shot)
    assert found <= allowed, f"{found}, not of {allowed}"
    bystander.served_again()
    assert server.alive()


def test_a_request_in_bytes_is_a_request(victim):
    """One byte a packet is slow, not wrong."""
    server, _ = victim
    with server.connect() as wire:
        for byte in build("POST", "/shorten", [FORM], b"url=http://example.org/bytes"):
            wire.send(bytes([byte]))
        assert wire.read_answer().status == 200


def test_pipelined_requests_are_answered_in_order(victim):
    server, _ = victim
    targets = [f"http://example.org/pipeline/{i}" for i in range(50)]
    paths = [server.code_of(target) for target in targets]
    with server.connect() as wire:
        wire.send(b"".join(build("GET", path) for path in paths))
        assert [wire.read_answer()["Location"] for _ in paths] == targets
        # Mixed with creates, which have to wait for the disk, and with errors.
        wire.send(b"".join(
            build("GET", paths[i]) + build("POST", "/shorten", [FORM], b"url=" + targets[i].encode() + b"/new")
            + build("GET", "/nothing") for i in range(20)))
        for i in range(20):
            assert wire.read_answer()["Location"] == targets[i]
            assert wire.read_answer().status == 200
            assert wire.read_answer().status == 404


def test_pipelined_requests_of_a_client_that_hangs_up(victim):
    """Answers that nobody will read are no reason to fall over."""
    server, bystander = victim
    for _ in range(20):
        wire = server.connect()
        wire.send(b"".join(build("POST", "/shorten", [FORM], b"url=http://example.org/gone") for _ in range(100)))
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not a goodbye
        wire.close()
    bystander.served_again()


def test_a_client_that_does_not_read_its_answers(start):
    """Its answers wait in its own connection, bounded, until it is timed out; others are served."""
    server = start(limit="off", config="server:\n  idle_timeout: 1s\n  request_timeout: 1s\n")
    with beside_a_bystander(server) as bystander, server.connect() as wire:
        wire.socket.settimeout(1)
        with pytest.raises(OSError):
            for _ in range(1000):
                wire.send(build("GET", "/metrics") * 100)
        bystander.served_again()


@pytest.mark.parametrize("url", [
    "javascript:alert(1)", "JaVaScRiPt://example.org/%0aalert(1)", "data:text/html,<script>alert(1)</script>",
    "file:///etc/passwd", "ftp://example.org/", "gopher://example.org/", "vbscript:x", "mailto:a@example.org", "//example.org/",
    "/relative", "example.org", "http:/example.org", "http:\\\\example.org", "http://example.org\\@evil.test/",
    "http://user@example.org/", "http://user:pass@example.org/", "http://@example.org/", "https://a:b@[2001:db8::1]/",
    "http://example.org:0/", "http://example.org:65536/", "http://example.org:80x/", "http://[::1", "http://[zz]/",
    "http://exa mple.org/", "http://example..org/", "http://.example.org/", "http://%65xample.org/", "http://exämple.org/",
    " http://example.org/", "http://example.org/ ", "\thttp://example.org/", "http://example.org/\x7f", "http://example.org/\r\n",
    "http://example.org/\x00", "http://", "https://", "http://?", "http://#", "http:///", "h", "",
])
def test_refuses_to_shorten(victim, url):
    server, _ = victim
    for answer in (server.shorten(url),
                   server.request("POST", "/shorten", [("Content-Type", "application/json")], json.dumps({"url": url}).encode())):
        assert answer.status == 400, answer
        assert answer.error


@pytest.fixture(scope="module")
def ours(start_shared):
    return start_shared(limit="off", config="public_names: [sho.rt, 'www.sho.rt:444']\n")


class TestLinksToOurselves:
    @pytest.mark.parametrize("host, url", [
        ("short.test", "http://short.test/x"), ("short.test", "https://SHORT.test/x"), ("short.test", "http://short.test./x"),
        ("SHORT.test", "http://short.test/x"), ("short.test:8080", "http://short.test:8080/"),
        ("192.0.2.1", "http://192.0.2.1/"), ("192.0.2.1", "http://3221225985/"), ("[2001:db8::1]:80", "http://[2001:db8:0::1]/"),
        # Under any name that the operator gave, whatever the Host says.
        ("other.test", "http://sho.rt/abc"), ("other.test", "https://www.sho.rt:444/"), ("other.test", "http://sho.rt:5000/"),
    ])
    def test_are_refused(self, ours, host, url):
        answer = ours.shorten(url, fields=[("Host", host)])
        assert (answer.status, answer.error) == (400, "URL must not point to this shortener itself")

    @pytest.mark.parametrize("host, url", [
        ("short.test", "http://short.test.example/"), ("short.test", "http://xshort.test/"), ("short.test:81", "http://short.test/"),
        ("short.test", "http://example.org/?u=http://short.test/"), ("other.test", "http://www.sho.rt/"),
        ("other.test", "http://example.org/#sho.rt"),
    ])
    def test_others_are_not(self, ours, host, url):
        assert ours.shorten(url, fields=[("Host", host)]).status == 200


@pytest.mark.parametrize("damage", [b"\r\nSet-Cookie: stolen=1", b"\n\n<script>", b"\rX: y", b"\x00", b" ", b"\x7f", b"\xc3\xa4",
                                    b"\x01"])
def test_a_damaged_row_cannot_write_our_header(start, damage):
    """Who can write to the database can't write header fields."""
    server = start(limit="off")
    path = server.code_of("http://example.org/")
    server.stop()
    server.write("UPDATE links SET url = CAST(? AS TEXT) WHERE code = ?", b"http://example.org/" + damage, path[1:])
    server.start()
    with server.connect() as wire:
        wire.send(build("GET", path, [("Connection", "close")]))
        answer = wire.read_answer()
        assert (answer.status, answer.error) == (500, "The stored URL is damaged")
        assert answer["Location"] is None and answer["Set-Cookie"] is None
        assert wire.ended()
    assert path[1:] in server.stderr  # the operator is told which


def test_slow_senders_hold_up_nobody(start):
    """Four hundred clients send a byte a second. They are cut off when their time is up; others never wait for them."""
    server = start(limit="off", config="server:\n  request_timeout: 2s\n  max_connections_per_client: 1000\n")
    request = build("GET", "/")
    with beside_a_bystander(server) as bystander, contextlib.ExitStack() as stack:
        began = time.monotonic()
        # Some never get through their first line, some hang in the head, some in the body.
        starts = [b"", b"G", b"GET / HTTP/1.1\r\nHost: sluice.test\r\n", build("POST", "/shorten", [FORM, ("Content-Length", "900")])]
        slow = [stack.enter_context(server.connect(source=f"127.0.2.{1 + i % 4}")) for i in range(400)]
        for i, wire in enumerate(slow):
            wire.send(starts[i % 4])
        left, sent = set(slow), 0
        while left and time.monotonic() < began + 30:
            bystander.served_again()
            for wire in list(left):
                if _cut_off(wire):
                    left.remove(wire)
                else:
                    with contextlib.suppress(OSError):
                        wire.send(request[sent % len(request):][:1] or b"x")
            sent += 1
            wait_until(lambda: time.monotonic() >= began + sent, what="the next second")
        assert not left, f"{len(left)} of the slow senders were never cut off"
        assert time.monotonic() - began >= 2
    assert server.metrics().value("sluice_connections_timed_out_total") >= 300


def _cut_off(wire):
    """Whether the server has ended the connection."""
    wire.socket.setblocking(False)
    try:
        while True:
            if not wire.socket.recv(65536):
                return True
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
    finally:
        wire.socket.settimeout(30)


def test_a_request_that_came_while_the_server_stood_still_came_in_time(start):
    """A machine that is paused, or short of processors, does not make its clients late."""
    server = start(limit="off", threads=1, config="server:\n  request_timeout: 1s\n")
    for _ in range(3):  # to be there in the midst of the server's housekeeping, too
        with server.connect() as other, server.connect() as wire:
            other.send(build("GET", "/healthz"))
            assert other.read_answer().status == 200
            wait_until(lambda: server.metrics().value("sluice_connections_open") == 3, what="the connection")
            stop(server.process)
            try:
                wire.send(build("GET", "/healthz"))
                stopped = time.monotonic()
                # It is the time itself that must pass here: more than the timeout.
                wait_until(lambda: time.monotonic() >= stopped + 1.2, what="the timeout")
            finally:
                server.signal(signal.SIGCONT)
            assert wire.read_answer().status == 200


def test_idle_connections_are_closed(start):
    # The longer of the two is how late a busy machine may be with the request.
    server = start(limit="off", config="server:\n  idle_timeout: 1s\n  request_timeout: 3s\n")
    with server.connect() as kept, server.connect() as fresh:
        kept.send(build("GET", "/healthz"))
        assert kept.read_answer().status == 200
        assert fresh.ended() and kept.ended()  # within the wire's own limit
    # The one that asks. The server counts the other as gone only after the client has seen its end.
    wait_until(lambda: server.metrics().value("sluice_connections_open") == 1, what="the connection to be counted as gone")


def test_a_client_has_only_so_many_connections(start):
    server = start(limit="off", threads=2, config="server:\n  max_connections_per_client: 10\n")
    with contextlib.ExitStack() as stack:
        held = []
        while len(held) < 10:
            wire = stack.enter_context(server.connect())
            wire.send(build("GET", "/healthz"))
            assert wire.read_answer().status == 200
            held.append(wire)
        for _ in range(5):  # one more is ended at once
            with server.connect() as wire, contextlib.suppress(ConnectionResetError, BrokenPipeError):
                wire.send(build("GET", "/healthz"))
                assert wire.ended()
        assert server.get("/healthz", source="127.0.0.7").status == 200  # others are free to come
        for wire in held:  # and those that are there stay
            wire.send(build("GET", "/healthz"))
            assert wire.read_answer().status == 200
        assert server.get("/metrics", source="127.0.0.7").status == 200
        held[0].close()
        wait_until(lambda: _is_served(server), what="the place that was given back")


def _is_served(server):
    try:
        return server.get("/healthz").status == 200
    except (BrokenAnswer, ConnectionResetError):
        return False


def test_trusted_proxies_may_hold_as_many_as_they_need(start):
    server = start(limit="off", config="trusted_proxies: [127.0.0.1]\nserver:\n  max_connections_per_client: 2\n")
    with contextlib.ExitStack() as stack:
        for _ in range(20):
            wire = stack.enter_context(server.connect())
            wire.send(build("GET", "/healthz"))
            assert wire.read_answer().status == 200


def test_there_are_only_so_many_connections(start):
    """Over max_connections new ones wait or are ended; when places are given back the server serves again."""
    server = start(limit="off", threads=1, config="server:\n  max_connections: 20\n")
    with contextlib.ExitStack() as stack:
        wires = [stack.enter_context(server.connect(source=f"127.0.3.{1 + i}")) for i in range(25)]
        for wire in wires:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                wire.send(build("GET", "/healthz"))
        for wire in wires[:20]:
            assert wire.read_answer().status == 200
        readable, _, _ = select.select([wire.socket for wire in wires[20:]], [], [], 1)
        for wire in wires[20:]:
            if wire.socket in readable:
                assert wire.ended()
        for wire in wires[:20]:
            wire.send(build("GET", "/healthz"))
            assert wire.read_answer().status == 200
    wait_until(lambda: _is_served(server), what="places to be given back")


def test_a_flood_of_connections_that_say_nothing(start):
    """Opened and left at once, thousands of times: when their time is up, nothing is left behind."""
    server = start(limit="off", threads=2, config="server:\n  request_timeout: 1s\n  idle_timeout: 1s\n")
    with beside_a_bystander(server):
        for i in range(3000):
            wire = server.connect(source=f"127.0.4.{1 + i % 200}")
            if i % 3 == 0:
                wire.send(b"GET / HT")
            if i % 3 == 1:
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            wire.close()
    wait_until(lambda: server.metrics().value("sluice_connections_open") == 1, what="all to be gone")


def test_who_goes_away_while_the_database_works(start):
    """His request is not over before its operation is: that would go on in memory which is another's by then."""
    server = start(limit="off", threads=1)
    database = sqlite3.connect(server.database, isolation_level=None)

    def ended():
        return {labels[1][1]: value for (name, labels), value in server.metrics().items()
                if name == "sluice_requests_total" and ("endpoint", "shorten") in labels}

    with contextlib.closing(database), server.connect() as other:
        database.execute("BEGIN EXCLUSIVE")
        for i in range(100):
            with server.connect(source=f"127.0.9.{i + 1}") as wire:
                wire.send(build("POST", "/shorten", [FORM], b"url=https://example.com/%d" % i))
                # The one thread has gone round since, so most are there when their client is not any more.
                for _ in range(2):
                    other.send(build("GET", "/healthz"))
                    assert other.read_answer().status == 200
                wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        assert set(ended().values()) == {0}
        database.execute("ROLLBACK")
        wait_until(lambda: sum(ended().values()) > 50, what="the requests to end")
    assert server.shorten("https://example.com/after").status == 200


@pytest.mark.parametrize("requests", [1, 3])
def test_who_says_nothing_more_is_answered_and_let_go(unlimited, requests):
    """The end of the stream comes with the last request: nobody is kept for a next one."""
    for i in range(50):
        with unlimited.connect(source=f"127.0.8.{i + 1}") as wire:
            wire.send(build("GET", "/") * requests)
            wire.send_ended()
            assert [wire.read_answer().status for _ in range(requests)] == [200] * requests
            assert wire.ended()
    wait_until(lambda: unlimited.metrics()["sluice_connections_open", ()] == 1, what="the connections to be closed")
