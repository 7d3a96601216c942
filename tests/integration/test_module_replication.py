# SPDX-License-Identifier: Apache-2.0
"""The module and its replicas: they hold the same keys, bytes and expiries, whenever they come and go; and what they are told
a server without the module understands."""
import pytest

from support.module import (PLAIN_COMMANDS, Listener, assert_all_expire, assert_same, caller_path, command, contents, differences, follow,
                            in_step, names_of, sanitizer)
from support.takes import Load, Policy, Traffic, assert_no_error, count_answers
from support.waiting import wait_until

TEN = Policy("sliding-log", 10, 60000)


@pytest.fixture
def master(store):
    return store


def take_all_sorts(client, traffic, rounds):
    """Some 4,700 takes of all kinds in each round. Returns (allowed, denied) of those by the module."""
    allowed = denied = 0
    for _ in range(rounds):
        data = [traffic.mtake(256) for _ in range(14)]
        data += [traffic.mtake(8, b"ALL") for _ in range(20)]
        data += [traffic.takes(400), traffic.resets(2)]
        traffic.random.shuffle(data)
        some, others = count_answers(client.flood(*data))
        allowed, denied = allowed + some, denied + others
        for data in (traffic.packed(256), traffic.scripts(60)):
            assert_no_error(client.flood(data))
        taken, given = traffic.refunds(client, 20)
        allowed, denied = allowed + given, denied + taken - given
    return allowed, denied


def test_a_replica_after_a_million_takes(start_store, master):
    """Of all algorithms, with costs, bursts, refunds and resets; by the module and by the script; many expire meanwhile."""
    plain, able = start_store(module=False), start_store()
    for replica in (plain, able):
        follow(replica, master)
    in_step(master, plain, able)
    allowed = denied = 0
    with master.client() as client:
        parts = 1 if sanitizer() else 5  # a sanitizer makes it twenty times as long
        for part in range(parts):
            traffic = Traffic(part, tag=f"{part}:")  # what the parts before it took from expires meanwhile
            traffic.load_script(client)
            some, others = take_all_sorts(client, traffic, 47)
            allowed, denied = allowed + some, denied + others
        assert allowed + denied > 190000 * parts and min(allowed, denied) > 20000 * parts, (allowed, denied)
        assert client.ask("WAIT", 2, 30000) == 2
    in_step(master, plain, able)
    for replica in (plain, able):
        assert_same(master, replica, at_least=250 * parts)
    # Long rings are among them: of those that live for ten minutes one has had all of its 6,325 takes in the first part.
    assert max(len(value) for value, _ in contents(master).values()) >= 24 + 4 * 6325
    assert_all_expire(master)
    assert not any("sluice" in name for name in plain.info("commandstats"))
    wait_until(lambda: int(master.info("stats")["expired_keys"]) > 200 * parts, what="keys to expire")
    in_step(master, plain, able)
    for replica in (plain, able):
        assert_same(master, replica, at_least=250 * parts)


@pytest.mark.parametrize("diskless", ["yes", "no"])
def test_replicas_that_come_and_go_under_load(start_store, master, diskless):
    master.settings(repl_diskless_sync=diskless)
    replicas = [start_store(module=False), start_store()]
    with Load(master) as load:
        for step in range(4):
            for replica in replicas:
                follow(replica, master)
                load.goes_on()
            for replica in replicas:
                wait_until(lambda: replica.info("replication")["master_link_status"] == "up", what="the replica's keys")
                load.goes_on()
            if step < 3:
                for replica in replicas:
                    replica.ask("REPLICAOF", "NO", "ONE")
                    load.goes_on()
                # Nobody listens any more, and the master forgets where its replicas were.
                if step == 1:
                    master.settings(repl_backlog_ttl=1)
                    wait_until(lambda: master.info("replication")["repl_backlog_active"] == "0", what="the backlog to go")
                    load.goes_on()
    in_step(master, *replicas)
    for replica in replicas:
        assert_same(master, replica, at_least=100)


