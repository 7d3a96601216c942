# SPDX-License-Identifier: Apache-2.0
"""What an exact sliding log would have let pass, judged from outside.

A request was decided at some moment between its `start` and its `end`. Every check gives the servers the benefit of
that doubt, and no more: it fails when no choice of moments could have kept the promise.
"""
import collections
import time

from support import crowd

ALLOWED = (200, 302, 404)  # what the endpoints answer to who may pass


def lines(shots, phantoms=()):
    """Shots as the lines of an access log, which support/crowd.py judges.

    @param phantoms  requests that may have been counted without having been answered so.
    """
    found = []
    for shot in shots:
        if shot.answer is not None and (shot.status in ALLOWED or shot.status == 429):
            decision = "denied" if shot.status == 429 else "allowed"
            found.append({"start": shot.start, "end": shot.end, "time": f"{shot.start:.6f}", "decision": decision})
    for shot in phantoms:
        found.append({"start": shot.start, "end": shot.end, "time": f"{shot.start:.6f}", "decision": "phantom"})
    return found


def by_client(shots):
    found = collections.defaultdict(list)
    for shot in shots:
        found[shot.client].append(shot)
    return found


def passed(shots):
    return [shot for shot in shots if shot.status in ALLOWED]


def denied(shots):
    return [shot for shot in shots if shot.status == 429]


def bounds(shots, limit, window_s):
    """The least and the most that an exact sliding log could have let pass of these requests.

    The most: each is judged at its latest moment and remembered at its earliest; the least: the other way round. By
    induction over the requests let pass, no choice of moments in between lets fewer or more pass.
    """
    counts = []
    for judged, kept in (("start", "end"), ("end", "start")):
        log = []
        for shot in sorted(shots, key=lambda shot: getattr(shot, judged)):
            if len(log) < limit or getattr(shot, judged) >= log[-limit] + window_s:
                log.append(getattr(shot, kept))
                log.sort()
        counts.append(len(log))
    return tuple(counts)


def check_exact(shots, limit, window_s, phantoms=()):
    """Per client address: never more than the limit in any window, and nobody denied whom an exact oracle lets pass."""
    ghosts = by_client(phantoms)
    for client, theirs in by_client(shots).items():
        told = lines(theirs, ghosts[client])
        crowd.check_never_over_admits(told, limit, window_s)
        crowd.check_never_over_denies([dict(line, decision="allowed" if line["decision"] == "phantom" else line["decision"])
                                       for line in told], limit, window_s)


def check_never_over_admits(shots, limit, window_s):
    for theirs in by_client(shots).values():
        crowd.check_never_over_admits(lines(theirs), limit, window_s)


def timeline(webs, client, since_s):
    """What each server decided for a client, from its access log: a text for whoever looks into a failure.

    @param since_s  moment of CLOCK_MONOTONIC that counts as 0. Only right where servers' clocks are.
    """
    offset_s = time.time() - time.monotonic() + since_s
    found = [(line["start"] - offset_s, line["end"] - offset_s, web.host, line["decision"])
             for web in webs for line in web.log() if line["client"] == client]
    rows, last = [], None
    for start, end, host, decision in sorted(found):
        kind = (host, decision)
        if kind == last and "denied" in decision:
            continue  # one stands for the row of them
        last = kind
        rows.append(f"{start:10.4f} {end - start:7.4f} {host:<6} {decision}")
    return "\n".join(rows)


def worst_window(shots, limit, window_s):
    """The most that surely passed of one client within one window, less the limit: how far the promise was broken."""
    worst = 0
    for theirs in by_client(passed(shots)).values():
        for first in theirs:
            within = sum(1 for shot in theirs if shot.start >= first.start and shot.end < first.start + window_s)
            worst = max(worst, within - limit)
    return worst


def check_answered(shots, statuses):
    """Every request was answered, with one of these."""
    wrong = [shot for shot in shots if shot.status not in statuses]
    assert not wrong, f"{len(wrong)} of {len(shots)} requests went wrong: {wrong[:10]}"


def check_denials_are_whole(shots):
    """What a 429 must carry came through."""
    for shot in denied(shots):
        answer = shot.answer
        assert answer.json == {"error": "Rate limit exceeded"}, answer
        assert int(answer["Retry-After"]) >= 1 and answer["RateLimit"] and answer["RateLimit-Policy"], answer
