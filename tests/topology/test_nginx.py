# SPDX-License-Identifier: Apache-2.0
"""deploy/nginx/sluice.conf, as it is, in front of two servers: what it tells them, what it lets through, what it asks twice."""
import re
import urllib.parse

import pytest

from plant.hosts import CROWD, LB, NGINX_CONF, Nginx
from support.waiting import wait_until
from support.wire import Wire, build

FORM = ("Content-Type", "application/x-www-form-urlencoded")


@pytest.fixture
def front(plant):
    """nginx before two servers, each with a limiter and links of its own."""
    plant.web(1, limit="off")
    plant.web(2, limit="off")
    plant.start_nginx()
    return plant


def ask(plant, data):
    """Raw bytes to nginx, one answer back."""
    with plant.network.on("load"), Wire(LB) as wire:
        wire.send(data)
        return wire.read_answer()


def ask_in_any_way(plant, data):
    """Raw bytes to nginx; all that comes back until it ends the connection."""
    with plant.network.on("load"), Wire(LB) as wire:
        wire.send(data)
        return wire.read_end()


def form(url):
    return urllib.parse.urlencode({"url": url}).encode()


def waiting_for(plant, host):
    """How many bytes of requests lie unread at a host's port 80."""
    listing = plant.run(host, "ss", "-Htn", "state", "established", "sport", "= :80")
    return sum(int(line.split()[0]) for line in listing.splitlines())


def test_nginx_accepts_it_and_has_nothing_to_warn_of(plant):
    plant.start_nginx()
    said = plant.nginx.check()
    assert "test is successful" in said and "warn" not in said, said


def test_it_names_all_web_servers_and_how_to_add_one(front):
    assert {ask(front, build("GET", "/", [("Connection", "close")])).status for _ in range(4)} == {200}
    assert {line["upstream"] for line in front.nginx.log(4)} == {"10.0.0.111:80", "10.0.0.112:80"}
    front.web(3, limit="off")
    front.nginx.add_server("10.0.0.113")

    def joined():
        assert ask(front, build("GET", "/", [("Connection", "close")])).status == 200
        return front.webs[3].log()

    wait_until(joined, what="the third server's first request")


@pytest.mark.parametrize("field", ["X-Forwarded-For", "Forwarded", "x-forwarded-for"])
def test_a_client_cannot_say_that_it_is_somebody_else(plant, field):
    plant.web(1, limit="off")
    plant.start_nginx()
    said = "for=203.0.113.7" if field == "Forwarded" else "203.0.113.7"
    answer = ask(plant, build("GET", "/", [(field, said), (field, said), ("Connection", "close")]))
    assert answer.status == 200
    assert [line["client"] for line in plant.webs[1].wait_for_log(1)] == ["10.0.0.160"]


def test_a_denial_comes_through_untouched(plant):
    web = plant.web(1, limit="1/60s")
    plant.start_nginx()
    assert ask(plant, build("GET", "/", [("Connection", "close")])).status == 200
    through = ask(plant, build("GET", "/", [("Connection", "close")]))
    direct = [web.get("/") for _ in range(2)][1]  # another client to Sluice: it comes past the proxy
    assert (through.status, through.body) == (429, b'{"error":"Rate limit exceeded"}') == (direct.status, direct.body)
    ours = {name for name, _ in direct.fields} - {"Date", "Connection"}
    assert {"Retry-After", "RateLimit", "RateLimit-Policy", "Content-Type", "Content-Length"} <= ours
    for name in ours:
        was, came = (re.sub(r"t=\d+", "t=", one[name]) if name != "Retry-After" else "" for one in (direct, through))
        assert was == came, name
    assert 1 <= int(through["Retry-After"]) <= 60


@pytest.mark.parametrize("url", ["http://sluice/elsewhere", "http://10.0.0.111/a//b/%2F?q=%20&r='\"#x", "https://example.com/" + "y" * 8172],
                         ids=["of nginx's upstream", "odd", "longest"])
