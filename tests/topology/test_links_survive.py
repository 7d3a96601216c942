# SPDX-License-Identifier: Apache-2.0
"""PostgreSQL is killed and comes back, servers are killed with it: cached redirects never fail, and not one short link that
was answered is lost."""
import itertools
import time
import urllib.parse

import pytest

from plant import oracle
from plant.figures import measured
from plant.hosts import LB
from plant.load import Background
from support.waiting import wait_until

FORM = ("Content-Type", "application/x-www-form-urlencoded")
AT_ONCE_S = 2.0  # far past what an answer without a database may take, also on a busy machine


def form(url):
    return {"method": "POST", "path": "/shorten", "fields": [FORM], "body": urllib.parse.urlencode({"url": url}).encode()}


class Creator:
    """Shortens new URLs without end; remembers what was answered."""

    def __init__(self, load):
        self.load = load
        self.made = {}  # path of the short link: URL
        self.shots = []
        self.over = False
        self.numbers = itertools.count()
        self.futures = [load.start(self.run()) for _ in range(4)]

    async def run(self):
        while not self.over:
            url = f"https://example.com/{next(self.numbers)}"
            shot = await self.load.shoot(LB, **form(url))
            self.shots.append(shot)
            if shot.status == 200:
                self.made[shot.answer.json["short_url"]] = url

    def stop(self):
        self.over = True
        for future in self.futures:
            future.result(60)


@pytest.fixture
def linked(plant):
    """Two servers on one database, behind nginx; and some links that both have in their caches."""
    postgres = plant.start_postgres()
    for n in (1, 2):
        plant.web(n, limit="off", links=postgres.uri())
    plant.start_nginx()
    plant.webs[1].wait_until_ready()
    cached = {plant.webs[1].code_of(f"https://example.org/cached/{i}"): f"https://example.org/cached/{i}" for i in range(20)}
    for web in plant.webs.values():
        follow_all(web, cached)
    return plant, postgres, cached


def follow_all(web, links):
    web.wait_until_ready()
    for path, url in links.items():
        answer = web.get(path)
        assert (answer.status, answer["Location"]) == (302, url), f"{path} is lost: {answer}"


def wait_for_creates(creator):
    before = len(creator.made)
    wait_until(lambda: len(creator.made) > before + 20, what="links to be made again")


def visits(cached):
    return [{"every_s": 0.02, "target": LB, "path": path} for path in cached]


def check_creates(shots, least_refused):
    """Answered in time, with the link or with the advice to come back."""
    refused = [shot for shot in shots if shot.status == 503]
    assert len(refused) >= least_refused
    assert all(int(shot.answer["Retry-After"]) >= 1 for shot in refused), refused[:3]
    worst = max(shot.took_s for shot in shots)
    measured(f"{len(shots)} creates, {len(refused)} refused, the slowest answer after {worst * 1000:.0f} ms")
    return worst


def test_the_database_is_killed_and_comes_back(linked):
    plant, postgres, cached = linked
    creator = Creator(plant.load)
    with Background(plant.load, visits(cached)) as background:
        for _ in range(3):
            wait_for_creates(creator)
            postgres.kill()
            refused = len(creator.shots)
            wait_until(lambda: len(creator.shots) > refused + 20, what="creates to be answered without a database")
            postgres.start()
        wait_for_creates(creator)
    creator.stop()
    followed = [shot for shot in background.shots if shot.path in cached]
    oracle.check_answered(followed, (302,))
    assert all(shot.answer["Location"] == cached[shot.path] for shot in followed)
    oracle.check_answered(creator.shots, (200, 503))
    assert check_creates(creator.shots, 20) < AT_ONCE_S, "it hung"
    for web in plant.webs.values():
        follow_all(web, creator.made)
    rows = dict(postgres.psql("SELECT '/' || code, url FROM links"))  # with what was committed, but could not be answered any more
    assert creator.made == {path: rows.get(path) for path in creator.made}


@pytest.mark.parametrize("harm", ["paused", "cut off"])
def test_a_database_that_is_silent_hangs_nobody(linked, harm):
    plant, postgres, cached = linked
    creator = Creator(plant.load)
    with Background(plant.load, visits(cached)) as background:
        wait_for_creates(creator)
        postgres.pause() if harm == "paused" else plant.network.cut("postgres")
        refused = len(creator.shots)
        wait_until(lambda: len(creator.shots) > refused + 20, what="creates to be answered without a database")
        postgres.go_on() if harm == "paused" else plant.network.mend("postgres")
        wait_for_creates(creator)
    creator.stop()
    oracle.check_answered([shot for shot in background.shots if shot.path in cached], (302,))
    oracle.check_answered(creator.shots, (200, 503))
    check_creates(creator.shots, 20)
    for web in plant.webs.values():
        follow_all(web, creator.made)


def test_kill_9_of_database_and_servers_loses_no_link_that_was_answered(linked):
    plant, postgres, cached = linked
    made = dict(cached)
    for order in ("database first", "servers first"):
        creator = Creator(plant.load)
        wait_for_creates(creator)
        if order == "database first":
            postgres.kill()
        for web in plant.webs.values():
            web.kill()
        if order == "servers first":
            postgres.kill()
        creator.stop()
        oracle.check_answered(creator.shots, (200, 502, 503, 504))
        made.update(creator.made)
        postgres.start()
        for web in plant.webs.values():
            web.start()
            follow_all(web, made)
    measured(f"{len(made)} links, none lost")


def test_one_url_gets_one_code_whichever_server_is_asked(linked):
    plant, _, _ = linked
    shots = [plant.load.start(plant.load.shoot(LB, **form(f"https://example.net/{i % 10}"))) for i in range(200)]
    codes = {}
    for i, future in enumerate(shots):
        shot = future.result(60)
        assert shot.status == 200, shot
        codes.setdefault(i % 10, set()).add(shot.answer.json["short_url"])
    assert all(len(some) == 1 for some in codes.values()) and len(set().union(*codes.values())) == 10, codes
    for web in plant.webs.values():
        assert web.metrics().total("sluice_requests_total", endpoint="shorten") > 20
