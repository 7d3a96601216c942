# SPDX-License-Identifier: Apache-2.0
"""Who may do what with the module: users, categories of commands, what the server tells about the commands, and how Cluster
clients find their keys."""
import pytest

from support.module import RedisError, contents, server_version
from support.takes import Policy, packed_requests

TEN = Policy("sliding-log", 10, 60000)
WORDS = TEN.words()
# name -> (least words with the name, read or write, keys that a call has)
CALLS = {
    "sluice.take": (["k", *WORDS], "write", ["k"]),
    "sluice.peek": (["k", *WORDS], "read", ["k"]),
    "sluice.refund": (["k", *WORDS, "AT", 1], "write", ["k"]),
    "sluice.reset": (["k", "l", "m"], "write", ["k", "l", "m"]),
    "sluice.mtake": (["EACH", 2, "k", "l", *WORDS], "write", ["k", "l"]),
    "sluice.info": ([], "read", []),
    "cl.throttle": (["k", 1, 1, 1], "write", ["k"]),
}


@pytest.fixture
def user(store):
    """Makes a connection of a user with these rights and no others."""
    clients = []

    def connect(*rights):
        store.ask("ACL", "SETUSER", "bob", "reset", "on", ">secret", "-@all", *rights)
        clients.append(store.client())
        clients[-1].ask("AUTH", "bob", "secret")
        return clients[-1]

    yield connect
    for client in clients:
        client.close()


def refused(client, *words):
    reply = client.pipeline(words)[0]
    return isinstance(reply, RedisError) and str(reply).startswith("NOPERM")


@pytest.mark.parametrize("name", CALLS)
def test_a_user_needs_the_command_and_the_keys(store, user, name):
    words, _, keys = CALLS[name]
    assert refused(user("~*"), name, *words)
    client = user("+" + name, *(f"~{key}" for key in keys))
    assert not isinstance(client.pipeline([name, *words])[0], RedisError)
    store.ask("FLUSHALL")
    for missing in keys:
        client = user("+" + name, *(f"~{key}" for key in keys if key != missing))
        assert refused(client, name, *words), missing
    assert store.ask("DBSIZE") == 0


def test_a_user_of_some_keys_takes_from_no_others(store, user):
    client = user("+sluice.take", "+sluice.mtake", "~mine:*")
    assert client.ask("SLUICE.TAKE", "mine:1", *WORDS)[:3] == [1, 10, 9]
    for words in (["SLUICE.TAKE", "other", *WORDS], ["SLUICE.MTAKE", "EACH", 2, "mine:1", "other", *WORDS],
                  ["SLUICE.MTAKE", "ALL", 2, "other", "mine:1", *WORDS], ["SLUICE.PEEK", "mine:1", *WORDS],
                  ["SLUICE.MTAKE", "EACH", 2, "other", "mine:1", *WORDS, *WORDS],
                  ["SLUICE.MTAKE", "EACH", 3, "mine:1", "mine:2", "other", "PACKED",
                   packed_requests([TEN], [[(0, 1), (0, 1), (0, 1)]])]):
        assert refused(client, *words), words
    assert list(contents(store)) == [b"mine:1"]
    assert client.ask("SLUICE.MTAKE", "EACH", 2, "mine:1", "mine:2", *WORDS)[1][:3] == [1, 10, 9]
    # A number that the server reads otherwise than the module would be keys that it does not see.
    for n in ("01", "+1", " 1", "1 ", "0x1", "1.0", "1e0", "-1", "1\0", "\x001", "00000000000000000000001", "18446744073709551617"):
        for key in ("mine:1", "other"):
            with pytest.raises(RedisError):
                client.ask("SLUICE.MTAKE", "EACH", n, key, *WORDS)
    assert store.ask("EXISTS", "other") == 0
    # Words that look like keys are none.
    assert client.ask("SLUICE.MTAKE", "EACH", 1, "mine:3", "PACKED", packed_requests([TEN], [[(0, 1)]]))


@pytest.mark.skipif(server_version() < (7,), reason="rights to read or write a key came with Redis 7.0")
def test_a_user_who_may_only_read_a_key(store, user):
    client = user("+@all", "%R~k")
    assert client.ask("SLUICE.PEEK", "k", *WORDS)[:3] == [1, 10, 10]
    for name, (words, kind, keys) in CALLS.items():
        if kind == "write" and keys:
            assert refused(client, name, *words), name
    # A take answers with what the key holds, so the right to write alone is not enough.
    assert refused(user("+@all", "%W~k"), "SLUICE.TAKE", "k", *WORDS)
    assert store.ask("DBSIZE") == 0


def has_categories(store):
    """Before Redis 7.2 a module can't put its commands into categories."""
    return "acl-categories" not in store.counters()["missing"].split()


def test_a_user_of_a_category(store, user):
    if not has_categories(store):
        assert refused(user("+@read", "+@write", "+@fast", "~*"), "SLUICE.PEEK", "k", *WORDS)
        return
    reader = user("+@read", "~*")
    assert reader.ask("SLUICE.PEEK", "k", *WORDS)[:3] == [1, 10, 10]
    for name, (words, kind, _) in CALLS.items():
        if kind == "write":
            assert refused(reader, name, *words), name
    assert user("+@write", "~*").ask("SLUICE.TAKE", "k", *WORDS)[:3] == [1, 10, 9]