def syncs(master):
    """How often a replica went on by the backlog, and how often one got all."""
    told = master.info("stats")
    return int(told["sync_partial_ok"]), int(told["sync_full"])


def test_replicas_that_fail_under_load(start_store, master):
    """Killed, held up, and cut off: they catch up by the backlog, or get all of it again."""
    # Much for now: some replicas come back only once in a second.
    master.settings(repl_backlog_size="64mb", repl_timeout=60)
    replica = start_store(module=False)
    follow(replica, master)
    with Load(master) as load:
        load.goes_on()
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", what="the replica's keys")
        partial, _ = before = syncs(master)
        for _ in range(20):  # one of them must find the backlog long enough
            master.ask("CLIENT", "KILL", "TYPE", "replica")
            # Up it is also before it has noticed.
            wait_until(lambda: syncs(master) != before and replica.info("replication")["master_link_status"] == "up",  # noqa: B023
                       what="the replica to be back")
            before = syncs(master)
            if before[0] > partial:
                break
        assert before[0] > partial
        master.settings(repl_backlog_size="1mb")
        replica.kill()
        load.goes_on(3000)
        replica.start()
        follow(replica, master)
        load.goes_on()
        with replica.held():
            load.goes_on(3000)
    in_step(master, replica)
    assert_same(master, replica, at_least=100)


def test_a_replica_of_a_replica(start_store, master):
    middle, last = start_store(), start_store(module=False)
    follow(middle, master)
    follow(last, middle)
    with Load(master) as load:
        load.goes_on(5000)
    in_step(master, middle, last)
    assert_same(master, last, at_least=100)


def one_of_each(tag, n=40):
    """Takes of each kind of command and algorithm, on keys of their own."""
    traffic = Traffic(tag, keys=50, tag=f"{tag}:", windows_ms=(60000,))
    return b"".join((traffic.takes(n), traffic.mtake(n), traffic.mtake(5, b"ALL"), traffic.packed(n), traffic.resets(1)))


@pytest.fixture
def blank(start_store):
    """A server that starts from the file that a replica would get."""
    return start_store(module=False, arguments=["--rdbcompression", "no"])


def attached_in_the_same_turn(master, blank, before, after, attached=lambda: None):
    """Takes, a replica that attaches, and takes, all of which the server finds in one turn of its loop.

    @param attached  called when the server has carried all of it out.
    """
    one, two, marker = master.client(), master.client(), master.client()
    listener = Listener(master, at_once=False)
    assert [client.ask("PING") for client in (one, two, marker)] == ["PONG"] * 3  # all are let in
    with one, two, marker:
        with master.held():
            one.send(before)
            listener.attach()
            two.send(after)
        with listener:
            marker.ask("PING")  # it came behind them
            attached()
            listener.read_keys()
            marker.ask("SET", "the end", "x")
            told = listener.read_until(b"the end")
            marker.ask("DEL", "the end")
            assert_no_error(one.flood() + two.flood())
        listener.replay(told, blank)
    assert names_of(told) <= PLAIN_COMMANDS, names_of(told)


@pytest.mark.parametrize("child", ["BGSAVE", "BGREWRITEAOF"])
def test_a_replica_that_attaches_while_a_child_is_at_work(master, blank, child):
    """The server can't fork for it yet: it waits, and hears of what comes after the fork alone."""
    with master.client() as client:
        client.flood(one_of_each(0))
    for turn in range(1, 3):
        with master.child_at_work(child) as end:
            attached_in_the_same_turn(master, blank, one_of_each(2 * turn), one_of_each(2 * turn + 1), attached=end)
        assert_same(master, blank, at_least=20)


@pytest.mark.parametrize("had_one", [False, True])
def test_a_replica_that_attaches_between_two_takes_of_one_turn(master, blank, had_one):
    """The module may save itself the work of telling when nobody listens: this is when somebody begins to."""
    if had_one:  # and the backlog of which is gone again
        with Listener(master) as listener:
            listener.read_keys()
        master.settings(repl_backlog_ttl=1)
        wait_until(lambda: master.info("replication")["repl_backlog_active"] == "0", what="the backlog to go")
    for turn in range(5):
        attached_in_the_same_turn(master, blank, one_of_each(2 * turn), one_of_each(2 * turn + 1))
        assert_same(master, blank, at_least=20)


