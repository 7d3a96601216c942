# SPDX-License-Identifier: Apache-2.0
"""The load tests of deploy/k6, as the load host of the plant runs them, through nginx."""
import concurrent.futures
import re
import signal
import subprocess

import pytest

from plant.hosts import ADDRESSES, CROWD, SCALE
from support.k6 import ROOT, SCRIPT_EXCEPTION, THRESHOLDS_FAILED, run_k6
from support.waiting import wait_until

PATIENT_STORE = {"SLUICE_LIMITER_TIMEOUT": "5s"}  # so that Redis decides all of it, also on a busy machine
LIMIT = 10
WINDOW_S = 60 * SCALE
# The story of rate-test.js at the plant's pace. At the full one it needs to be told nothing.
STORY = {} if SCALE == 1 else {"WINDOW": WINDOW_S, "EVERY": SCALE, "RAMP_UP": 30 * SCALE, "STEADY": 60 * SCALE,
                               "RAMP_DOWN": 10 * SCALE, "SLACK": 2}
# As soon as the clients are there, it is clear that too many pass.
BEGINNING = {**STORY, "RAMP_UP": 10 * SCALE, "STEADY": 10 * SCALE, "RAMP_DOWN": 0, "PATIENT": 0}


def run_on_load_host(plant, script, env, *arguments):
    return run_k6(script, env, *arguments, before=plant.network.command("load"), cwd=plant.folder)


def start(plant, limit=LIMIT, shared=True):
    redis = plant.start_redis() if shared else None
    for n in (1, 2):
        plant.web(n, limit=f"{limit}/{round(WINDOW_S * 1000)}ms", limiter=redis.url if shared else None, env=PATIENT_STORE)
    plant.start_nginx()
    for web in plant.webs.values():
        web.wait_until_ready()


def test_the_plant_passes_the_rate_test(plant):
    start(plant)
    run = run_on_load_host(plant, "rate-test.js", {**STORY, "SUMMARY": "summary.json"})
    assert run.status == 0, run
    assert f"most admitted in {WINDOW_S:g} s: {LIMIT} of {LIMIT}\n" in run.stdout, run
    assert "not judged" not in run.stdout and "BROKEN" not in run.stdout, run
    assert (plant.folder / "summary.json").stat().st_size > 0
    for web in plant.webs.values():
        asked = web.metrics().total("sluice_requests_total", endpoint="shorten")
        assert asked >= 100, f"{web.host} had no part in it"
    assert {line["client"] for web in plant.webs.values() for line in web.log() if "POST" in line["method"]} == {ADDRESSES["load"]}


@pytest.mark.parametrize("wrong", [{"limit": LIMIT + 1}, {"shared": False}], ids=["one more", "a limit each"])
def test_a_plant_with_a_wrong_limit_fails_the_rate_test(plant, wrong):
    start(plant, **wrong)
    run = run_on_load_host(plant, "rate-test.js", BEGINNING)
    assert run.status == THRESHOLDS_FAILED and run.crossed == {"admitted_in_window"}, run


def test_each_address_has_a_limit_of_its_own(plant):
    start(plant)
    addresses = CROWD[:2]
    with concurrent.futures.ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda address: run_on_load_host(plant, "rate-test.js", BEGINNING, "--local-ips", address), addresses))
    for run in runs:
        assert run.status == 0 and f"requests: {LIMIT} admitted" in run.stdout, run
    assert {line["client"] for web in plant.webs.values() for line in web.log() if "POST" in line["method"]} == set(addresses)


# The mixed load, at the rates that it has by itself, for a moment. What is late on a machine full of tests is not judged.
MIXED = {"RAMP": 0.5, "DURATION": 3, "LINKS": 20, "ANSWER": 0.1, "LATE": 1, "P95_SHORTEN": 9999, "P95_REDIRECT": 9999, "P95_MISS": 9999}


@pytest.fixture
def loaded(plant):
    """The whole plant: two servers, links in PostgreSQL, limits of 10 in 60 s in Redis, nginx as it is."""
    redis, postgres = plant.start_redis(), plant.start_postgres()
    for n in (1, 2):
        plant.web(n, limit="10/60s", limiter=redis.url, links=postgres.uri(), env=PATIENT_STORE).wait_until_ready()
    plant.start_nginx()
    return plant


