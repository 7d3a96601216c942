# SPDX-License-Identifier: Apache-2.0
"""Redis behind Sentinel, as a Cluster, over TLS, and with users: the same limit."""
import re
import subprocess
import threading

import pytest

from support.redis import Cluster, Sentinel, free_port, free_port_with_bus, needs_tls
from support.server import run
from support.waiting import LIMIT_S, wait_until

TWO_LIMITS = """limits:
  - {name: per-client, limit: 10, window: 60s}
  - {name: all, limit: 1000, window: 60s, by: global}
"""


@pytest.fixture
def start_redis(start_either):
    return start_either


@pytest.fixture
def start(start):
    """Servers with more patience than the usual 50 ms: the machine may be busy, and it is not what is tested here."""
    return lambda **settings: start(env={"SLUICE_LIMITER_TIMEOUT": "1s"}, **settings)


def is_ready(server):
    return server.get("/readyz").body == b"ready\n"


def statuses(servers, n, source=None):
    return [servers[i % len(servers)].get("/", source=source).status for i in range(n)]


# Users


# What operations.md tells to grant.
RIGHTS = ["~rate_limit:*", "-@all", "+evalsha", "+eval", "+script|load", "+get", "+mget", "+getrange", "+set", "+mset",
          "+setrange", "+strlen", "+del", "+pexpire", "+pexpireat", "+time", "+zadd", "+zrem", "+zcard", "+zrangebyscore", "+zremrangebyscore", "+ping", "+info",
          "+client|setname"]


def rights(redis):
    """With the module, its commands too, which no other server knows."""
    return [*RIGHTS, "+sluice.info", "+sluice.mtake"] if redis.module else RIGHTS


def decides(redis):
    return "its module" if redis.module else "the script decides"


def test_a_user_with_just_the_rights_that_are_needed(start, redis):
    redis.ask("ACL", "SETUSER", "limits", "on", ">p@ss", *rights(redis))
    redis.ask("ACL", "SETUSER", "default", "off")
    servers = [start(arguments=["--limiter", f"redis://limits:p%40ss@{redis.host}:{redis.port}"]) for _ in range(2)]
    for server in servers:
        assert is_ready(server)
    assert statuses(servers, 12) == [200] * 10 + [429] * 2
    assert "NOPERM" not in servers[0].stderr and decides(redis) in servers[0].stderr


def test_a_user_of_a_cluster_and_of_inspect(start, cluster, tmp_path):
    for node in cluster.nodes:
        node.ask("ACL", "SETUSER", "limits", "on", ">p@ss", *rights(node), "+cluster|slots", "+asking", "+pttl")
    url = cluster_url(cluster).replace("://", "://limits:p%40ss@")
    server = start(config=TWO_LIMITS, arguments=["--limiter", url])
    assert is_ready(server)
    assert statuses([server], 12) == [200] * 10 + [429] * 2
    assert run("inspect", "per-client:{127.0.0.1}", "--limiter", url, cwd=tmp_path).returncode == 0
    assert run("reset", "per-client:{127.0.0.1}", "--limiter", url, cwd=tmp_path).returncode == 0
    assert "NOPERM" not in server.stderr and decides(cluster.nodes[0]) in server.stderr


def test_a_password_of_the_default_user(start, start_redis):
    redis = start_redis(arguments=["--requirepass", "secret"])
    server = start(arguments=["--limiter", f"redis://:secret@{redis.host}:{redis.port}/3"])
    assert is_ready(server)
    wrong = start(arguments=["--limiter", f"redis://:other@{redis.host}:{redis.port}"])
    assert not is_ready(wrong)
    assert "WRONGPASS" in wrong.stderr and "other" not in wrong.stderr


def test_a_password_in_a_file(start, start_redis, tmp_path):
    redis = start_redis(arguments=["--requirepass", "secret"])
    (tmp_path / "password").write_text("secret\n")
    server = start(config=f"limiter:\n  store: {redis.url}\n  password_file: {tmp_path}/password\n")
    assert is_ready(server)


