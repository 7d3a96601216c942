# SPDX-License-Identifier: Apache-2.0
"""Real servers with our module: a client that takes many answers at once, what a server holds to the last byte, and one
who listens to what it tells its replicas.

  SLUICE_BUILD              the build folder, in which the module lies
  SLUICE_TEST_MODULE        the module, when it lies elsewhere
  SLUICE_TEST_REDIS_SERVER  the server: see support/redis.py

Leaves out: what is asked of the module (support/takes.py).
"""
import contextlib
import functools
import os
import re
import signal
import subprocess
import time

from support.redis import Redis, RedisClient, RedisError, debug_allowed, server_version
from support.waiting import LIMIT_S, wait_until

KEY_SAVE_DELAY_US = 60000000  # a minute for each key: of a child that is to be at work for long
# What the module's effects may be, for those who replay them.
PLAIN_COMMANDS = {"SELECT", "SET", "SETRANGE", "PEXPIREAT", "DEL", "UNLINK", "MULTI", "EXEC", "PING", "REPLCONF", "FLUSHALL"}


def caller_path():
    """Another module, that calls ours: redis-module/test_caller.c."""
    return os.path.join(os.path.dirname(module_path()), "caller.so")


def module_path():
    if "SLUICE_TEST_MODULE" in os.environ:
        return os.path.abspath(os.environ["SLUICE_TEST_MODULE"])
    folder = os.environ.get("SLUICE_BUILD", "build")
    for path in (os.path.join(folder, "redis-module", "sluice.so"), os.path.join(folder, "sluice.so")):
        if os.path.exists(path):
            return os.path.abspath(path)
    raise AssertionError(f"no sluice.so in {folder}; set SLUICE_BUILD to a build folder")