def test_a_location_comes_through_byte_for_byte(plant, url):
    plant.web(1, limit="off")
    plant.start_nginx()
    body = form(url)
    code = ask(plant, build("POST", "/shorten", [FORM, ("Connection", "close")], body)).json["short_url"]
    answer = ask(plant, build("GET", code, [("Connection", "close")]))
    direct = plant.webs[1].get(code)
    assert answer.status == 302 and answer["Location"] == direct["Location"]


def test_what_is_for_the_operator_is_not_for_the_public(front):
    paths = ["/metrics", "/readyz", "/healthz", "//metrics", "/./readyz", "/%6detrics", "/metrics?x=1", "/x/../metrics"]
    for path in paths:
        assert ask(front, build("GET", path, [("Connection", "close")])).status == 404
    assert {line["upstream"] for line in front.nginx.log(len(paths))} == {"-"}, "a server was asked"


def test_no_spelling_of_it_is_either(front):
    for target in ("/metrics#x", "http://sluice.example/metrics", "/metrics%3Fx", "/metrics%0A", "/METRICS", "/metrics/", "/metrics;x",
                   "/.//metrics", "/a/..%2Fmetrics", "/%2Fmetrics", "/healthz%20"):
        said = ask_in_any_way(front, f"GET {target} HTTP/1.1\r\nHost: sluice.example\r\nConnection: close\r\n\r\n".encode())
        assert said.startswith(b"HTTP/1.1 404 ") and b"sluice_" not in said, (target, said)


HEAD = b"POST /shorten HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
HIDDEN = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


AMBIGUOUS = {
    "length and chunks": HEAD + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 0\r\nContent-Length: 27\r\n\r\n",
    "two encodings": HEAD + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "negative length": HEAD + b"Content-Length: -1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "long target": b"GET /" + b"x" * 40000 + b" HTTP/1.1\r\nHost: a\r\n\r\n",
    "long field": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 40000 + b"\r\n\r\n",
    "preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "small letters": b"get / HTTP/1.1\r\nHost: a\r\n\r\n",
}


def test_what_may_be_read_in_two_ways_reaches_no_server(front):
    """Nor does what comes after it on the connection."""
    for name, data in AMBIGUOUS.items():
        said = ask_in_any_way(front, data + HIDDEN)
        assert re.match(rb"HTTP/1\.1 (400|405|414|501|505) ", said) or name == "preface of HTTP/2", (name, said)
        assert said.count(b"HTTP/1.1 ") <= 1, (name, said)
    asked_well = [ask(front, build("GET", f"/{n}", [("Connection", "close")])).status for n in (1, 2)]
    assert asked_well == [404, 404]

    def seen():
        return [line for web in front.webs.values() for line in web.log()]

    wait_until(lambda: len(seen()) >= 2, what="both requests in the servers' logs")
    assert len(seen()) == 2, f"a server was asked: {seen()}"


def test_a_client_cannot_upgrade_past_it(front):
    fields = [("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA")]
    with front.network.on("load"), Wire(LB) as wire:
        wire.send(build("GET", "/", fields) + build("GET", "/", [("Connection", "close")]))
        assert [wire.read_answer().status for _ in range(2)] == [200, 200]


