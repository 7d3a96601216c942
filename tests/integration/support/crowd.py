# SPDX-License-Identifier: Apache-2.0
"""Many clients at once, and what an access log proves about the limit that was kept.

A request is decided somewhere between its `start` (its first line came) and its `end` (its answer left). Nobody
outside knows the moment, so both checks below use the bound that is kind to the server: they fail only when no choice
of moments could have kept the promise.
"""
import threading


def at_once(n, work):
    """Runs work(0) to work(n - 1), each on a thread of its own, all released together. Returns the results in order;
    an exception in one is raised here."""
    results, errors = [None] * n, []
    barrier = threading.Barrier(n)

    def run(i):
        try:
            barrier.wait(60)
            results[i] = work(i)
        except BaseException as error:  # noqa: B902  (reported below, whatever it is)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results


def passed(lines):
    return [line for line in lines if line["decision"] == "allowed"]


def denied(lines):
    return [line for line in lines if line["decision"] == "denied"]


def check_never_over_admits(lines, limit, window_s, slack_s=0.0):
    """Any limit + 1 requests that passed span a window at least.

    @param slack_s  by how much the wall clock of the log is known to have been stepped.
    """
    admitted = passed(lines)
    for first in admitted:
        ends = sorted(line["end"] for line in admitted if line["start"] >= first["start"])
        if len(ends) > limit:
            span = ends[limit] - first["start"]
            assert span >= window_s - slack_s, (
                f"{limit + 1} requests passed within {span:.6f} s, from {first['time']} on")


def check_never_over_denies(lines, limit, window_s, slack_s=0.0):
    """Whenever one was denied, `limit` others had passed within the window before it.

    @param slack_s  as above; one tick of rounding (1 us) is the algorithm's right.
    """
    admitted = passed(lines)
    for line in denied(lines):
        before = [other for other in admitted
                  if other["start"] <= line["end"] and other["end"] > line["start"] - window_s - 1e-6 - slack_s]
        assert len(before) >= limit, f"denied at {line['time']} when only {len(before)} had passed"
