# SPDX-License-Identifier: Apache-2.0
"""/metrics: readable, true, and closed to what outsiders say."""
import re
import time

import pytest

from support.waiting import wait_until
from support.wire import build

FORM = ("Content-Type", "application/x-www-form-urlencoded")

COUNTERS = {
    "sluice_decisions_total", "sluice_requests_total", "sluice_limiter_refused_total", "sluice_limiter_expired_total",
    "sluice_limiter_errors_total", "sluice_limiter_commands_total", "sluice_limiter_writes_total",
    "sluice_limiter_timeouts_total", "sluice_limiter_reconnects_total", "sluice_deny_cache_hits_total",
    "sluice_link_cache_hits_total", "sluice_link_cache_misses_total", "sluice_clicks_lost_total",
    "sluice_link_commits_total", "sluice_links_created_total", "sluice_link_errors_total", "sluice_link_refused_total",
    "sluice_connections_accepted_total", "sluice_connections_refused_total", "sluice_connections_timed_out_total",
    "sluice_connection_errors_total", "sluice_access_log_dropped_total",
}
GAUGES = {
    "sluice_limiter_keys", "sluice_limiter_bytes", "sluice_limiter_up", "sluice_limiter_servers",
    "sluice_limiter_connections", "sluice_limiter_module_connections", "sluice_deny_cache_entries", "sluice_link_cache_entries",
    "sluice_link_cache_bytes", "sluice_links_up", "sluice_link_reads_queued", "sluice_link_writes_queued", "sluice_clicks_pending",
    "sluice_connections_open", "sluice_connections_max", "sluice_limiter_keys_max", "sluice_start_time_seconds",
}
OUR_LABELS = {
    "endpoint": {"home", "shorten", "redirect", "operations", "broken"},
    "status": {"none", "1xx", "2xx", "3xx", "4xx", "5xx"},
    "outcome": {"allowed", "denied"},
    "by": {"store", "local", "open", "closed"},
    "limit": {"per-client"},
}


def test_every_metric_is_there_and_explained(sluice):
    metrics = sluice.metrics()  # the parser is strict
    assert {name for name, kind in metrics.types.items() if kind == "counter"} >= COUNTERS
    assert {name for name, kind in metrics.types.items() if kind == "gauge"} >= GAUGES
    assert metrics.types["sluice_request_duration_seconds"] == "histogram"
    assert set(metrics.types) == set(metrics.helps)
    assert all(name.startswith("sluice_") for name in metrics.types)


def test_a_restart_is_seen_also_of_a_server_that_nobody_asks(start):
    before = time.time()
    server = start()
    first = server.metrics().value("sluice_start_time_seconds")
    assert before - 1 <= first <= time.time()
    assert server.metrics().value("sluice_start_time_seconds") == first
    server.stop()
    server.start()
    assert server.metrics().value("sluice_start_time_seconds") > first


def test_bounds_are_told_beside_what_they_bound(start):
    metrics = start(config="server: {max_connections: 77}\nlimiter: {max_keys: 4000000000}\n").metrics()
    assert metrics.value("sluice_connections_max") == 77 and metrics.value("sluice_limiter_keys_max") == 4000000000


def moved(before, after):
    """What has counted, without zeros and without what only measures."""
    return {key: after[key] - before.get(key, 0) for key in after
            if after.types.get(key[0]) == "counter" and after[key] != before.get(key, 0)}


def all_counted(server):
    """The metrics once every request but the one that asks for them has been counted. That is done when an answer has gone
    out: whoever has read it may ask another thread before."""
    def complete():
        now = server.metrics()
        accepted = now.value("sluice_connections_accepted_total")  # each of them asked once
        return now if now.total("sluice_requests_total") == accepted - 1 and now.value("sluice_connections_open") == 1 else None
    return wait_until(complete, what="every request to be counted")


def test_counters_tell_what_happened(start):
    server = start(limit="6/60s", threads=2)
    before = all_counted(server)
    path = server.code_of("http://example.org/")  # 1
    assert server.code_of("http://example.org/") == path  # 2
    server.get(path)  # 3
    server.get(path)  # 4
    server.get("/nothing")  # 5
    server.get("/")  # 6
    for _ in range(4):
        assert server.get(path).status == 429
    server.get("/healthz")
    wait_until(lambda: server.metrics().value("sluice_clicks_pending") == 0, what="the clicks to be written")
    after = all_counted(server)
    counted = moved(before, after)

    def requests(endpoint, status):
        return counted.pop(("sluice_requests_total", (("endpoint", endpoint), ("status", status))), 0)

    def one(name, **labels):
        return counted.pop((name, tuple(sorted(labels.items()))), 0)

    assert requests("shorten", "2xx") == 2
    assert requests("redirect", "3xx") == 2
    assert requests("redirect", "4xx") == 1 + 4
    assert requests("home", "2xx") == 1
    pages = requests("operations", "2xx")
    assert pages >= 3  # healthz, and metrics itself
    assert one("sluice_decisions_total", limit="per-client", outcome="allowed", by="store") == 6
    assert one("sluice_decisions_total", limit="per-client", outcome="denied", by="store") == 4
    assert one("sluice_links_created_total") == 1
    assert one("sluice_link_commits_total") >= 1
    assert one("sluice_link_cache_hits_total") + one("sluice_link_cache_misses_total") == 3
    assert one("sluice_connections_accepted_total") == 2 + 9 - 1 + pages
    assert counted == {}  # and nothing else has moved
    assert after.value("sluice_limiter_keys") == 1
    assert after.value("sluice_limiter_bytes") > 0
    assert after.value("sluice_link_cache_entries") == 1
    assert after.value("sluice_connections_open") == 1
    assert after.value("sluice_request_duration_seconds_count") == after.total("sluice_requests_total")


