# SPDX-License-Identifier: Apache-2.0
"""What each endpoint answers, to the byte."""
import email.utils
import json
import re
import time

import pytest

from support.waiting import wait_until
from support.wire import build

FORM = ("Content-Type", "application/x-www-form-urlencoded")
JSON = ("Content-Type", "application/json")
CLOCK_REALTIME_COARSE = 5  # linux/time.h; Python has no name for it
CODE = re.compile(r"/[2-9A-HJ-NP-Za-km-z]{7}")  # seven characters without look-alikes


def post(server, body, *fields):
    return server.request("POST", "/shorten", fields, body)


def test_home_is_one_line_for_machines(sluice):
    answer = sluice.get("/")
    assert (answer.status, answer.body) == (200, b"URL Shortener is running!\n")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Vary"] == "Accept"


@pytest.mark.parametrize("accept", ["*/*", "text/plain", "application/json", ""])
def test_home_is_text_unless_html_is_asked_for(sluice, accept):
    assert sluice.get("/", [("Accept", accept)]).body == b"URL Shortener is running!\n"


@pytest.mark.parametrize("accept", ["text/html", "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", "TEXT/HTML"])
def test_home_is_a_page_for_browsers(sluice, accept):
    answer = sluice.get("/", [("Accept", accept)])
    assert answer.status == 200
    assert answer["Content-Type"] == "text/html; charset=utf-8"
    assert answer.body.lstrip().lower().startswith(b"<!doctype html>") and b"</html>" in answer.body
    assert answer["Vary"] == "Accept"
    assert answer["X-Content-Type-Options"] == "nosniff"


def test_the_page_may_load_nothing_but_itself(sluice):
    policy = sluice.get("/", [("Accept", "text/html")])["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["frame-ancestors"] == "'none'" and rules["base-uri"] == "'none'"
    assert "unsafe" not in policy and "*" not in policy and "http" not in policy
    for kind in ("style-src", "script-src"):
        assert re.fullmatch(r"'sha256-[A-Za-z0-9+/]{43}='", rules[kind]), rules[kind]


def test_shortens_a_form(sluice):
    answer = post(sluice, b"url=http%3A%2F%2Fexample.org%2Fa%3Fb%3Dc%26d", FORM)
    assert answer.status == 200
    assert answer["Content-Type"] == "application/json"
    path = answer.json["short_url"]
    assert CODE.fullmatch(path)
    assert answer.body == b'{"short_url":"%s"}' % path.encode()
    assert sluice.get(path)["Location"] == "http://example.org/a?b=c&d"


def test_shortens_json(sluice):
    answer = post(sluice, json.dumps({"url": "https://example.org/j\u0061", "other": [1]}).encode(), JSON)
    assert answer.status == 200
    assert CODE.fullmatch(answer.json["short_url"])
    assert sluice.get(answer.json["short_url"])["Location"] == "https://example.org/ja"


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded; charset=utf-8", "APPLICATION/X-WWW-FORM-URLENCODED",
                                  None])
def test_a_form_is_known_by_any_spelling_of_its_type(sluice, kind):
    fields = [("Content-Type", kind)] if kind else []
    assert post(sluice, b"url=http://example.org/", *fields).status == 200


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_is_known_by_any_spelling_of_its_type(sluice, kind):
    assert post(sluice, b'{"url":"http://example.org/"}', ("Content-Type", kind)).status == 200


def test_the_same_url_gets_the_same_code_and_another_url_another(sluice):
    first = sluice.code_of("http://example.org/same")
    assert post(sluice, b'{"url":"http://example.org/same"}', JSON).json["short_url"] == first
    assert sluice.code_of("http://example.org/same") == first
    assert sluice.code_of("http://example.org/Same") != first
    assert sluice.rows("SELECT count(*) FROM links") == [(2,)]


@pytest.mark.parametrize("url", [
    "http://example.org",
    "HTTP://EXAMPLE.ORG/Keep%2fCase?A=B#frag",
    "https://example.org:8443/a;b=c/d,e/f?x=%E2%82%AC&y=[1]&z={2}|3",
    "http://192.0.2.1/%00%0d%0a",
    "http://[2001:db8::1]:8080/?q='\"<>\\^`",
    "http://xn--bcher-kva.example/",
    "http://example.org/" + "a" * (8192 - len("http://example.org/")),
])
def test_the_redirect_gives_back_the_url_byte_for_byte(unlimited, url):
    answer = unlimited.get(unlimited.code_of(url))
    assert answer.status == 302
    assert answer["Location"] == url
    assert answer.body == b"" and answer["Content-Length"] == "0"


