# SPDX-License-Identifier: Apache-2.0
"""The module in a Cluster: many keys in one command lie in one slot, and states go with their slots."""
import threading

import pytest

from support.module import ModuleRedis, assert_same, command, contents
from support.redis import Cluster, RedisError, server_version
from support.takes import Load, Policy, count_answers, packed_requests
from support.waiting import wait_until

TEN = Policy("sliding-log", 10, 600000)
WORDS = TEN.words()
NODE_TIMEOUT_MS = 60000
MANY = [Policy("sliding-log", 10000, 3600000), Policy("sliding-counter", 20000, 3600000), Policy("fixed-window", 20000, 3600000),
        Policy("token-bucket", 20000, 366 * 86400000)]


slots_settle = pytest.mark.skipif(server_version() < (6, 2), reason="replicas of Redis 6.0 may go on to refuse a slot that "
                                  "was moved to their master and back before")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three masters, each with a replica; as they are when a test begins."""
    folder, nodes = tmp_path_factory.mktemp("cluster"), []

    def start_one(arguments):
        nodes.append(ModuleRedis(folder / f"node-{len(nodes)}", arguments=arguments))
        return nodes[-1]

    try:
        # No node fails here. One that a busy machine keeps from answering must not be replaced.
        yield Cluster(start_one, replicas=3, node_timeout_ms=NODE_TIMEOUT_MS)
    finally:
        wrong = [problem for problem in (node.finish() for node in nodes) if problem]
    assert not wrong, "\n".join(wrong)


def other_than(cluster, node):
    return next(master for master in cluster.masters if master is not node)


def test_keys_of_one_slot(cluster):
    keys = [f"{{one}}{i}" for i in range(100)]
    owner, _ = cluster.owner_of(keys[0])
    for mode in ("EACH", "ALL"):
        assert len(owner.ask("SLUICE.MTAKE", mode, 100, *keys, *WORDS)) == 100
    assert owner.ask("SLUICE.MTAKE", "EACH", 100, *keys, "PACKED", packed_requests([TEN], [[(0, 1)] * 2] * 50))
    assert owner.ask("SLUICE.PEEK", keys[0], *WORDS)[2] == 7
    assert owner.ask("SLUICE.RESET", *keys) == 100


def test_keys_of_many_slots_are_refused(cluster):
    keys = [key for key in (f"k{i}" for i in range(1000)) if cluster.owner_of(key)[0] is cluster.masters[0]][:3]
    owner = cluster.masters[0]
    for words in (["SLUICE.MTAKE", "EACH", 3, *keys, *WORDS], ["SLUICE.MTAKE", "ALL", 3, *keys, *WORDS], ["SLUICE.RESET", *keys],
                  ["SLUICE.MTAKE", "EACH", 3, *keys, "PACKED", packed_requests([TEN], [[(0, 1)]] * 3)]):
        with pytest.raises(RedisError, match="CROSSSLOT"):
            owner.ask(*words)
    assert owner.ask("EXISTS", keys[0]) == owner.ask("EXISTS", keys[1]) == 0


def test_keys_of_another_server(cluster):
    owner, slot = cluster.owner_of("{two}a")
    stranger = other_than(cluster, owner)
    for words in (["SLUICE.TAKE", "{two}a", *WORDS], ["SLUICE.PEEK", "{two}a", *WORDS], ["SLUICE.RESET", "{two}a", "{two}b"],
                  ["SLUICE.REFUND", "{two}a", *WORDS, "AT", 1], ["CL.THROTTLE", "{two}a", 1, 1, 1],
                  ["SLUICE.MTAKE", "ALL", 2, "{two}a", "{two}b", *WORDS], ["SLUICE.MTAKE", "EACH", 2, "{two}a", "{two}b", *WORDS],
                  ["SLUICE.MTAKE", "EACH", 1, "{two}a", "PACKED", packed_requests([TEN], [[(0, 1)]])]):
        with pytest.raises(RedisError, match=f"MOVED {slot} {owner.host}:{owner.port}"):
            stranger.ask(*words)
    # A number of keys that the server does not understand is none for the module either.
    with pytest.raises(RedisError, match="ERR"):
        stranger.ask("SLUICE.MTAKE", "EACH", "01", "{two}a", *WORDS)
    assert owner.ask("EXISTS", "{two}a") == 0 and "{two}a" not in stranger.ask("KEYS", "*")


def test_a_replica_of_a_cluster_answers_peeks(cluster):
    owner, _ = cluster.owner_of("{three}a")
    replica = cluster.replicas[cluster.masters.index(owner)]
    assert owner.ask("SLUICE.TAKE", "{three}a", *WORDS)[2] == 9
    with replica.client() as client:
        client.ask("READONLY")
        wait_until(lambda: client.ask("SLUICE.PEEK", "{three}a", *WORDS)[2] == 9, what="the replica to have it")
        with pytest.raises(RedisError, match="MOVED"):
            client.ask("SLUICE.TAKE", "{three}a", *WORDS)


class Taker:
    """Takes from a key wherever it lies, one after the other, and counts."""

    def __init__(self, cluster, key, policy):
        self.cluster, self.key, self.policy = cluster, key, policy
        self.allowed, self.denied, self.wrong = 0, 0, []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)

    def _run(self):
        nodes = {node.port: node.client() for node in self.cluster.masters}
        client, asking = next(iter(nodes.values())), False
        words = ["SLUICE.TAKE", self.key, *self.policy.words()]
        try:
            while not self.over.is_set():
                if asking:
                    _, reply = client.pipeline(["ASKING"], words)
                else:
                    (reply,) = client.pipeline(words)
                asking = str(reply).startswith("ASK ")
                if str(reply).startswith(("ASK ", "MOVED ")):
                    client = nodes[int(str(reply).rsplit(":", 1)[1])]
                elif isinstance(reply, RedisError):
                    raise reply
                elif reply[0] == 1:
                    self.allowed += 1
                else:
                    self.denied += 1
        except Exception as error:  # pylint: disable=broad-except
            self.wrong.append(error)
        finally:
            for one in nodes.values():
                one.close()

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.over.set()
        self.thread.join()
        assert not self.wrong, self.wrong

    def goes_on(self):
        want = self.allowed + self.denied + 50
        wait_until(lambda: self.allowed + self.denied >= want or self.wrong, what="takes")


@pytest.mark.parametrize("policy", MANY, ids=lambda policy: policy.algorithm)
def test_counts_go_with_their_slot(cluster, policy):
    """Moved back and forth under load: what was admitted is what the state says, wherever it lies."""
    key = f"{{{policy.algorithm}}}counted"
    at, slot = cluster.owner_of(key)
    with Taker(cluster, key, policy) as taker:
        for _ in range(3):
            taker.goes_on()
            target = other_than(cluster, at)
            cluster.move(slot, at, target, between=taker.goes_on)
            at = target
        taker.goes_on()
    left = at.ask("SLUICE.PEEK", key, *policy.words())[2]
    assert policy.limit - left == taker.allowed > 200
    assert taker.denied == 0 or left == 0  # it is only at an end when the server is slow to move a slot


@slots_settle
def test_replicas_of_a_cluster_under_load(cluster):
    for i, master in enumerate(cluster.masters):
        tag = next(f"{{{n}}}" for n in range(1000) if cluster.owner_of(f"{{{n}}}")[0] is master)
        with Load(master, connections=1, tag=tag, windows_ms=(1, 300, 5000, 600000)) as load:
            load.goes_on(3000)
        replica = cluster.replicas[i]
        wait_until(lambda master=master, replica=replica: master.info("replication")["master_repl_offset"]
                   == replica.info("replication")["master_repl_offset"], what="the replica")
        assert_same(master, replica, at_least=100)


@slots_settle
def test_a_slot_that_moves_between_two_takes_of_one_turn(cluster):
    """Nothing that was taken stays behind, nor is it forgotten by the new server's replica."""
    key = "{turn}k"
    source, slot = cluster.owner_of(key)
    target = other_than(cluster, source)
    assert source.ask("SLUICE.TAKE", key, *WORDS)[2] == 9
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    take = command("SLUICE.TAKE", key, *WORDS)
    with source.client() as client, target.client() as other:
        assert count_answers(client.flood(take * 3, command("MIGRATE", target.host, target.port, key, 0, 5000))) == (3, 0)
        with pytest.raises(RedisError, match="ASK"):
            client.ask("SLUICE.TAKE", key, *WORDS)
        assert count_answers(other.flood((command("ASKING") + take) * 3)) == (3, 0)
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(target))
    wait_until(lambda: cluster.owner_of(key)[0] is target, what="the slot to be the target's")
    assert target.ask("SLUICE.PEEK", key, *WORDS)[2] == 3
    replica = cluster.replicas[cluster.masters.index(target)]
    wait_until(lambda: contents(replica).get(key.encode()) == contents(target)[key.encode()], what="its replica to have it")