def test_the_histogram_counts_every_request_and_its_time(start):
    server = start(limit="off", threads=2)
    began = time.monotonic()
    with server.connect() as wire:
        wire.send(build("GET", "/") * 500)
        for _ in range(500):
            wire.read_answer()
    # A request that takes long: its body is late.
    with server.connect() as wire:
        wire.send(build("POST", "/shorten", [FORM, ("Content-Length", "23")]) + b"url=")
        late = time.monotonic()
        wait_until(lambda: time.monotonic() >= late + 0.2, what="a fifth of a second")
        wire.send(b"http://example.org/")
        assert wire.read_answer().status == 200
    # A request is counted when its answer has gone out, so a moment after its client has it; its time comes last.
    wait_until(lambda: server.metrics().total("sluice_requests_total", endpoint="shorten", status="2xx") == 1
               and server.metrics().value("sluice_request_duration_seconds_sum") >= 0.2, what="the last request")
    metrics = server.metrics()
    took_s = time.monotonic() - began
    asked = metrics.value("sluice_request_duration_seconds_count")
    assert 0.2 <= metrics.value("sluice_request_duration_seconds_sum") <= took_s * asked
    buckets = {dict(labels)["le"]: n for (name, labels), n in metrics.items() if name == "sluice_request_duration_seconds_bucket"}
    assert buckets["0.1"] < asked and buckets["+Inf"] == asked


def test_counters_only_grow(start):
    server = start(limit="off", threads=2)
    seen = server.metrics()
    for i in range(20):
        server.get("/" if i % 2 else "/nothing")
        now = server.metrics()
        assert set(now) >= set(seen)
        for key, value in seen.items():
            if now.types.get(key[0]) == "counter" or "_bucket" in key[0]:
                assert now[key] >= value, key
        seen = now


def test_outsiders_write_no_label(start):
    """A label that a client chooses would let him fill the memory of whoever collects the metrics."""
    server = start(limit="off", config="trusted_proxies: [127.0.0.1]\n")
    names = set(server.metrics())
    odd = "mallory"
    for method, target, fields in [
        ("GET", f"/{odd}", []),
        ("GET", f"/?{odd}=1", []),
        (odd.upper(), "/", []),
        ("GET", f'/"}}{odd}{{a="', []),
        ("GET", "/", [("Host", odd), ("User-Agent", odd), ("Referer", odd), ("Cookie", f"{odd}={odd}")]),
        ("GET", "/", [("X-Forwarded-For", "203.0.113.99")]),
        ("POST", "/shorten", [FORM]),
    ]:
        server.request(method, target, fields, f"url=http://{odd}.example/".encode() if method == "POST" else None)
    with server.connect() as wire:
        wire.send(f"{odd} {odd} {odd}\r\n\r\n".encode())
        wire.read_end()
    page = server.get("/metrics").body.decode()
    assert odd not in page.lower() and "203.0.113.99" not in page
    metrics = server.metrics()
    assert set(metrics) == names  # not one series more
    for _, labels in metrics:
        for label, value in labels:
            assert label == "le" or value in OUR_LABELS[label], (label, value)


@pytest.mark.parametrize("limits", ["off", "10/60s"])
def test_the_page_is_whole_under_load(start, limits):
    server = start(limit=limits, threads=2)
    with server.connect() as load:
        for _ in range(30):
            load.send(build("GET", "/") * 100)
            server.metrics()
            for _ in range(100):
                load.read_answer()
    # A request is counted when its answer is out, which the client may have read by then.
    wait_until(lambda: server.metrics().total("sluice_requests_total", endpoint="home") >= 3000, what="the last to be counted")
    assert server.metrics().total("sluice_requests_total", endpoint="home") == 3000


def test_broken_requests_are_counted(start):
    server = start(limit="off")
    before = server.metrics()
    for _ in range(5):
        with server.connect() as wire:
            wire.send(b"GET / HTTP/1.1\r\nnonsense\r\n\r\n")
            assert wire.read_answer().status == 400
    key = ("sluice_requests_total", (("endpoint", "broken"), ("status", "4xx")))
    # The library's own answers are counted after they have gone out.
    wait_until(lambda: server.metrics()[key] - before[key] >= 5, what="the last answer to be counted")
    after = server.metrics()
    assert after[key] - before[key] == 5
    assert after.value("sluice_connection_errors_total") - before.value("sluice_connection_errors_total") >= 5


def test_each_limit_has_its_own_counters(start):
    server = start(config="limits:\n  - {name: small, limit: 1, window: 60s}\n  - {name: large, limit: 5, window: 60s}\n")
    statuses = [server.get("/").status for _ in range(3)]
    assert statuses == [200, 429, 429]
    metrics = server.metrics()
    assert metrics.total("sluice_decisions_total", limit="small", outcome="allowed") == 1
    assert metrics.total("sluice_decisions_total", limit="small", outcome="denied") == 2
    assert metrics.total("sluice_decisions_total", limit="large", outcome="denied") == 0
    assert not re.search(r"per-client", server.get("/metrics").body.decode())