def believe_the_load_host(nginx):
    """Takes the marks off the lines that deploy/k6/README.md names."""
    lines = [("#set_real_ip_from 192.0.2.0/24;", f"set_real_ip_from {ADDRESSES['load']};"),
             ("#real_ip_header X-Forwarded-For;", "real_ip_header X-Forwarded-For;")]
    assert all(old in README and new in README for old, new in lines)
    change(nginx, lines)


def change(nginx, lines):
    """Puts new text in place of old, and waits until the new configuration is in force."""
    text = nginx.conf.read_text()
    for old, new in lines:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    nginx.conf.write_text(text)
    workers = children(nginx.process.pid)
    nginx.process.send_signal(signal.SIGHUP)
    wait_until(lambda: children(nginx.process.pid).isdisjoint(workers), what="the old workers of nginx to end")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(file.read().split())


README = (ROOT / "deploy" / "k6" / "README.md").read_text()


def test_the_plant_carries_the_mixed_load_of_many_clients(loaded):
    believe_the_load_host(loaded.nginx)
    run = run_on_load_host(loaded, "script.js", MIXED)
    assert run.status == 0, run
    told = re.findall(r"kept    (\S+ \S+( code>)?), \d+ a second: (\d+) of (\d+) answered", run.stdout)
    assert len(told) == 3 and all(int(right) == int(asked) > 20 for _, _, right, asked in told), run
    clients = {line["client"] for web in loaded.webs.values() for line in web.log() if line["path"] != "/readyz"}
    assert len(clients) > 500 and all(client.startswith("198.1") for client in clients), sorted(clients)[:20]


def test_the_mixed_load_of_one_address_is_denied_and_says_so(loaded):
    run = run_on_load_host(loaded, "script.js", MIXED)
    assert run.status == THRESHOLDS_FAILED and "denied" in run.crossed and "errors" not in run.crossed, run
    assert "BROKEN  denied by a limit" in run.stdout, run


@pytest.fixture
def encrypted(loaded):
    """nginx also speaks TLS, with a certificate that nobody vouches for, and serves everything below /links/ as well."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=plant", "-days", "1", "-keyout", "privkey.pem",
                    "-out", "fullchain.pem"], cwd=loaded.folder, check=True, capture_output=True)
    change(loaded.nginx, [("#listen 443 ssl;", "listen 443 ssl;"),
                          ("#ssl_certificate /etc/ssl/sluice/", f"ssl_certificate {loaded.folder}/"),
                          ("#ssl_certificate_key /etc/ssl/sluice/", f"ssl_certificate_key {loaded.folder}/"),
                          ("location / {", "location /links/ {\n\t\tproxy_pass http://sluice/;\n\t}\n\tlocation / {")])
    return loaded


def test_both_load_tests_work_in_tls_and_below_a_path(encrypted):
    believe_the_load_host(encrypted.nginx)
    env = {"BASE_URL": f"https://{ADDRESSES['lb']}/links/"}
    refused = run_on_load_host(encrypted, "rate-test.js", env)
    assert refused.status == SCRIPT_EXCEPTION and "no answer (self-signed certificate)" in refused.stderr, refused
    run = run_on_load_host(encrypted, "rate-test.js", {**BEGINNING, **env, "WINDOW": 60}, "--insecure-skip-tls-verify")
    assert run.status == 0 and f"requests: {LIMIT} admitted" in run.stdout, run
    run = run_on_load_host(encrypted, "script.js", {**MIXED, **env, "RAMP": 0.1, "DURATION": 1}, "--insecure-skip-tls-verify")
    assert run.status == 0, run
    asked = {line["path"] for web in encrypted.webs.values() for line in web.log()} - {"/readyz"}
    assert "/shorten" in asked and not any(path.startswith("/links") for path in asked)


def test_servers_that_do_not_share_their_links_fail_the_mixed_load(plant):
    for n in (1, 2):
        plant.web(n, limit="off")
    plant.start_nginx()
    run = run_on_load_host(plant, "script.js", MIXED)
    assert run.status == THRESHOLDS_FAILED and "errors" in run.crossed and "GET /<code>: 404 URL not found" in run.stderr, run