def test_a_query_behind_a_code_is_not_part_of_it(sluice):
    path = sluice.code_of("http://example.org/q")
    assert sluice.get(path + "?utm=1")["Location"] == "http://example.org/q"


@pytest.mark.parametrize("path", ["/22222zz", "/nothing", "/favicon.ico", "/a/b", "//", "/%2e%2e/etc/passwd", "/" + "a" * 33,
                                  "/shorten/", "/Shorten", "/healthz/"])
def test_what_is_not_known_is_not_found(unlimited, path):
    answer = unlimited.get(path)
    assert (answer.status, answer.body) == (404, b"URL not found")
    assert answer["Content-Type"] == "text/plain; charset=utf-8"
    assert answer["Location"] is None


def test_codes_tell_upper_from_lower_case(unlimited):
    path = unlimited.code_of("http://example.org/case")
    unlimited.write("UPDATE links SET code = 'AbCdEfG' WHERE code = ?", path[1:])
    assert unlimited.get("/AbCdEfG").status == 302
    assert unlimited.get("/abcdefg").status == 404


def test_operations_pages_answer(unlimited):
    assert (unlimited.get("/healthz").status, unlimited.get("/healthz").body) == (200, b"ok\n")
    assert (unlimited.get("/readyz").status, unlimited.get("/readyz").body) == (200, b"ready\n")
    assert unlimited.get("/metrics")["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"


def test_operations_pages_are_never_limited(start):
    server = start(limit="1/60s")
    assert server.get("/").status == 200
    assert server.get("/").status == 429
    for path in ("/healthz", "/readyz", "/metrics"):
        for _ in range(5):
            answer = server.get(path)
            assert answer.status == 200
            assert answer["RateLimit"] is None and answer["RateLimit-Policy"] is None


def test_over_the_limit(sluice):
    for left in range(9, -1, -1):
        answer = sluice.get("/")
        assert answer.status == 200
        assert answer["RateLimit-Policy"] == '"per-client";q=10;w=60'
        assert answer["RateLimit"] == f'"per-client";r={left};t=60'
        assert answer["Retry-After"] is None
    answer = sluice.get("/")
    assert (answer.status, answer.body) == (429, b'{"error":"Rate limit exceeded"}')
    assert answer["Content-Type"] == "application/json"
    assert answer["RateLimit-Policy"] == '"per-client";q=10;w=60'
    assert 1 <= int(answer["Retry-After"]) <= 60
    assert answer["RateLimit"] == f'"per-client";r=0;t={answer["Retry-After"]}'


@pytest.mark.parametrize("method, path, fields, body, status", [
    ("GET", "/", [], None, 200),
    ("GET", "/nothing", [], None, 404),
    ("POST", "/shorten", [FORM], b"url=http://example.org/", 200),
    ("POST", "/shorten", [FORM], b"", 400),
    ("POST", "/shorten", [("Content-Type", "text/plain")], b"x", 415),
    ("GET", "/shorten", [], None, 405),
    ("DELETE", "/", [], None, 405),
    ("POST", "/shorten", [FORM], b"x" * (64 * 1024 + 1), 413),
])
def test_every_answer_tells_the_limit(sluice, method, path, fields, body, status):
    """Whatever came of it, the request was counted, and the client is told."""
    answer = sluice.request(method, path, fields, body)
    assert answer.status == status
    assert answer["RateLimit-Policy"] == '"per-client";q=10;w=60'
    assert answer["RateLimit"] == '"per-client";r=9;t=60'
    assert sluice.get("/")["RateLimit"] == '"per-client";r=8;t=60'


def test_a_redirect_tells_the_limit(sluice):
    path = sluice.code_of("http://example.org/")
    answer = sluice.get(path)
    assert (answer.status, answer["RateLimit"]) == (302, '"per-client";r=8;t=60')


@pytest.mark.parametrize("path", ["/", "/healthz", "/readyz", "/nothing"])
def test_head_is_get_without_the_body(unlimited, path):
    got = unlimited.get(path)
    with unlimited.connect() as wire:
        wire.send(build("HEAD", path))
        head = wire.read_answer(head_only=True)
        wire.send(build("GET", path))  # the next answer follows at once: no byte of a body came
        again = wire.read_answer()
    drop = ("Date", "Connection")
    assert head.status == got.status == again.status
    assert sorted(f for f in head.fields if f[0] not in drop) == sorted(f for f in got.fields if f[0] not in drop)


def test_head_follows_no_link_and_counts_no_click(unlimited):
    path = unlimited.code_of("http://example.org/head")
    answer = unlimited.request("HEAD", path)
    assert (answer.status, answer["Location"]) == (302, "http://example.org/head")
    for _ in range(3):
        unlimited.get(path)
    unlimited.request("HEAD", path)
    unlimited.stop()
    assert unlimited.clicks(path) == 3


def test_clicks_are_counted_and_dated(unlimited):
    path, quiet = unlimited.code_of("http://example.org/busy"), unlimited.code_of("http://example.org/quiet")
    before = time.time()
    for _ in range(5):
        unlimited.get(path)
    after = time.time()
    wait_until(lambda: unlimited.clicks(path) == 5, what="the clicks in the database")
    unlimited.get(path)
    unlimited.stop()
    assert unlimited.clicks(path) == 6 and unlimited.clicks(quiet) == 0
    last_us = unlimited.rows("SELECT last_click_at FROM links WHERE code = ?", path[1:])[0][0]
    assert before * 1e6 - 1 <= last_us <= time.time() * 1e6 and last_us >= (after - 1) * 1e6
    assert unlimited.rows("SELECT last_click_at FROM links WHERE code = ?", quiet[1:]) == [(None,)]


def test_denied_visits_count_no_click(start):
    server = start(limit="3/60s")
    path = server.code_of("http://example.org/")
    assert [server.get(path).status for _ in range(4)] == [302, 302, 429, 429]
    server.stop()
    assert server.clicks(path) == 2


ALLOWED = {"/": "GET, HEAD", "/shorten": "POST", "/healthz": "GET, HEAD", "/readyz": "GET, HEAD", "/metrics": "GET, HEAD",
           "/Ab12Cd7": "GET, HEAD"}


@pytest.mark.parametrize("path", ALLOWED)
def test_wrong_methods_are_told_the_right_ones(unlimited, path):
    for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"):
        if method in ALLOWED[path].split(", "):
            continue
        answer = unlimited.request(method, path, body=b"x" if method == "POST" else None)
        assert answer.status == 405, f"{method} {path}: {answer}"
        assert answer["Allow"] == ALLOWED[path]
        if method != "HEAD":
            assert answer.error == "Method not allowed"


@pytest.mark.parametrize("body, why", [
    (b"", "The field url is missing"),
    (b"URL=http://example.org/", "The field url is missing"),
    (b"url", "URL is missing"),
    (b"url=", "URL is missing"),
    (b"url=http://a.example/&url=http://b.example/", "The field url is given more than once"),
    (b"url=http://a.example/%", "The field url has a % that is not followed by two hexadecimal digits"),
    (b"url=http://a.example/%zz", "The field url has a % that is not followed by two hexadecimal digits"),
    (b"url=http://example.org/%2", "The field url has a % that is not followed by two hexadecimal digits"),
    (b"url=http://example.org/a+b", "URL must not contain spaces, control characters or bytes beyond ASCII; "
                                    "percent-encode them"),
    (b"url=http://example.org/%0d%0aSet-Cookie:x", "URL must not contain spaces, control characters or bytes beyond "
                                                   "ASCII; percent-encode them"),
    (b"url=http://example.org/%00", "URL must not contain spaces, control characters or bytes beyond ASCII; "
                                    "percent-encode them"),
    (b"url=http://example.org/\x00", "URL must not contain spaces, control characters or bytes beyond ASCII; "
                                     "percent-encode them"),
    (b"url=http://example.org/%C3%A4", "URL must not contain spaces, control characters or bytes beyond ASCII; "
                                       "percent-encode them"),
    (b"url=ftp://example.org/", "URL must start with http:// or https://"),
    (b"url=http:example.org", "URL must name a host after http:// or https://"),
    (b"url=http://", "URL must name a host after http:// or https://"),
    (b"url=http:///path", "URL must name a host after http:// or https://"),
    (b"url=http://user:pass@example.org/", "URL must not contain a user name or password"),
    (b"url=http://example.org:99999/", "URL is malformed: its host or port is not valid, or it contains a backslash"),
    (b"url=http://sluice.test/abc", "URL must not point to this shortener itself"),
    (b"url=" + b"http://example.org/" + b"a" * (8193 - 19), "URL must be at most 8192 bytes"),
])
def test_a_form_that_cannot_be_shortened_is_told_why(unlimited, body, why):
    answer = post(unlimited, body, FORM)
    assert (answer.status, answer.error) == (400, why)
    assert unlimited.rows("SELECT count(*) FROM links") == [(0,)]


@pytest.mark.parametrize("body, why", [
    (b"", "The body is not valid JSON"),
    (b"{", "The body is not valid JSON"),
    (b"url=http://example.org/", "The body is not valid JSON"),
    (b'{"url":"http://a.example/","url":"http://b.example/"}', "The body is not valid JSON"),
    (b'{"url":"http://a.example/"} x', "The body is not valid JSON"),
    (b'{"url":"http://a.example/\xff"}', "The body is not valid JSON"),
    (b'{"url":"http://a.example/\\u0000"}', "The body is not valid JSON"),
    (b'[' * 10000, "The body is not valid JSON"),
    (b"[]", "The body must be a JSON object"),
    (b'"http://example.org/"', "The body is not valid JSON"),
    (b"{}", "The field url is missing"),
    (b'{"Url":"http://example.org/"}', "The field url is missing"),
    (b'{"url":null}', "The field url must be a string"),
    (b'{"url":7}', "The field url must be a string"),
    (b'{"url":["http://example.org/"]}', "The field url must be a string"),
    (b'{"url":""}', "URL is missing"),
    (b'{"url":"http://a.example/\\u000d\\u000aX: y"}', "URL must not contain spaces, control characters or bytes "
                                                        "beyond ASCII; percent-encode them"),
    (b'{"url":"http://a.example/\xc3\xa4"}', "URL must not contain spaces, control characters or bytes beyond ASCII; "
                                             "percent-encode them"),
    (b'{"url":"http://example.org/' + b"a" * (8193 - 19) + b'"}', "URL must be at most 8192 bytes"),
])
def test_json_that_cannot_be_shortened_is_told_why(unlimited, body, why):
    answer = post(unlimited, body, JSON)
    assert (answer.status, answer.error) == (400, why)
    assert unlimited.rows("SELECT count(*) FROM links") == [(0,)]


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/jsonx", "",
                                  "application/x-www-form-urlencodedx", "application/json+x"])
