# SPDX-License-Identifier: Apache-2.0
"""The module and what a server keeps on disk: append-only file and RDB, read again with the module and without."""
import pytest

from support.module import (PLAIN_COMMANDS, assert_all_expire, assert_same, command, contents, differences, names_of,
                            parse_commands)
from support.takes import Load, Policy, Traffic, assert_no_error, count_answers
from support.waiting import wait_until

LONG = (300, 60000, 600000)  # windows: most states outlive a restart
TEN = Policy("sliding-log", 10, 600000)
# What a rewrite makes of a string.
REWRITTEN = PLAIN_COMMANDS


def appended(server):
    """The commands in the append-only files, whatever they are called. The server stands still meanwhile: it also writes
    of what expires, and a command half written is none."""
    with server.held():
        return commands_in_files(server)


def commands_in_files(server):
    paths = [path for path in server.folder.rglob("*appendonly*") if path.is_file() and path.suffix != ".manifest"]
    assert paths
    found = []
    for path in sorted(paths):
        data = path.read_bytes()
        if not data.startswith((b"REDIS", b"VALKEY")):  # an RDB as the base
            found += parse_commands(data)
    return found


def restarted(server, module):
    """Ends it and starts it from disk. What it held must be there again, save for what has expired."""
    with server.client() as client:
        client.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    before = contents(server)
    server.restart(module=module)
    wrong = differences(before, contents(server))
    assert not wrong, f"{len(wrong)} of {len(before)} keys: " + "; ".join(wrong[:5])
    assert len(contents(server)) >= 100


def traffic_of_all_kinds(server, seed, rounds=10):
    traffic = Traffic(seed, keys=500, windows_ms=LONG)
    with server.client() as client:
        traffic.load_script(client)
        for _ in range(rounds):
            count_answers(client.flood(traffic.mtake(200), traffic.takes(200), traffic.mtake(8, b"ALL"), traffic.resets(2)))
            assert_no_error(client.flood(traffic.packed(100), traffic.scripts(20)))
            traffic.refunds(client, 10)


@pytest.mark.parametrize("fsync", ["always", "everysec"])
def test_an_append_only_file_from_the_start(start_store, fsync):
    store = start_store(arguments=["--appendonly", "yes", "--appendfsync", fsync])
    traffic_of_all_kinds(store, 1)
    names = names_of(appended(store))
    # The script has MSET; and before Redis 7 it is sent itself when it is loaded.
    assert names - {"MSET", "SCRIPT"} <= PLAIN_COMMANDS and {"SET", "SETRANGE", "PEXPIREAT"} <= names, names
    restarted(store, module=False)
    restarted(store, module=True)
    traffic_of_all_kinds(store, 2)
    restarted(store, module=False)
    assert_all_expire(store)


def test_an_append_only_file_switched_on_under_load(store):
    for _ in range(3):
        with Load(store, windows_ms=LONG) as load:
            load.goes_on()
            store.settings(appendonly="yes")
            load.goes_on(2000)
            store.saved()
            load.goes_on(2000)
        restart_from_file(store)
        store.settings(appendonly="no")


def restart_from_file(store):
    """What stands in the configuration file of this server says no append-only file; the one that there is shall count."""
    assert store.info("persistence")["aof_enabled"] == "1"
    with store.client() as client:
        client.ask("DEBUG", "SET-ACTIVE-EXPIRE", 0)
    before = contents(store)
    store.arguments += ["--appendonly", "yes"]
    for module in (False, True):
        store.restart(module=module)
        wrong = differences(before, contents(store))
        assert not wrong, f"{len(wrong)} of {len(before)} keys: " + "; ".join(wrong[:5])
        assert len(contents(store)) >= 100
    store.arguments = store.arguments[:-2]


