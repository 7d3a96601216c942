# SPDX-License-Identifier: Apache-2.0
"""What the head of a request may look like beyond the usual, and what a bad one is told."""
import pytest

from support.wire import build


def raw(server, data):
    """Everything that comes back until the server ends the connection."""
    with server.connect() as wire:
        wire.send(data)
        return wire.read_end()


@pytest.mark.parametrize("target, status", [
    ("http://short.example/", 200), ("HTTP://short.example:80/", 200), ("http://short.example", 200),
    ("http://short.example/nosuch1", 404), ("https://short.example?x=/y", 200), ("http:/nosuch1", 400),
    ("ftp://short.example/", 400), ("*", 400), ("nosuch1", 400)])
def test_a_target_may_name_the_server(start, target, status):
    server = start(limit="off")
    answer = raw(server, f"GET {target} HTTP/1.1\r\nHost: short.example\r\nConnection: close\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode()), answer


@pytest.mark.parametrize("head", [
    b"GET / HTTP/1.1\r\n\r\n", b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n"])
def test_a_malformed_head_gets_one_answer(start, head):
    answer = raw(start(limit="off"), head)
    assert answer.count(b"HTTP/1.1 ") == 1 and answer.startswith(b"HTTP/1.1 400 ")
    assert answer.endswith(b'{"error":"Malformed request"}')


def test_http_1_0_needs_no_host(start):
    assert raw(start(limit="off"), b"GET / HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200 ")


def test_a_redirect_that_does_not_fit_is_no_click(start):
    """Head and Location share the connection's memory; when they don't fit together it says so."""
    server = start(limit="off")
    path = server.code_of("https://example.com/" + "x" * 8100)
    with server.connect() as wire:
        wire.send(build("GET", path, [("X-Long", "y" * 7900)]))
        assert wire.read_answer().status == 431
        wire.send(build("GET", path))
        assert wire.read_answer().status == 302
    server.stop()
    assert server.clicks(path) == 1