def test_other_types_are_refused_and_told_the_right_ones(unlimited, kind):
    answer = post(unlimited, b"url=http://example.org/", ("Content-Type", kind))
    assert answer.status == 415
    assert answer.error == "Send application/x-www-form-urlencoded or application/json"


class TestBodyBound:
    """64 KiB is the bound unless configured."""

    BOUND = 64 * 1024
    WHY = "The body must be at most 65536 bytes"

    @staticmethod
    def form(size):
        """A form of that many bytes that is fine but for its size."""
        head = b"url=http://example.org/&x="
        return head + b"a" * (size - len(head))

    def test_at_the_bound(self, unlimited):
        assert post(unlimited, self.form(self.BOUND), FORM).status == 200

    def test_above_by_content_length(self, unlimited):
        answer = post(unlimited, self.form(self.BOUND + 1), FORM)
        assert (answer.status, answer.error) == (413, self.WHY)

    def test_an_announced_body_is_read_on(self, unlimited):
        """Closed under a client that still sends, the connection would take the answer with it."""
        with unlimited.connect() as wire:
            for _ in range(2):
                wire.send(build("POST", "/shorten", [FORM], self.form(4 * self.BOUND)))
                answer = wire.read_answer()
                assert (answer.status, answer.error) == (413, self.WHY)

    @pytest.mark.parametrize("fields", [
        [FORM, ("Content-Length", str(4 * 64 * 1024 + 1))],
        [FORM, ("Content-Length", str(64 * 1024 + 1)), ("Expect", "100-continue")],
    ], ids=["far too large", "held back"])
    def test_such_a_body_is_not_waited_for(self, unlimited, fields):
        with unlimited.connect() as wire:
            wire.send(build("POST", "/shorten", fields))
            answer = wire.read_answer()
            assert (answer.status, answer.error) == (413, self.WHY)
            assert wire.ended()

    def test_an_announcement_is_enough(self, unlimited):
        """Not one byte of the body need be sent to be refused."""
        with unlimited.connect() as wire:
            wire.send(build("POST", "/shorten", [FORM, ("Content-Length", "9000000000000000000")]))
            answer = wire.read_answer()
            assert (answer.status, answer.error) == (413, self.WHY)
            assert wire.ended()

    @staticmethod
    def chunked(body, size):
        pieces = [body[i:i + size] for i in range(0, len(body), size)]
        return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"

    @pytest.mark.parametrize("size", [1000, 65536])
    def test_chunked_at_the_bound(self, unlimited, size):
        head = build("POST", "/shorten", [FORM, ("Transfer-Encoding", "chunked")])
        with unlimited.connect() as wire:
            wire.send(head + self.chunked(self.form(self.BOUND), size))
            assert wire.read_answer().status == 200

    @pytest.mark.parametrize("size", [1000, 70000])
    def test_chunked_above(self, unlimited, size):
        head = build("POST", "/shorten", [FORM, ("Transfer-Encoding", "chunked")])
        with unlimited.connect() as wire:
            wire.send(head + self.chunked(self.form(self.BOUND + 1), size))
            answer = wire.read_answer()
            assert (answer.status, answer.error) == (413, self.WHY)

    def test_chunked_without_end(self, unlimited):
        """A body that never ends is cut off, and does not fill the memory."""
        with unlimited.connect() as wire:
            wire.send(build("POST", "/shorten", [FORM, ("Transfer-Encoding", "chunked")]))
            sent = 0
            with pytest.raises(OSError):
                while sent < 64 * self.BOUND:
                    wire.send(b"1000\r\n" + b"x" * 4096 + b"\r\n")
                    sent += 4096
        assert unlimited.get("/healthz").status == 200

    def test_the_bound_can_be_set(self, start):
        server = start(limit="off", config="server:\n  max_body_bytes: 32KiB\n")
        assert post(server, self.form(32 * 1024), FORM).status == 200
        answer = post(server, self.form(32 * 1024 + 1), FORM)
        assert (answer.status, answer.error) == (413, "The body must be at most 32768 bytes")