def test_an_append_only_file_switched_on_between_two_takes_of_one_turn(store):
    """The module may save itself the work of telling when nobody listens: this is when somebody begins to."""
    for turn in range(4):
        traffic = Traffic(turn, keys=200, tag=f"{turn}:", windows_ms=(600000,))
        takes = [traffic.takes(100) + traffic.mtake(100) + traffic.mtake(5, b"ALL") + traffic.packed(50) for _ in range(4)]
        with store.client() as one, store.client() as two:
            with store.held():
                if turn % 2 == 0:  # all on one connection
                    one.send(b"".join((takes[0], command("CONFIG", "SET", "appendonly", "yes"), takes[1], takes[2])))
                else:
                    one.send(takes[0] + takes[1])
                    two.send(command("CONFIG", "SET", "appendonly", "yes") + takes[2])
            one.send(takes[3])
            for client in (one, two):
                assert_no_error(client.flood())
        store.saved()
        restart_from_file(store)
        store.settings(appendonly="no")


def test_an_append_only_file_switched_on_while_the_server_saves(store):
    """It can't fork for the file yet. What is taken until it does is in the file that it then begins with."""
    traffic = Traffic(9, keys=200, windows_ms=(600000,))
    with store.client() as client:
        client.flood(traffic.mtake(200))
        with store.child_at_work("BGSAVE"):
            assert_no_error(client.flood(traffic.takes(100), command("CONFIG", "SET", "appendonly", "yes"), traffic.takes(100),
                                         traffic.mtake(100)))
            assert store.info("persistence")["rdb_bgsave_in_progress"] == "1"

        def begun():
            client.flood(traffic.takes(20))
            told = store.info("persistence")
            return told["aof_rewrite_in_progress"] == "1" or told["aof_last_rewrite_time_sec"] != "-1"

        wait_until(begun, what="the rewrite")
        client.flood(traffic.takes(100))
    store.saved()
    restart_from_file(store)


def test_an_append_only_file_switched_on_within_a_transaction(store):
    """With takes in front and behind, which are told of at the end of all."""
    take = ["SLUICE.TAKE", "k", *TEN.words()]
    many = ["SLUICE.MTAKE", "EACH", 100, *(f"k{i}" for i in range(100)), *TEN.words()]
    with store.client() as client:
        replies = client.pipeline(["MULTI"], take, ["CONFIG", "SET", "appendonly", "yes"], take, many, ["EXEC"], take)
    assert replies[-2][1] == "OK" and replies[-1][:3] == [1, 10, 7]
    store.saved()
    restart_from_file(store)
    assert store.ask("SLUICE.PEEK", "k", *TEN.words())[:3] == [1, 10, 7]


def test_switched_off_and_on_again_under_load(store):
    """What is taken meanwhile comes in by the rewrite."""
    with Load(store, windows_ms=LONG) as load:
        for _ in range(4):
            store.settings(appendonly="yes")
            load.goes_on()
            store.saved()
            load.goes_on()
            store.settings(appendonly="no")
            load.goes_on()
        store.settings(appendonly="yes")
        load.goes_on()
    store.saved()
    restart_from_file(store)


@pytest.mark.parametrize("preamble", ["yes", "no"])
def test_a_rewrite_under_load(start_store, preamble):
    store = start_store(arguments=["--appendonly", "yes", "--aof-use-rdb-preamble", preamble])
    with Load(store, windows_ms=LONG) as load:
        for _ in range(4):
            load.goes_on(1000)
            store.ask("BGREWRITEAOF")
            load.goes_on(1000)
            store.saved()
    names = names_of(appended(store))
    assert names - {"MSET"} <= REWRITTEN, names
    restarted(store, module=False)
    restarted(store, module=True)