def test_takes_in_front_of_psync_on_its_connection(master, blank):
    """In one write: what cannot be nearer to each other. Its answer is left out, as PSYNC wants it."""
    take = [command("SLUICE.TAKE", key, *TEN.words()) for key in "abc"]
    with master.client() as client, master.client() as other:
        client.flood(one_of_each(1))
        listener = Listener(master, at_once=False)
        other.ask("PING")
        with master.held():
            listener.attach(before=command("CLIENT", "REPLY", "SKIP") + take[0])
            other.send(b"".join(take))
        with listener:
            listener.read_keys()
            assert [reply[0] for reply in (other.read(), other.read(), other.read())] == [1, 1, 1]
            other.ask("SET", "the end", "x")
            told = listener.read_until(b"the end")
            other.ask("DEL", "the end")
    listener.replay(told, blank)
    assert_same(master, blank, at_least=20)
    assert master.ask("SLUICE.PEEK", "a", *TEN.words())[2] == 8


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


def test_other_modules_that_take_are_no_sign_that_nobody_listens(start_store):
    """A module may call a command without its effects being replicated. What others do in the same turn is."""
    store, replica = start_store(arguments=["--loadmodule", caller_path()]), start_store(module=False)
    follow(replica, store)
    in_step(store, replica)
    with store.client() as client:
        client.flood(*[command("CALLER.CALL", "no", "SLUICE.TAKE", f"unheard:{i}", *TEN.words())
                       + command("SLUICE.TAKE", f"heard:{i}", *TEN.words())
                       + command("CALLER.CALL", "yes", "SLUICE.TAKE", f"called:{i}", *TEN.words())
                       + command("SLUICE.MTAKE", "EACH", 1, f"heard too:{i}", *TEN.words()) for i in range(5)])
        client.ask("DEL", *(f"unheard:{i}" for i in range(5)))
    in_step(store, replica)
    assert_same(store, replica, at_least=15)
    assert len(contents(replica)) == 15


def server_us(client):
    seconds, microseconds = client.ask("TIME")
    return int(seconds) * 1000000 + int(microseconds)


@pytest.mark.parametrize("take", [["SLUICE.TAKE", "gone"], ["SLUICE.MTAKE", "EACH", 2, "other", "gone"],
                                  ["SLUICE.MTAKE", "ALL", 2, "other", "gone"]])
def test_another_module_that_takes_within_a_take(start_store, take):
    """Because a key expires that the take comes upon, and without replicating what it does. That says nothing of the take."""
    store, replica = start_store(arguments=["--loadmodule", caller_path()]), start_store(module=False)
    follow(replica, store)
    in_step(store, replica)
    store.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    with store.client() as client:
        for i in range(3):
            client.ask("SET", "gone", "", "PX", 1)
            client.ask("CALLER.EXPIRED", "no", "SLUICE.TAKE", f"unheard:{i}", *TEN.words())
            end_us = server_us(client) + 2000
            wait_until(lambda: server_us(client) > end_us, what="the key to be over")  # noqa: B023
            client.ask(*take, *TEN.words())
            assert client.ask("EXISTS", f"unheard:{i}") == 1
            client.ask("DEL", f"unheard:{i}")
    in_step(store, replica)
    assert_same(store, replica, at_least=1)


def test_a_replica_that_becomes_the_master_between_two_takes_of_one_turn(start_store, master):
    """What is written to a replica stays there, as with any command; what is written to the master that it becomes does
    not."""
    replica, last = start_store(arguments=["--replica-read-only", "no"]), start_store(module=False)
    follow(replica, master)
    in_step(master, replica)
    follow(last, replica)
    in_step(master, last)
    take = [command("SLUICE.TAKE", key, *TEN.words()) for key in "abc"]
    with replica.client() as client:
        client.flood(take[0], command("REPLICAOF", "NO", "ONE"), take[1], take[2], command("DEL", "a"))
    in_step(replica, last)
    assert_same(replica, last, at_least=2)