# TLS


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A folder with an authority, and a key and certificate for 127.0.0.1, good for both ends."""
    needs_tls()
    folder = tmp_path_factory.mktemp("certificates")
    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Test authority", "-keyout",
            folder / "ca.key", "-out", folder / "ca.crt")
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=sluice", "-keyout", folder / "redis.key", "-out",
            folder / "redis.csr")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", folder / "redis.csr", "-CA", folder / "ca.crt", "-CAkey", folder / "ca.key",
            "-CAcreateserial", "-days", "2", "-extfile", folder / "names", "-out", folder / "redis.crt")
    return folder


def tls_settings(certificates):
    return (f"  tls_ca_file: {certificates}/ca.crt\n  tls_cert_file: {certificates}/redis.crt\n"
            f"  tls_key_file: {certificates}/redis.key\n")


def tls_arguments(certificates, port):
    return ["--tls-port", str(port), "--tls-cert-file", f"{certificates}/redis.crt", "--tls-key-file",
            f"{certificates}/redis.key", "--tls-ca-cert-file", f"{certificates}/ca.crt", "--tls-cluster", "yes"]


def test_over_tls_with_certificates_on_both_ends(start, start_redis, certificates):
    port = free_port()
    redis = start_redis(arguments=tls_arguments(certificates, port))
    text = f"limiter:\n  store: rediss://127.0.0.1:{port}\n" + tls_settings(certificates)
    servers = [start(config=text) for _ in range(2)]
    assert all(is_ready(server) for server in servers)
    assert statuses(servers, 12) == [200] * 10 + [429] * 2
    assert redis.ask("EXISTS", "rate_limit:per-client:{127.0.0.1}") == 1
    stranger = start(config=f"limiter:\n  store: rediss://127.0.0.1:{port}\n")
    assert not is_ready(stranger)
    assert "certificate" in stranger.stderr


def test_a_cluster_over_tls(start, start_redis, certificates):
    ports = [free_port_with_bus() for _ in range(3)]
    left = iter(ports)
    cluster = Cluster(lambda arguments: start_redis(arguments=[*tls_arguments(certificates, next(left)), *arguments]))
    server = start(config=f"limiter:\n  store: rediss+cluster://127.0.0.1:{ports[0]}\n" + tls_settings(certificates))
    assert is_ready(server)
    for client in range(2, 12):
        assert statuses([server], 11, f"127.0.0.{client}") == [200] * 10 + [429]
    assert all(node.ask("DBSIZE") > 0 for node in cluster.masters)


# Sentinel


@pytest.fixture
def sentinels(start_redis, tmp_path):
    """(master, replica, Sentinels), in agreement."""
    master = start_redis()
    replica = start_redis(arguments=["--replicaof", master.host, str(master.port), "--repl-diskless-sync-delay", "0"])
    watchers = []
    try:
        for i in range(3):
            watchers.append(Sentinel(tmp_path / f"sentinel-{i}", master, quorum=2))
        wait_until(lambda: all(agrees(watcher) for watcher in watchers), what="the Sentinels to find each other")
        yield master, replica, watchers
    finally:
        wrong = [problem for problem in (watcher.finish() for watcher in watchers) if problem]
    assert not wrong, "\n".join(wrong)


def agrees(watcher):
    said = watcher.ask("SENTINEL", "MASTER", watcher.name)
    about = dict(zip(said[::2], said[1::2]))
    return about["num-other-sentinels"] == "2" and about["num-slaves"] == "1" and about["flags"] == "master"


def sentinel_url(watchers):
    return "redis+sentinel://" + ",".join(f"{one.host}:{one.port}" for one in watchers) + f"/{watchers[0].name}"


def test_a_failover(start, sentinels):
    master, replica, watchers = sentinels
    servers = [start(arguments=["--limiter", sentinel_url(watchers)], threads=2) for _ in range(2)]
    assert all(is_ready(server) for server in servers)
    assert statuses(servers, 8, "127.0.0.2") == [200] * 8
    wait_until(lambda: replica.ask("EXISTS", "rate_limit:per-client:{127.0.0.2}"), what="the replica to have it")
    wait_until(lambda: replica.ask("STRLEN", "rate_limit:per-client:{127.0.0.2}")
               == master.ask("STRLEN", "rate_limit:per-client:{127.0.0.2}"), what="the replica to have all of it")
    master.kill()
    assert all(status in (200, 429) for status in statuses(servers, 20, "127.0.0.3"))
    wait_until(lambda: all(is_ready(server) for server in servers), what="the new master")
    assert replica.info("replication")["role"] == "master"
    # What it had counted it counts on.
    assert statuses(servers, 4, "127.0.0.2") == [200, 200, 429, 429]
    # The old one comes back and takes itself for the master, until a Sentinel corrects it. It decides nothing.
    master.start()
    assert statuses(servers, 11, "127.0.0.4") == [200] * 10 + [429]
    assert replica.ask("EXISTS", "rate_limit:per-client:{127.0.0.4}") == 1


def test_a_denial_is_not_remembered_over_a_failover(start, sentinels):
    """The replica had not heard of it, so the new master would let the client in."""
    master, replica, watchers = sentinels
    server = start(config="limiter: {on_failure: closed}\n", arguments=["--limiter", sentinel_url(watchers)], threads=1)
    assert statuses([server], 12, "127.0.0.2") == [200] * 10 + [429] * 2
    wait_until(lambda: replica.ask("EXISTS", "rate_limit:per-client:{127.0.0.2}"), what="the replica to have it")
    replica.ask("CONFIG", "SET", "replica-read-only", "no")
    replica.ask("DEL", "rate_limit:per-client:{127.0.0.2}")
    master.kill()
    wait_until(lambda: watchers[0].master()[1] == replica.port and is_ready(server), what="the new master")
    wait_until(lambda: server.get("/", source="127.0.0.2").status == 200, what="the denial to be void")


def test_one_sentinel_that_hangs_and_one_that_is_gone(start, sentinels):
    master, replica, watchers = sentinels
    watchers[0].pause()
    watchers[1].kill()
    server = start(arguments=["--limiter", sentinel_url(watchers)])
    wait_until(lambda: is_ready(server), what="the master to be found")
    assert statuses([server], 11) == [200] * 10 + [429]
    assert master.ask("EXISTS", "rate_limit:per-client:{127.0.0.1}") == 1
    assert replica.process is not None


def test_a_sentinel_that_was_cut_off_leads_nobody_back(start, sentinels):
    master, replica, watchers = sentinels
    watchers[0].pause()
    server = start(arguments=["--limiter", sentinel_url(watchers)])
    assert statuses([server], 1, "127.0.0.2") == [200]
    master.pause()
    wait_until(lambda: watchers[1].master()[1] == replica.port, what="the failover")
    wait_until(lambda: is_ready(server), what="the new master")
    master.go_on()
    watchers[0].go_on()
    for client in range(3, 30):
        assert server.get("/", source=f"127.0.0.{client}").status == 200
    assert replica.ask("EXISTS", "rate_limit:per-client:{127.0.0.29}") == 1


@pytest.mark.parametrize("protected", [False, True])
def test_sentinels_with_and_without_a_password(start, start_redis, tmp_path, protected):
    redis = start_redis(arguments=["--requirepass", "secret"])
    watcher = Sentinel(tmp_path / "sentinel", redis, arguments=["--requirepass", "secret"] if protected else [])
    try:
        server = start(arguments=["--limiter", f"redis+sentinel://:secret@{watcher.host}:{watcher.port}/{watcher.name}"])
        assert is_ready(server), server.stderr
        assert statuses([server], 11) == [200] * 10 + [429]
    finally:
        wrong = watcher.finish()
    assert wrong is None, wrong


def test_a_name_that_no_sentinel_knows(start, sentinels):
    _, _, watchers = sentinels
    server = start(arguments=["--limiter", sentinel_url(watchers).rsplit("/", 1)[0] + "/other"])
    assert not is_ready(server)
    assert "no master of this name" in server.stderr


# Cluster


@pytest.fixture
def cluster(start_redis):
    return Cluster(lambda arguments: start_redis(arguments=arguments))


def cluster_url(cluster, *nodes):
    return "redis+cluster://" + ",".join(f"{node.host}:{node.port}" for node in nodes or cluster.nodes[:2])


def test_limits_on_different_slots_take_from_all_or_none(start, cluster):
    servers = [start(config=TWO_LIMITS.replace("1000", "25"), arguments=["--limiter", cluster_url(cluster)], threads=2)
               for _ in range(2)]
    assert all(is_ready(server) for server in servers)
    # Denied by the first limit, nothing is taken from the second; and the other way round.
    for client in (2, 3):
        assert statuses(servers, 15, f"127.0.0.{client}") == [200] * 10 + [429] * 5
    answers = [servers[i % 2].get("/", source="127.0.0.4") for i in range(9)]
    assert [answer.status for answer in answers] == [200] * 5 + [429] * 4
    assert '"per-client";r=5;' in answers[-1]["RateLimit"]
    # Three wait for a place among all.
    assert len({cluster.owner_of(f"rate_limit:per-client:{{127.0.0.{client}}}")[1] for client in (2, 3, 4)}) == 3


def move_under_load(start, cluster, targets):
    """Moves the slot of one client from server to server while it is limited. Not one request more passes than the limit,
    and nobody but the store decides."""
    limit = 400
    servers = [start(config=TWO_LIMITS.replace("limit: 10,", f"limit: {limit},").replace("1000", "100000"),
                     arguments=["--limiter", cluster_url(cluster)], threads=2) for _ in range(2)]
    assert all(is_ready(server) for server in servers)
    at, slot = cluster.owner_of("rate_limit:per-client:{127.0.0.2}")
    over = threading.Event()

    seen = []

    def load(server):
        while not over.is_set():
            seen.append(server.get("/", source="127.0.0.2").status)

    threads = [threading.Thread(target=load, args=(server,)) for server in servers for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for target in targets(at):
            cluster.move(slot, at, target)
            at = target
        wait_until(lambda: 429 in seen, limit_s=2 * LIMIT_S, what="the limit to be reached")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    for server in servers:
        metrics = server.metrics()
        assert all(value == 0 for (name, labels), value in metrics.items()
                   if name == "sluice_decisions_total" and ("by", "store") not in labels), server.stderr
    assert set(seen) == {200, 429}
    assert seen.count(200) == limit


def test_a_slot_moves_under_load(start, cluster):
    move_under_load(start, cluster, lambda at: [node for node in cluster.masters if node is not at] + [at])


def test_a_slot_moves_to_a_server_that_nobody_knew(start, start_redis, cluster):
    new, known = start_redis(arguments=Cluster.ARGUMENTS), cluster.nodes[0]
    new.ask("CLUSTER", "MEET", known.host, known.port, known.bus_port)
    cluster.nodes.append(new)
    wait_until(lambda: all(f"cluster_known_nodes:{len(cluster.nodes)}" in node.ask("CLUSTER", "INFO")
                           for node in cluster.nodes) and cluster.is_well(), what="the new server to be known")
    move_under_load(start, cluster, lambda at: [new])


def test_keys_of_one_client_on_both_sides_of_a_move(start, cluster):
    """Between IMPORTING and NODE: keys that are still here, have gone, or were never there."""
    text = TWO_LIMITS.replace("name: all, limit: 1000, window: 60s, by: global", "name: more, limit: 5, window: 60s")
    server = start(config=text, arguments=["--limiter", cluster_url(cluster)])
    assert is_ready(server)
    source, slot = cluster.owner_of("rate_limit:more:{127.0.0.2}")
    target = next(node for node in cluster.masters if node is not source)
    assert statuses([server], 2, "127.0.0.2") == [200] * 2
    seen = []
    cluster.move(slot, source, target, between=lambda: seen.extend(statuses([server], 1, "127.0.0.2")))
    assert seen == [200, 200]  # one key was here and one there
    assert statuses([server], 3, "127.0.0.2") == [200, 429, 429]
    answer = server.get("/", source="127.0.0.2")
    assert '"per-client";r=5;' in answer["RateLimit"], answer.fields
    assert {line["decision"] for line in server.wait_for_log(6)} <= {"allowed", "denied", "-"}


def test_a_slot_that_is_moving_and_a_client_that_is_new(start, cluster):
    text = TWO_LIMITS.replace("name: all, limit: 1000, window: 60s, by: global", "name: more, limit: 5, window: 60s")
    server = start(config=text, arguments=["--limiter", cluster_url(cluster)])
    assert is_ready(server)
    source, slot = cluster.owner_of("rate_limit:more:{127.0.0.2}")
    target = next(node for node in cluster.masters if node is not source)
    target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", cluster.id_of(source))
    source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", cluster.id_of(target))
    assert statuses([server], 7, "127.0.0.2") == [200] * 5 + [429] * 2
    assert source.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 0  # all of it is there already
    assert target.ask("CLUSTER", "COUNTKEYSINSLOT", slot) == 2
    for node in (target, source):
        node.ask("CLUSTER", "SETSLOT", slot, "NODE", cluster.id_of(target))
    assert statuses([server], 2, "127.0.0.2") == [429] * 2
    assert {line["decision"] for line in server.wait_for_log(9)} <= {"allowed", "denied", "-"}


def test_a_slot_without_a_master_fails_alone(start, cluster):
    server = start(config="limiter:\n  on_failure: closed\n", arguments=["--limiter", cluster_url(cluster)])
    assert is_ready(server)
    victim = cluster.masters[2]
    clients = {client: cluster.owner_of(f"rate_limit:per-client:{{127.0.0.{client}}}")[0] is victim for client in range(2, 22)}
    assert set(clients.values()) == {True, False}
    victim.kill()
    wait_until(lambda: not is_ready(server), what="the loss to be noticed")
    for client, lost in clients.items():
        assert server.get("/", source=f"127.0.0.{client}").status == (429 if lost else 200), server.stdout + server.stderr
    victim.start()
    wait_until(lambda: is_ready(server), what="the slots to be back")
    for client in clients:
        assert server.get("/", source=f"127.0.0.{client}").status == 200


def test_a_failover_in_a_cluster(start, start_redis):
    cluster = Cluster(lambda arguments: start_redis(arguments=arguments), replicas=3)
    server = start(arguments=["--limiter", cluster_url(cluster)], threads=2)
    assert is_ready(server)
    victim, _ = cluster.owner_of("rate_limit:per-client:{127.0.0.2}")
    victim.kill()
    assert server.get("/", source="127.0.0.2").status == 200  # by the policy
    wait_until(lambda: is_ready(server), limit_s=2 * LIMIT_S, what="a replica to take over")
    assert cluster.owner_of("rate_limit:per-client:{127.0.0.2}")[0] in cluster.replicas
    assert statuses([server], 11, "127.0.0.3") == [200] * 10 + [429]


def test_the_first_server_that_is_named_may_be_away(start, cluster):
    cluster.nodes[0].pause()
    server = start(arguments=["--limiter", cluster_url(cluster, *cluster.nodes)])
    owned = next(client for client in range(2, 250)
                 if cluster.owner_of(f"rate_limit:per-client:{{127.0.0.{client}}}")[0] is not cluster.nodes[0])
    wait_until(lambda: re.search(r"(Redis|Valkey) \d", server.stderr), what="the others to be found")
    before = server.metrics()
    assert server.get("/", source=f"127.0.0.{owned}").status == 200
    assert server.metrics() != before
    cluster.nodes[0].go_on()
    wait_until(lambda: is_ready(server), what="the first one")


@pytest.mark.parametrize("scheme", ["redis://", "redis+cluster://"])
def test_the_wrong_kind_of_server(start, start_redis, scheme):
    arguments = Cluster.ARGUMENTS[:2] if scheme == "redis://" else []
    redis = start_redis(arguments=arguments)
    if arguments:
        redis.own_slots(0, 8000)  # not that of our key
    server = start(arguments=["--limiter", redis.url.replace("redis://", scheme)])
    assert not is_ready(server)
    assert server.get("/").status == 200  # by the policy
    if not arguments:
        assert "write redis:// for a server of its own" in server.stderr