def test_a_body_in_chunks_reaches_the_server_whole(front):
    with front.network.on("load"), Wire(LB) as wire:
        body = form("https://example.com/chunks")
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:9], body[9:])) + b"0\r\n\r\n"
        wire.send(HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n" + chunks)
        assert wire.read_answer().status == 200


def test_a_slow_client_holds_no_server_and_is_given_up(plant, tmp_path):
    """As the file is, but for its 15 s, which would be long to wait for."""
    plant.web(1, limit="off")
    conf = tmp_path / "hasty.conf"
    text = NGINX_CONF.read_text()
    conf.write_text(re.sub(r"(client_(?:header|body)_timeout) 15s;", r"\1 1s;", text))
    assert conf.read_text().count("_timeout 1s;") == text.count("_timeout 1s;") + 2
    plant.nginx = Nginx(plant, tmp_path / "nginx", conf)
    plant.things.append(plant.nginx)
    plant.nginx.start()
    for data in (b"GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ", HEAD + b"Content-Length: 100\r\n\r\nurl=http"):
        with plant.network.on("load"), Wire(LB) as wire:
            wire.send(data)
            said = wire.read_end()  # it ends the connection
        assert said == b"" or said.startswith(b"HTTP/1.1 408 "), said
    assert plant.run("web-1", "ss", "-Htn", "state", "established", "sport", "= :80") == ""
    assert {line["upstream"] for line in plant.nginx.log(2)} == {"-"}


def test_a_body_that_is_too_large_is_refused_by_sluice_in_its_words(front):
    for size in (65536, 130000):
        answer = ask(front, build("POST", "/shorten", [FORM, ("Connection", "close")], b"url=" + b"x" * size))
        assert answer.status == 413 and "65536" in answer.error


def test_a_body_that_is_too_large_for_nginx_is_refused_in_the_same_form(front):
    answer = ask(front, build("POST", "/shorten", [FORM, ("Content-Length", str(1 << 20)), ("Connection", "close")]))
    assert answer.status == 413 and answer.error == "The body is too large"


def test_a_client_of_http_1_0_needs_no_host(front):
    with front.network.on("load"), Wire(LB) as wire:
        wire.send(b"GET / HTTP/1.0\r\n\r\n")
        assert wire.read_end().startswith(b"HTTP/1.1 200 ")


def test_connections_to_the_servers_are_kept(front):
    for _ in range(40):
        assert ask(front, build("GET", "/", [("Connection", "close")])).status == 200
    for web in front.webs.values():
        peers = front.run(web.host, "ss", "-Htn", "state", "established", "sport", "= :80").splitlines()
        assert 1 <= len(peers) <= 2, peers  # one a worker of nginx
        assert len(web.wait_for_log(20)) == 20


@pytest.fixture
def in_flight(front):
    """A function that sends a request that web-1 has received and not read. Returns its future, and how many requests
    web-2 has answered before."""
    def send(method, **request):
        front.webs[1].pause()
        target = {"target": LB, "method": method, "path": "/shorten" if method == "POST" else "/", **request}
        for answered in range(16):  # nginx says which server gets a request, and its workers need not agree on whose turn it is
            one = front.load.start(front.load.shoot(**target))
            wait_until(lambda one=one: one.done() or waiting_for(front, "web-1") > 0,
                       what="an answer from web-2, or a request before web-1")
            if not one.done():
                return one, answered
            assert one.result().status == 200, one.result()
        raise AssertionError("no request went to web-1")

    return send


def test_a_post_that_was_sent_is_never_sent_again(front, in_flight):
    lost, answered = in_flight("POST", fields=[FORM], body=form("https://example.com/"))
    front.webs[1].kill()
    shot = lost.result()
    assert shot.status == 502 and shot.answer["Retry-After"] == "1" and shot.answer.error == "No server answered"
    line, = [line for line in front.nginx.log(answered + 1) if line["status"] != "200"]
    assert (line["status"], line["upstream"]) == ("502", "10.0.0.111:80"), "it was passed on"
    assert len(front.webs[2].wait_for_log(answered)) == answered


def test_a_get_that_was_sent_is_asked_of_another_server_once(front, in_flight):
    lost, answered = in_flight("GET")
    front.webs[1].kill()
    assert lost.result().status == 200
    tried, = [line for line in front.nginx.log(answered + 1) if "," in line["upstream"]]
    assert (tried["upstream"], tried["upstream_status"]) == ("10.0.0.111:80, 10.0.0.112:80", "502, 200")
    assert len(front.webs[2].wait_for_log(answered + 1)) == answered + 1


class Slow:
    """Two servers with one limiter and one database, and a request that a server has counted and can't answer yet: the
    database is paused."""

    def __init__(self, plant):
        self.plant = plant
        self.redis, self.postgres = plant.start_redis(), plant.start_postgres()
        for n in (1, 2):
            plant.web(n, limiter=self.redis.url, links=self.postgres.uri()).wait_until_ready()
        plant.start_nginx()
        self.path = plant.webs[1].code_of("https://example.com/", source=CROWD[0])
        for web in plant.webs.values():
            web.stop()  # they forget the link
            web.start()
            web.wait_until_ready()

    def send(self, **request):
        self.postgres.pause()
        sent = self.plant.load.start(self.plant.load.shoot(LB, **request))
        wait_until(lambda: self.redis.ask("EXISTS", "rate_limit:per-client:{10.0.0.160}"), what="the request to be counted")
        return sent

    def kill_who_has_it(self):
        """Returns the other one."""
        has, = [web for web in self.plant.webs.values()
                if self.plant.run(web.host, "ss", "-Htn", "state", "established", "sport", "= :80")]
        has.kill()
        return next(web for web in self.plant.webs.values() if web is not has)

    def left(self):
        """What another request of the same client finds, itself counted."""
        shot = self.plant.load.do(self.plant.load.shoot(LB))
        return int(re.search(r";r=(\d+)", shot.answer["RateLimit"]).group(1))


def test_a_get_that_is_asked_twice_is_counted_twice(plant):
    slow = Slow(plant)
    sent = slow.send(path=slow.path)
    other = slow.kill_who_has_it()
    wait_until(lambda: plant.run(other.host, "ss", "-Htn", "state", "established", "sport", "= :80"), what="nginx to ask the other")
    slow.postgres.go_on()
    shot = sent.result()
    assert shot.status == 302 and shot.answer["RateLimit"].startswith('"per-client";r=8;'), shot.answer
    assert slow.left() == 7


def test_a_post_that_gets_no_answer_is_counted_once(plant):
    slow = Slow(plant)
    sent = slow.send(method="POST", path="/shorten", fields=[FORM], body=form("https://example.com/new"))
    slow.kill_who_has_it()
    assert sent.result().status == 502
    slow.postgres.go_on()
    assert slow.left() == 8


def test_a_server_that_is_down_is_passed_by_and_comes_back(front):
    """Nothing was sent to it, so nothing is counted twice: POSTs are passed on, too."""
    get, post = {}, {"method": "POST", "path": "/shorten", "fields": [FORM], "body": form("https://example.com/")}
    front.webs[1].kill()
    shots = [front.load.do(front.load.shoot(LB, **request)) for _ in range(6) for request in (post, post, get)]
    assert [shot.status for shot in shots] == [200] * 18
    passed_on = [line for line in front.nginx.log(18) if "," in line["upstream"]]
    assert 1 <= len(passed_on) <= 4, "max_fails=2, and each worker may be at one of its own at that time"
    assert any("POST" in line["request"] for line in passed_on)
    front.webs[1].start()

    def back():
        assert front.load.do(front.load.shoot(LB)).status == 200
        return front.webs[1].log()

    wait_until(back, what="requests to the server that came back")


def test_a_server_that_is_cut_off_costs_a_second_and_no_error(front):
    front.network.cut("web-1")
    shots = [front.load.do(front.load.shoot(LB)) for _ in range(6)]
    assert [shot.status for shot in shots] == [200] * 6
    assert {line["upstream_status"] for line in front.nginx.log(6)} == {"504, 200", "200"}
    front.network.mend("web-1")


def test_without_any_server_the_error_is_told_in_json(plant):
    plant.start_nginx()
    shot = plant.load.do(plant.load.shoot(LB))
    assert shot.status == 502 and shot.answer.error == "No server answered" and shot.answer["Retry-After"] == "1"