def test_what_replicas_are_told(master):
    """Plain commands; nothing of a denial, of a peek, nor of a refund that finds nothing."""
    fixed = Policy("fixed-window", 2, 60000)
    with Listener(master) as listener, master.client() as client:
        listener.read_keys()

        def told_by(*words):
            client.ask(*words)
            client.ask("SET", "the end", "x")
            return [" ".join(word.decode("latin-1") for word in told[:2] + told[3:4])
                    for told in listener.read_until(b"the end") if told[0] not in (b"SELECT", b"PING")]

        told_by("PING")
        first = told_by("SLUICE.TAKE", "k", *fixed.words())
        assert first in (["SET k PXAT"], ["MULTI", "SET k PXAT", "EXEC"], ["MULTI", "SET k", "PEXPIREAT k", "EXEC"])
        second = told_by("SLUICE.TAKE", "k", *fixed.words())
        assert len(second) >= 1 and {words.split()[0] for words in second} <= {"SET", "SETRANGE", "PEXPIREAT", "MULTI", "EXEC"}
        for words in (["SLUICE.TAKE", "k", *fixed.words()], ["SLUICE.PEEK", "k", *fixed.words()],
                      ["SLUICE.TAKE", "n", *fixed.words(), "PEEK"], ["SLUICE.TAKE", "n", *fixed.words(3)],
                      ["SLUICE.MTAKE", "ALL", 2, "n", "k", *fixed.words()], ["SLUICE.MTAKE", "EACH", 2, "k", "k", *fixed.words()],
                      ["SLUICE.REFUND", "k", *fixed.words()[:3], "AT", 1], ["SLUICE.RESET", "n"], ["SLUICE.INFO"]):
            assert told_by(*words) == [], words
        assert client.ask("EXISTS", "n") == 0
        assert told_by("SLUICE.RESET", "k", "n") in (["DEL k"], ["UNLINK k"], ["MULTI", "DEL k", "EXEC"])
        assert client.ask("EXISTS", "k") == 0


def test_a_replica_answers_peeks_and_refuses_takes(start_store, master):
    replica = start_store()
    follow(replica, master)
    for _ in range(4):
        master.ask("SLUICE.TAKE", "k", *TEN.words())
    in_step(master, replica)
    before = contents(replica)
    for words in (["SLUICE.TAKE", "k", *TEN.words()], ["SLUICE.MTAKE", "EACH", 1, "k", *TEN.words()], ["SLUICE.RESET", "k"],
                  ["SLUICE.REFUND", "k", *TEN.words(), "AT", 1], ["CL.THROTTLE", "k", 1, 1, 1]):
        with replica.client() as client:
            assert str(client.pipeline(words)[0]).startswith("READONLY"), words
    assert replica.ask("SLUICE.PEEK", "k", *TEN.words())[:3] == [1, 10, 6]
    assert contents(replica) == before
    # A replica that may be written to keeps what it writes to itself.
    replica.settings(replica_read_only="no")
    assert replica.ask("SLUICE.TAKE", "k", *TEN.words())[:3] == [1, 10, 5]
    assert master.ask("SLUICE.PEEK", "k", *TEN.words())[:3] == [1, 10, 6]


def test_a_replica_does_not_expire_by_itself(start_store, master):
    """A state that is past its expiry counts for nothing there, but stays until the master says so."""
    replica = start_store()
    follow(replica, master)
    short = Policy("sliding-log", 10, 1)
    in_step(master, replica)
    master.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    master.ask("SLUICE.TAKE", "k", *short.words(4))
    in_step(master, replica)
    wait_until(lambda: replica.ask("GET", "k") is None, what="the key to expire")
    assert replica.ask("DBSIZE") == master.ask("DBSIZE") == 1
    assert replica.ask("SLUICE.PEEK", "k", *short.words())[:3] == [1, 10, 10]
    assert replica.ask("DBSIZE") == 1
    assert master.ask("SLUICE.TAKE", "k", *TEN.words())[:3] == [1, 10, 9]  # which would count them, were they there
    in_step(master, replica)
    assert_same(master, replica)