@pytest.mark.parametrize("name", CALLS)
def test_command_info(store, name):
    words, kind, keys = CALLS[name]
    found = store.ask("COMMAND", "INFO", name)[0]
    assert found[0] == name
    flags, categories = set(found[2]), set(found[6])
    assert "module" in flags or server_version() < (7,)
    assert ("write" in flags) == (kind == "write")
    assert ("denyoom" in flags) == (name in ("sluice.take", "sluice.mtake", "cl.throttle")), flags
    assert ("fast" in flags) == (name != "sluice.reset"), flags
    if keys:
        assert ("readonly" in flags) == (kind == "read")
    read_or_write = {"@read", "@write"} & categories
    assert read_or_write == ({f"@{kind}"} if keys and has_categories(store) else set()), categories
    assert {"@fast", "@slow"} & categories or not has_categories(store), categories
    arity = {"sluice.take": -5, "sluice.peek": -5, "sluice.refund": -7, "sluice.reset": -2, "sluice.mtake": -6,
             "sluice.info": 1, "cl.throttle": -5}[name]
    assert found[1] in (arity, -1) or server_version() >= (7,) and found[1] == arity, found[1]
    if name == "sluice.mtake":
        assert "movablekeys" in flags
    else:
        assert found[3:6] == ([0, 0, 0] if not keys else [1, -1, 1] if name == "sluice.reset" else [1, 1, 1])


@pytest.mark.skipif(server_version() < (7,), reason="COMMAND DOCS came with Redis 7.0")
@pytest.mark.parametrize("name", CALLS)
def test_command_docs(store, name):
    docs = store.ask("COMMAND", "DOCS", name)
    assert docs[0] == name
    about = dict(zip(docs[1][::2], docs[1][1::2]))
    assert about["summary"] and about["summary"][0].isupper()
    assert about["complexity"].startswith("O(")
    assert about["since"] and about["module"] == "sluice"
    if name != "sluice.info":
        arguments = [dict(zip(argument[::2], argument[1::2])) for argument in about["arguments"]]
        first = {"sluice.mtake": "mode"}.get(name, "key")
        assert arguments[0]["name"] == first, arguments
        names = str(arguments)
        for word in {"sluice.take": ("algorithm", "limit", "window", "BURST", "COST", "PEEK", "WITHTIME"),
                     "sluice.peek": ("algorithm", "limit", "window", "BURST", "COST"),
                     "sluice.refund": ("algorithm", "limit", "window", "AT", "BURST", "COST"),
                     "sluice.mtake": ("ALL", "EACH", "numkeys", "key", "algorithm", "limit", "window", "PACKED"),
                     "cl.throttle": ("max_burst", "count_per_period", "period", "quantity")}.get(name, ()):
            assert f"'{word}'" in names, (word, names)


@pytest.mark.parametrize("name", [name for name, call in CALLS.items() if call[2]])
def test_command_getkeys(store, name):
    words, _, keys = CALLS[name]
    assert store.ask("COMMAND", "GETKEYS", name, *words) == keys


@pytest.mark.parametrize("mode", ["ALL", "EACH", "each"])
@pytest.mark.parametrize("n", [1, 3, 1024])
def test_command_getkeys_of_mtake(store, mode, n):
    keys = [f"key:{i}" for i in range(n)]
    assert store.ask("COMMAND", "GETKEYS", "SLUICE.MTAKE", mode, n, *keys, *WORDS) == keys
    assert store.ask("COMMAND", "GETKEYS", "SLUICE.MTAKE", mode, n, *keys, *(WORDS * n)) == keys
    packed = packed_requests([TEN], [[(0, 1)]] * n)
    assert store.ask("COMMAND", "GETKEYS", "SLUICE.MTAKE", mode, n, *keys, "PACKED", packed) == keys


@pytest.mark.parametrize("words", [["EACH", "0", "k"], ["EACH", "5", "k", *WORDS], ["EACH", "-1", "k"], ["EACH", "x", "k"],
                                   ["EACH", "4294967297", "k"], ["EACH", "1025", "k"], ["EACH", "18446744073709551617", "k"],
                                   ["EACH", "", "k"], ["EACH", "1"], ["EACH"], []], ids=str)
def test_command_getkeys_of_what_is_no_call(store, words):
    """No key beyond the words, and no crash."""
    with store.client() as client:
        reply = client.pipeline(["COMMAND", "GETKEYS", "SLUICE.MTAKE", *words])[0]
    assert isinstance(reply, RedisError) or set(reply) <= set(map(str, words)), reply
    assert store.ask("PING") == "PONG"


def test_command_list_names_all(store):
    names = {entry[0] for entry in store.ask("COMMAND")}
    assert set(CALLS) <= names
    assert {name for name in names if name.startswith(("sluice.", "cl."))} == set(CALLS)
