# SPDX-License-Identifier: Apache-2.0
"""Waiting for what another process does, without guessing how long it takes."""
import time

LIMIT_S = 30  # generous: sanitizers and busy machines are slow, and only a failing test waits this long
STEP_S = 0.01


def wait_until(condition, limit_s=LIMIT_S, what=None):
    """Polls `condition` until it is true and returns its value; fails after `limit_s`."""
    deadline = time.monotonic() + limit_s
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s} s in vain for {what or condition.__name__}")
        time.sleep(STEP_S)
