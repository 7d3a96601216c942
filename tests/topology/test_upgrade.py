# SPDX-License-Identifier: Apache-2.0
"""Servers restarted one after the other, as an operator upgrades them, while clients ask: no request fails, none is counted
twice, and the limit is the same throughout. The commands are those of docs/operations.md."""
import collections
import pathlib
import re
import signal
import subprocess

import pytest

from plant import oracle
from plant.figures import measured
from plant.hosts import ADDRESSES, CROWD, LB, SCALE
from plant.load import Background
from support.waiting import wait_until

LIMIT = 10
WINDOW_S = 60 * SCALE
PATIENT = {"SLUICE_LIMITER_TIMEOUT": "5s"}  # so that Redis decides all of it, also on a busy machine
FORM = [("Content-Type", "application/x-www-form-urlencoded")]
GUIDE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "operations.md"


@pytest.fixture
def site(plant):
    """Two servers, one Redis that keeps what it knows, one PostgreSQL, nginx."""
    redis, postgres = plant.start_redis(arguments=["--appendonly", "yes"]), plant.start_postgres()
    for n in (1, 2):
        plant.web(n, limit=f"{LIMIT}/{round(WINDOW_S * 1000)}ms", limiter=redis.url, links=postgres.uri(), env=PATIENT)
    for web in plant.webs.values():
        web.wait_until_ready()
        web.wait_for_store(2)
    plant.start_nginx()
    return plant


def clients(path):
    """Forty that follow a link, ten that shorten: each asks more often than it may."""
    visitors = [{"every_s": WINDOW_S / 40, "target": LB, "path": path, "client": client} for client in CROWD[:40]]
    authors = [{"every_s": WINDOW_S / 40, "target": LB, "path": "/shorten", "method": "POST", "fields": FORM, "client": client,
                "body": f"url=https://example.com/{client}".encode()} for client in CROWD[40:50]]
    return visitors + authors


def workers(nginx):
    done = subprocess.run(["pgrep", "-P", str(nginx.process.pid)], capture_output=True, text=True, check=False)
    return set(done.stdout.split())


def guide_command(address, word):
    """The line of the guide that takes a server out of nginx, or puts it back; for this address."""
    found = re.findall(r"^ +(?:lb# +)?(sed -i '[^']*') /etc/nginx/conf\.d/sluice\.conf", GUIDE.read_text(), re.MULTILINE)
    [command] = [one for one in found if one.startswith(f"sed -i '/server 10.0.0.111:80 /{word}")]
    return command.replace("10.0.0.111", address)


def edit_and_reload(nginx, command):
    """One edit, and a reload that is over: the processes that know the old file have answered all that they had and ended."""
    before, old = nginx.conf.read_text(), workers(nginx)
    subprocess.run(f"{command} {nginx.conf}", shell=True, check=True)
    assert nginx.conf.read_text() != before, command
    nginx.check()
    nginx.process.send_signal(signal.SIGHUP)
    wait_until(lambda: workers(nginx) and not workers(nginx) & old, what="nginx's old processes to end")


def restart(web):
    """What `systemctl restart` does, and what the package does in an upgrade: it returns when the server serves."""
    web.stop()
    web.start()
    web.wait_until_ready()


def served(web):
    return web.metrics().total("sluice_decisions_total", by="store")


def test_an_upgrade_of_one_server_after_the_other_drops_no_request(site):
    path = site.webs[1].code_of("https://example.com/", source=CROWD[-1])
    with Background(site.load, clients(path)) as background:
        for n in (1, 2, 1, 2):
            web, other = site.webs[n], site.webs[3 - n]
            address = ADDRESSES[web.host]
            wait_until(lambda: served(web) > 300, what=f"{web.host} to have its part")
            edit_and_reload(site.nginx, guide_command(address, "s/;/ down;/"))
            restart(web)
            before = served(other)
            wait_until(lambda: served(other) > before + 50, what="the other to carry on alone")
            assert served(web) == 0, "it was to get nothing yet"
            edit_and_reload(site.nginx, guide_command(address, "s/ down;/;/"))
            web.wait_for_store(2)
        # Into the third window, so that what was let pass before the restarts matters after them.
        wait_until(lambda: len(oracle.passed(background.shots)) > 2 * LIMIT * 50, what="two windows to pass")
    shots = background.shots
    oracle.check_answered(shots, (200, 302, 429))
    oracle.check_denials_are_whole(shots)
    oracle.check_exact(shots, LIMIT, WINDOW_S)
    assert len(oracle.denied(shots)) > 100
    measured(f"4 restarts, {len(shots)} requests, 0 failed, {len(oracle.passed(shots))} passed: as many as an exact limiter lets; "
             f"the longest took {max(shot.took_s for shot in shots) * 1000:.0f} ms")


def test_a_restart_without_further_ado_costs_posts_at_most(site):
    """Nothing is done to nginx. It passes on what it can; a POST that met a closing connection is told 502, and no limit is
    exceeded."""
    path = site.webs[1].code_of("https://example.com/", source=CROWD[-1])
    with Background(site.load, clients(path)) as background:
        for n in (1, 2, 1, 2):
            # Not before nginx believes in the other one again: a server that has failed it gets nothing for 5 s.
            wait_until(lambda: all(served(web) > 150 for web in site.webs.values()), limit_s=60, what="both to have a part")
            restart(site.webs[n])
    failed = [shot for shot in background.shots if shot.status not in (200, 302, 429)]
    assert all(shot.method == "POST" and shot.status == 502 for shot in failed), failed
    by = collections.Counter(line["decision"] for web in site.webs.values() for i in range(1, web.starts + 1)
                             for line in web.log(web.folder / f"stdout.{i}"))
    # A server waits a second for Redis before it serves; on a busy machine that may be too short for a few requests.
    assert sum(by[word] for word in by if word not in ("allowed", "denied", "-")) < by.total() / 50, by
    oracle.check_never_over_admits(background.shots, LIMIT, WINDOW_S)
    measured(f"4 restarts, {len(background.shots)} requests, {len(failed)} of them failed, all POST")