def test_takes_of_other_databases(start_store, master):
    replica = start_store(module=False)
    follow(replica, master)
    in_step(master, replica)
    with master.client() as client:
        client.pipeline(["SELECT", 3], ["SLUICE.TAKE", "k", *TEN.words()], ["MULTI"], ["SELECT", 4],
                        ["SLUICE.MTAKE", "EACH", 2, "k", "l", *TEN.words()], ["SELECT", 0], ["SLUICE.TAKE", "m", *TEN.words()],
                        ["EXEC"], ["SWAPDB", 0, 3], ["SLUICE.TAKE", "n", *TEN.words()])
    in_step(master, replica)
    for database, keys in ((0, [b"k", b"n"]), (3, [b"m"]), (4, [b"k", b"l"])):
        one, two = contents(master, database), contents(replica, database)
        assert sorted(one) == keys and not differences(one, two)


def test_promotion_after_wait_forgets_nothing(start_store, master):
    """The master is killed under load; what WAIT has confirmed is held against the client by the new one."""
    replica = start_store()
    follow(replica, master)
    in_step(master, replica)
    limits = {"sliding-log": 5000, "sliding-counter": 3000, "fixed-window": 20, "token-bucket": 700}
    policies = {name: Policy(name, limit, 3600000) for name, limit in limits.items()}
    with master.client() as client:
        with Load(master, connections=1):
            for name, policy in policies.items():
                answers = client.pipeline(*(["SLUICE.TAKE", name, *policy.words()] for _ in range(2 * policy.limit // 3)))
                assert all(answer[0] == 1 for answer in answers)
            assert client.ask("WAIT", 1, 30000) == 1
    with Load(master, connections=1) as load:
        load.goes_on()
        master.kill()
        wait_until(lambda: load.wrong, what="the connection to break")
        load.wrong.clear()
    replica.ask("REPLICAOF", "NO", "ONE")
    with replica.client() as client:
        for name, policy in policies.items():
            answers = client.pipeline(*(["SLUICE.TAKE", name, *policy.words()] for _ in range(policy.limit)))
            left = policy.limit - 2 * policy.limit // 3
            allowed = [answer[0] for answer in answers].count(1)
            # An hour's bucket has flowed back a little.
            assert left <= allowed <= left + (policy.limit // 30 if name == "token-bucket" else 0), (name, allowed, left)


def test_promotion_without_wait_forgets_at_most_what_was_not_told(start_store, master):
    """Whatever the replica was told is held; so nobody passes more often than the limit and what was lost in between."""
    replica = start_store()
    follow(replica, master)
    in_step(master, replica)
    policy = Policy("fixed-window", 1000000, 3600000)
    counted = 0
    with master.client() as client:
        replica.pause()
        client.flood(*[command("SLUICE.TAKE", "k", *policy.words())] * 1000)
        replica.go_on()
        assert client.ask("WAIT", 1, 30000) == 1
        counted = client.ask("SLUICE.PEEK", "k", *policy.words())[2]
        replica.pause()
        client.flood(*[command("SLUICE.TAKE", "k", *policy.words())] * 500)
        last = client.ask("SLUICE.PEEK", "k", *policy.words())[2]
    master.kill()
    replica.go_on()
    wait_until(lambda: replica.info("replication")["master_link_status"] == "down", what="the loss to be noticed")
    replica.ask("REPLICAOF", "NO", "ONE")
    assert counted == last + 500 == policy.limit - 1000
    assert last <= replica.ask("SLUICE.PEEK", "k", *policy.words())[2] <= counted