def test_an_rdb_saved_under_load(store):
    """It holds the states of one moment, each whole: a server without the module has every one of them."""
    with Load(store, windows_ms=LONG) as load:
        for _ in range(3):
            load.goes_on(1000)
            store.ask("BGSAVE")
            load.goes_on(1000)
            store.saved()
    store.kill()  # so what was saved under load is what there is
    store.module = False
    store.start()
    assert len(contents(store)) >= 100
    assert_all_expire(store)
    store.restart()
    traffic_of_all_kinds(store, 6)
    store.ask("SAVE")
    restarted(store, module=False)
    store.ask("SAVE")
    restarted(store, module=True)


def test_debug_reload(store):
    traffic_of_all_kinds(store, 3)
    before = contents(store)
    store.ask("DEBUG", "RELOAD")
    wrong = differences(before, contents(store))
    assert not wrong and len(before) >= 100, wrong[:5]
    traffic_of_all_kinds(store, 4)


@pytest.mark.parametrize("module", [True, False])
def test_counts_go_on_after_a_restart(store, module):
    """Neither a unit more nor less, whatever the algorithm."""
    policies = {name: Policy(name, 10, 3600000) for name in ("sliding-log", "sliding-counter", "fixed-window", "token-bucket")}
    for name, policy in policies.items():
        for left in (9, 8, 7):
            assert store.ask("SLUICE.TAKE", name, *policy.words())[:3] == [1, 10, left]
    store.ask("SAVE")
    store.restart(module=module)
    if not module:
        store.restart()
    for name, policy in policies.items():
        for left in (6, 5, 4, 3, 2, 1, 0):
            assert store.ask("SLUICE.TAKE", name, *policy.words())[:3] == [1, 10, left]
        assert store.ask("SLUICE.TAKE", name, *policy.words())[:3] == [0, 10, 0]


def changes(server):
    return int(server.info("persistence")["rdb_changes_since_last_save"])


def test_changes_are_counted_for_save_points(store):
    """An allowed take counts, whether or not anybody listens; a denied one does not."""
    with store.client() as client:
        at = changes(store)
        for words, allowed in ((["SLUICE.TAKE", "k", *TEN.words()], 10), (["SLUICE.TAKE", "b", "token-bucket", 5, "1h"], 5)):
            assert [client.ask(*words)[0] for _ in range(12)] == [1] * allowed + [0] * (12 - allowed)
            at, before = changes(store), at
            assert at - before >= allowed
            client.ask(*words)
            client.ask("SLUICE.PEEK", *words[1:])
            assert changes(store) == at
        # In one turn, and many keys in one command.
        client.flood(*[command("SLUICE.TAKE", f"f{i}", *TEN.words()) for i in range(100)])
        at, before = changes(store), at
        assert at - before >= 100
        client.ask("SLUICE.MTAKE", "EACH", 50, *(f"m{i}" for i in range(50)), *TEN.words())
        assert changes(store) - at >= 50


def test_a_save_point_is_reached_by_takes(start_store):
    store = start_store()
    store.settings(save="1 100")
    assert not (store.folder / "dump.rdb").exists()
    with store.client() as client:
        with store.held():  # all come in one turn: a save point may be reached between any two
            client.send(b"".join(command("SLUICE.TAKE", f"k{i}", *TEN.words()) for i in range(150)))
        assert_no_error(client.flood())
    wait_until((store.folder / "dump.rdb").exists, what="the save point")
    wait_until(lambda: changes(store) == 0, what="the end of the saving")
    store.stop()  # which saves, if it shall at all
    store.start()
    assert store.ask("DBSIZE") == 150


def test_a_file_of_the_module_is_none_of_the_module(start_store, store):
    """No data type of ours is in it: the server says nothing of a module when it reads it."""
    traffic_of_all_kinds(store, 5, rounds=2)
    store.ask("SAVE")
    other = start_store(module=False)
    other.stop()
    (other.folder / "dump.rdb").write_bytes((store.folder / "dump.rdb").read_bytes())
    other.start()
    assert_same(store, other, at_least=100)
    assert "module" not in other.log().split("Server initialized")[-1].lower()  # some servers bring modules along