@functools.cache
def sanitizer():
    """What makes a server able to load a module that was built with a sanitizer: words before its command."""
    needs = subprocess.run(["ldd", module_path()], capture_output=True, text=True, check=True, timeout=60).stdout
    libraries = re.findall(r"=> (\S+/lib(?:asan|ubsan|tsan)\.so\S*)", needs)
    if not libraries:
        return []
    # The server's own leaks at its end are none of ours.
    return ["env", "LD_PRELOAD=" + " ".join(libraries),
            "ASAN_OPTIONS=" + os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"]


def children(pid):
    """Of a process without threads that make some."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


def command(*words):
    """A command as it goes over the wire."""
    data = [b"*%d\r\n" % len(words)]
    for word in words:
        word = word if isinstance(word, bytes) else str(word).encode()
        data.append(b"$%d\r\n%s\r\n" % (len(word), word))
    return b"".join(data)


class Push(list):
    """What a server says of its own accord (RESP3)."""


class ModuleClient(RedisClient):
    """Speaks RESP2 and RESP3. Strings are str, a character a byte. Errors inside of other replies, and in those of a
    pipeline, are values; what the server says of its own accord gathers in `pushes`."""

    def __init__(self, address, limit_s=LIMIT_S):
        super().__init__(address, limit_s)
        self.pushes = []

    def read(self):
        reply = self.read_any()
        if isinstance(reply, RedisError):
            raise reply
        return reply

    def read_any(self):
        while isinstance(reply := self._reply(), Push):
            self.pushes.append(reply)
        return reply

    def _reply(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind in b":(":
            return int(rest)
        if kind in b"$=!":
            if rest == b"-1":
                return None
            text = self.file.read(int(rest) + 2)[:-2].decode("latin-1")
            return RedisError(text) if kind == b"!" else text
        if kind in b"*~>":
            if rest == b"-1":
                return None
            items = [self._reply() for _ in range(int(rest))]
            return Push(items) if kind == b">" else items
        if kind == b"%":
            return {self._key(): self._reply() for _ in range(int(rest))}
        if kind == b"_":
            return None
        if kind == b"#":
            return rest == b"t"
        if kind == b",":
            return float(rest)
        if kind == b"-":
            return RedisError(rest.decode("latin-1"))
        assert kind == b"+", line
        return rest.decode("latin-1")

    def _key(self):
        key = self._reply()
        return tuple(key) if isinstance(key, list) else key

    def pipeline(self, *commands):
        """Commands as lists of words, in one write. Returns their replies, errors as values."""
        self.socket.sendall(b"".join(command(*words) for words in commands))
        return [self.read_any() for _ in commands]

    def send(self, data):
        self.socket.sendall(data)

    def flood(self, *data):
        """Sends much at once. Returns what comes back, as it came. The server keeps what it has not got rid of."""
        end = b"$9\r\nthat's it\r\n"
        self.socket.sendall(b"".join((*data, command("ECHO", "that's it"))))
        got = bytearray()
        while not got.endswith(end):
            more = self.socket.recv(1 << 20)
            if not more:
                raise ConnectionError("the server ended the connection")
            got += more
        return bytes(got[:-len(end)])


class ModuleRedis(Redis):
    """A server with our module.

    @param module  whether it is loaded; looked at whenever the server starts.
    @param module_arguments  of the module.
    """

    def __init__(self, folder, module=True, module_arguments=(), **settings):
        self.module, self.module_arguments = module, list(module_arguments)
        super().__init__(folder, **settings)

    def command(self):
        words = [*sanitizer(), *super().command(), "--repl-diskless-sync-delay", "0", *debug_allowed()]
        if server_version() >= (7,):
            words += ["--enable-module-command", "yes"]
        if self.module:
            words += ["--loadmodule", module_path(), *self.module_arguments]
        return words

    def client(self, limit_s=LIMIT_S):
        with self.there():
            return ModuleClient((self.host, self.port), limit_s)

    @contextlib.contextmanager
    def held(self):
        """While this lasts the server is stopped; what comes meanwhile it then finds all at once, in one turn of its loop."""
        self.pause()
        try:
            yield
        finally:
            self.go_on()

    def restart(self, module=True):
        """Ends it as an operator would, and starts it again."""
        self.stop()
        self.module = module
        self.start()

    def stop(self):
        with self.client() as client:
            client.send(command("SHUTDOWN"))
            assert self.process.wait(LIMIT_S) == 0, self.log()[-2000:]
        self.process = None

    def settings(self, **names):
        """CONFIG SET; names with _ for -."""
        for name, value in names.items():
            self.ask("CONFIG", "SET", name.replace("_", "-"), value)

    def saved(self):
        """Waits for the end of what is written in the background."""
        def over():
            told = self.info("persistence")  # once: what is scheduled may begin in between
            return all(told[name] == "0" for name in ("rdb_bgsave_in_progress", "aof_rewrite_in_progress", "aof_rewrite_scheduled"))

        wait_until(over, what="the background writing")
        told = self.info("persistence")
        assert told["rdb_last_bgsave_status"] == told["aof_last_bgrewrite_status"] == "ok", self.log()[-2000:]

    @contextlib.contextmanager
    def child_at_work(self, command):
        """Starts a child by BGSAVE or BGREWRITEAOF. It is at work until the function is called that this gives, or the
        end of this; how long a machine stands still does not matter. It then ends as one that the server ends itself."""
        self.settings(rdb_key_save_delay=KEY_SAVE_DELAY_US)
        self.ask(command)
        self.settings(rdb_key_save_delay=0)
        (child,) = children(self.process.pid)

        def end():
            if child in children(self.process.pid):
                os.kill(child, signal.SIGUSR1)

        try:
            assert self.has_child()
            yield end
        finally:
            end()

    def has_child(self):
        told = self.info("persistence")
        return told["rdb_bgsave_in_progress"] == "1" or told["aof_rewrite_in_progress"] == "1"

    def counters(self):
        """SLUICE.INFO as {name: value}."""
        said = self.ask("SLUICE.INFO")
        return said if isinstance(said, dict) else dict(zip(said[::2], said[1::2]))


# What a server holds


class Near(float):
    """When a key expires, as well as a server tells that can only be asked how long the key still lives."""
    __hash__ = None

    def __eq__(self, other):
        return abs(self - other) < 1000

    def __ne__(self, other):
        return not self == other


def expiry_words(key):
    """The command that tells when a key expires; before 7.0 how long it still lives."""
    return ("PEXPIRETIME" if server_version() >= (7,) else "PTTL", key)


def contents(server, database=0):
    """{key: (value, expiry in ms since 1970)} of all keys. What is no string is dumped."""
    with server.client() as client:
        if database != 0:
            client.ask("SELECT", database)
        if "--cluster-enabled" in server.arguments:
            client.ask("READONLY")  # it may be a replica
        keys = [key.encode("latin-1") for key in client.ask("KEYS", "*")]
        found = {}
        for at in range(0, len(keys), 500):
            some = keys[at:at + 500]
            replies = client.pipeline(*(words for key in some for words in (("GET", key), expiry_words(key))))
            now_ms = time.time() * 1000
            for key, value, expiry in zip(some, replies[::2], replies[1::2]):
                if isinstance(value, RedisError):
                    value = "DUMP " + client.ask("DUMP", key)
                if value is not None and expiry != -2:  # it expired between the two
                    found[key] = (value, expiry if server_version() >= (7,) or expiry < 0 else Near(now_ms + expiry))
        return found


def same(expiry, other):
    """Before 7.0 a server can only be asked how long a key still lives."""
    return expiry == other if server_version() >= (7,) else abs(expiry - other) < 1000


def differences(one, other):
    """Of two contents(). What one of them does not hold is no difference when it has expired since."""
    now_ms = time.time() * 1000 + (0 if server_version() >= (7,) else 1000)  # see Near
    found = []
    for key in one.keys() | other.keys():
        value, expiry = one.get(key, (None, None))
        other_value, other_expiry = other.get(key, (None, None))
        if value is None or other_value is None:
            last = other_expiry if value is None else expiry
            if not 0 < last <= now_ms:
                found.append(f"{key}: only {'the second' if value is None else 'the first'} has it")
        elif value != other_value:
            found.append(f"{key}: {value.encode('latin-1').hex()} / {other_value.encode('latin-1').hex()}")
        elif not same(expiry, other_expiry):
            found.append(f"{key}: expires at {expiry} / {other_expiry}")
    return found


def assert_same(server, other, at_least=1):
    """Two servers hold the same keys, bytes and expiries. @param at_least  how many both must hold."""
    one, two = contents(server), contents(other)
    wrong = differences(one, two)
    assert not wrong, f"{len(wrong)} of {len(one)} keys: " + "; ".join(wrong[:5])
    assert len(one.keys() & two.keys()) >= at_least, (len(one), len(two))


def assert_all_expire(server):
    """No key of ours may stay for ever."""
    for_ever = [key for key, (_, expiry) in contents(server).items() if expiry < 0]
    assert not for_ever, for_ever[:5]


# Replicas


def follow(replica, master):
    replica.ask("REPLICAOF", master.host, master.port)


def in_step(master, *replicas):
    """Waits until the replicas have all that the master told them."""

    def are_in_step():
        offset = master.info("replication")["master_repl_offset"]
        told = [replica.info("replication") for replica in replicas]
        return all(one.get("master_link_status") == "up" and one["master_repl_offset"] == offset for one in told)

    wait_until(are_in_step, limit_s=2 * LIMIT_S, what="the replicas to be in step")


def parse_commands(data):
    """Commands as they stand one after the other in a stream of replication or an append-only file; lines that begin with
    '#' are left out. Returns lists of bytes."""
    found, at = [], 0

    def line():
        nonlocal at
        end = data.index(b"\r\n", at)
        text, at = data[at:end], end + 2
        return text

    while at < len(data):
        head = line()
        if head[:1] in (b"#", b""):
            continue
        assert head[:1] == b"*", data[at - 20:at + 80]
        words = []
        for _ in range(int(head[1:])):
            n = int(line()[1:])
            words.append(data[at:at + n])
            at += n + 2
        found.append(words)
    return found


def names_of(commands):
    return {words[0].decode().upper() for words in commands}


class Listener:
    """Attaches as a replica would, and keeps what it is told: the keys as a file, and then the stream.

    @param at_once  or else attach() does so later.
    """

    def __init__(self, server, at_once=True):
        self.client, self.rdb = server.client(), None
        self.client.ask("PING")  # it is let in: that would be a turn of the server's loop
        if at_once:
            self.attach()

    def attach(self, before=b""):
        """Asks; the answers are read later. @param before  what goes out in front of it, in the same write."""
        self.client.send(before + command("PSYNC", "?", "-1"))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.client.close()

    def _line(self):
        while (line := self.client.file.readline()) == b"\n":  # the server is not ready yet
            pass
        return line

    def read_keys(self):
        """Until the file is there."""
        first, line = self._line(), self._line()
        assert first.startswith(b"+FULLRESYNC"), first
        assert line[:1] == b"$" and line[1:2].isdigit(), line
        self.rdb = self.client.file.read(int(line[1:]))

    def read_until(self, key):
        """The stream up to the command that sets `key`: lists of words. Returns what came before it."""
        told = []
        while True:
            words = [word.encode("latin-1") for word in self.client._reply()]
            if words[0].upper() == b"SET" and words[1] == key:
                return told
            if words[0].upper() != b"PING":  # some write it small
                told.append(words)

    def replay(self, told, server):
        """Makes a server, started anew, hold what was told."""
        server.stop()
        (server.folder / "dump.rdb").write_bytes(self.rdb)
        server.start()
        with server.client() as client:
            for reply in client.pipeline(*([*told] or [["PING"]])):
                assert not isinstance(reply, RedisError), reply
