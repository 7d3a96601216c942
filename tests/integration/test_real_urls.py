# SPDX-License-Identifier: Apache-2.0
"""Every URL of this machine's documentation: imported, followed, shortened again, exported."""
import json
import random
import re
import urllib.parse
import warnings

import pytest

from support.crowd import at_once
from support.server import run
from support.urls import found_in, made_up
from support.wire import build

ENOUGH = 3000
CLIENTS = 8
AHEAD = 64  # requests that a client sends before it reads
FORM = ("Content-Type", "application/x-www-form-urlencoded")
SUMMARY = re.compile(r"imported ([0-9,]+) links \(([0-9,]+) already there, ([0-9,]+) refused\) in [0-9.]+ s\n")


@pytest.fixture(scope="module")
def urls():
    found = found_in("/usr/share/doc")
    if len(found) < ENOUGH:
        warnings.warn(f"/usr/share/doc holds only {len(found)} URLs; made-up ones are added", stacklevel=1)
        found += made_up(ENOUGH)
    return [*found, b"http://user:secret@example.org/", b"http://example.org:port/", b"HTTPS://example.org/\xff"]


class Imported:
    """A server over a database that the URLs were imported into."""

    def __init__(self, server, urls, done):
        self.server, self.urls, self.done = server, urls, done
        self.rows = dict(server.rows("SELECT url, '/' || code FROM links"))
        # FILE:LINE: why: value
        self.refused = {}
        for line in done.stderr.splitlines():
            match = re.match(r"urls\.txt:(\d+): (.*)", line)
            assert match, f"not a report: {line!r}"
            self.refused[urls[int(match.group(1)) - 1]] = match.group(2)


@pytest.fixture(scope="module")
def imported(start_shared, urls):
    server = start_shared(limit="off", threads=2)
    (server.folder / "urls.txt").write_bytes(b"".join(url + b"\n" for url in urls))
    done = run("links", "import", "urls.txt", cwd=server.folder)  # beside the running server
    return Imported(server, urls, done)


def in_shares(items, work):
    """Splits `items` among clients that work at once; returns all results."""
    return [result for some in at_once(CLIENTS, lambda i: work(items[i::CLIENTS])) for result in some]


def exchange(server, requests):
    """Sends the requests over one connection, some ahead of their answers. Returns the answers."""
    answers = []
    with server.connect() as wire:
        for i in range(0, len(requests), AHEAD):
            some = requests[i:i + AHEAD]
            wire.send(b"".join(some))
            answers += [wire.read_answer() for _ in some]
    return answers


def shorten(url):
    return build("POST", "/shorten", [FORM], b"url=" + urllib.parse.quote_from_bytes(url).encode())


def test_the_account_of_the_import_adds_up(imported):
    match = SUMMARY.fullmatch(imported.done.stdout)
    assert match, imported.done.stdout
    created, there, refused = (int(number.replace(",", "")) for number in match.groups())
    assert created + there + refused == len(imported.urls)
    assert there == 0  # they are all different
    assert created == len(imported.rows) >= ENOUGH * 0.9
    assert refused == len(imported.refused)
    assert imported.done.returncode == (1 if refused else 0)
    assert {url.decode("latin-1") for url in imported.urls} - {url.decode("latin-1") for url in imported.refused} == set(
        imported.rows)


def test_what_the_import_refuses_the_server_refuses_for_the_same_reason(imported):
    refused = sorted(imported.refused)[:2000]
    answers = in_shares(refused, lambda some: list(zip(some, exchange(imported.server, [shorten(url) for url in some]))))
    assert len(answers) == len(refused) > 0
    for url, answer in answers:
        assert answer.status == 400, url
        assert imported.refused[url].startswith(answer.error + ": "), url


def test_every_link_leads_where_it_should(imported):
    def follow(some):
        return list(zip(some, exchange(imported.server, [build("GET", imported.rows[url]) for url in some])))

    wrong = [(url, answer) for url, answer in in_shares(sorted(imported.rows), follow)
             if (answer.status, answer["Location"]) != (302, url)]
    assert not wrong, wrong[:5]


def test_the_same_urls_get_the_same_codes_again(imported):
    """Eight clients shorten what is there already, each what chance gives it: nothing is added."""
    before = imported.server.rows("SELECT count(*) FROM links")
    accepted = sorted(imported.rows)

    def again(i):
        mine = random.Random(i).sample(accepted, min(len(accepted), 3000))
        answers = exchange(imported.server, [shorten(url.encode()) for url in mine])
        return [(url, answer) for url, answer in zip(mine, answers)
                if answer.status != 200 or answer.json != {"short_url": imported.rows[url]}]

    wrong = [pair for some in at_once(CLIENTS, again) for pair in some]
    assert not wrong, wrong[:5]
    assert imported.server.rows("SELECT count(*) FROM links") == before
    assert imported.server.rows("SELECT count(DISTINCT url), count(DISTINCT code) FROM links") == [before[0] * 2]


def test_new_urls_shortened_by_all_at_once_get_one_code_each(start, urls):
    """Eight clients race for the same URLs, which nobody has shortened before."""
    server = start(limit="off", threads=2)
    some = random.Random(2).sample([url for url in urls if b"@" not in url], 1000)

    def race(i):
        mine = random.Random(i).sample(some, len(some))
        return {url: answer.body for url, answer in zip(mine, exchange(server, [shorten(url) for url in mine]))}

    answers = at_once(CLIENTS, race)
    for other in answers[1:]:
        assert other == answers[0]
    created = [json.loads(body)["short_url"] for body in answers[0].values() if b"short_url" in body]
    assert len(set(created)) == len(created) > 900
    assert server.rows("SELECT count(*), count(DISTINCT url) FROM links") == [(len(created), len(created))]


def test_an_import_can_be_run_again(imported):
    done = run("links", "import", "urls.txt", cwd=imported.server.folder)
    created, there, refused = (int(number.replace(",", "")) for number in SUMMARY.fullmatch(done.stdout).groups())
    assert (created, there, refused) == (0, len(imported.rows), len(imported.refused))


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_an_export_moves_every_link_to_another_database(imported, kind):
    folder = imported.server.folder
    done = run("links", "export", f"all.{kind}", cwd=folder)
    assert done.returncode == 0 and f"exported {len(imported.rows):,} links" in done.stdout + done.stderr
    done = run("links", "import", f"all.{kind}", "--links", f"sqlite:{kind}.db", cwd=folder)
    assert done.returncode == 0, done.stderr[:500]
    imported.server.database, kept = folder / f"{kind}.db", imported.server.database
    try:
        assert dict(imported.server.rows("SELECT url, '/' || code FROM links")) == imported.rows
    finally:
        imported.server.database = kept
