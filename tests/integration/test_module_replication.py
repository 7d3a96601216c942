# SPDX-License-Identifier: Apache-2.0
"""The module and its replicas: they hold the same keys, bytes and expiries, whenever they come and go; and what they are told
a server without the module understands."""
import pytest

from support.module import assert_same, follow, in_step
from support.takes import Policy


@pytest.fixture
def master(store):
    return store


def test_a_key_that_changes_its_algorithm(start_store, master):
    """A state that takes the place of a long ring stands in the ring's bytes."""
    replica = start_store(module=False)
    follow(replica, master)
    in_step(master, replica)
    policies = [Policy("sliding-log", 1000, 60000), Policy("sliding-log", 1000, 36000000), Policy("sliding-counter", 9, 60000),
                Policy("fixed-window", 9, 60000), Policy("token-bucket", 9, 60000)]
    for first in policies:
        for second in policies:
            for policy in (first, second, first, first, second):
                master.ask("SLUICE.TAKE", f"{first}{second}", *policy.words(max(1, policy.limit // 3)))
    in_step(master, replica)
    assert_same(master, replica, at_least=25)