def test_expect_100_continue_is_answered(unlimited):
    with unlimited.connect() as wire:
        wire.send(build("POST", "/shorten", [FORM, ("Expect", "100-continue"), ("Content-Length", "23")]))
        assert wire.read_answer().status == 100
        wire.send(b"url=http://example.org/")
        assert wire.read_answer().status == 200


def test_expect_is_not_continued_when_denied(start):
    server = start(limit="1/60s")
    server.get("/")
    with server.connect() as wire:
        wire.send(build("POST", "/shorten", [FORM, ("Expect", "100-continue"), ("Content-Length", "23")]))
        assert wire.read_answer().status == 429


def test_answers_are_dated(sluice):
    # time() of C may be a tick of the kernel's behind the clock that Python reads, and in the second before.
    before = int(time.clock_gettime(CLOCK_REALTIME_COARSE))
    date = email.utils.parsedate_to_datetime(sluice.get("/")["Date"]).timestamp()
    assert before <= date <= time.time()


def test_a_connection_serves_many_requests(unlimited):
    path = unlimited.code_of("http://example.org/")
    with unlimited.connect() as wire:
        for _ in range(200):
            wire.send(build("GET", path))
            assert wire.read_answer()["Location"] == "http://example.org/"
            wire.send(build("POST", "/shorten", [FORM], b"url=http://example.org/"))
            assert wire.read_answer().json == {"short_url": path}


def test_connection_close_is_honoured(unlimited):
    with unlimited.connect() as wire:
        wire.send(build("GET", "/", [("Connection", "close")]))
        answer = wire.read_answer()
        assert answer.status == 200 and answer["Connection"].lower() == "close"
        assert wire.ended()
