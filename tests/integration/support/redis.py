# SPDX-License-Identifier: Apache-2.0
"""Real Redis servers: alone, with a replica, behind Sentinel, as a Cluster; each in a folder of its own and ended
whatever happens.

Leaves out: what Sluice makes of them.
"""
import contextlib
import functools
import os
import re
import shlex
import signal
import socket
import subprocess
import time

import pytest

from support.ports import BUS_ABOVE_PORT, free_port, free_port_with_bus
from support.server import DIES_WITH_US, stop
from support.waiting import LIMIT_S, wait_until

SLOTS = 16384
INTRODUCED_EVERY_S = 3
START_TRIES = 3  # with another port each
# Which Redis or Valkey the tests run.
SERVER = shlex.split(os.environ.get("SLUICE_TEST_REDIS_SERVER") or "redis-server")


@functools.cache
def _version_text():
    return subprocess.run([*SERVER, "--version"], capture_output=True, text=True, check=True).stdout


def server_version():
    """(major, minor, …) of the Redis that the tests run. Valkey began as Redis 7.2 and counts on from there."""
    return tuple(int(number) for number in re.search(r" v=(\d+(?:\.\d+)+)", _version_text()).group(1).split("."))


def is_valkey():
    return _version_text().startswith("Valkey")


def debug_allowed():
    """Arguments of a server that answers DEBUG. Before Redis 7 every one does."""
    return ["--enable-debug-command", "yes"] if server_version() >= (7,) else []


def needs_tls():
    """Skips the test, and says so, on a server that was built without TLS."""
    told = subprocess.run([*SERVER, "--port", "0", "--tls-port", "1", "--tls-cert-file", "none"], capture_output=True,
                          text=True, check=False, timeout=LIMIT_S)
    assert told.returncode != 0, "a certificate that does not exist was taken"
    if "FATAL CONFIG FILE ERROR" in told.stdout + told.stderr:
        pytest.skip("this server was built without TLS")


class PortTaken(Exception):
    """Somebody was faster."""


class RedisError(Exception):
    """An error reply."""


class RedisClient:
    """One connection that speaks RESP. Replies: str, int, None, list; error replies are raised."""

    def __init__(self, address, limit_s=LIMIT_S):
        self.socket = socket.create_connection(address, limit_s)
        self.file = self.socket.makefile("rb")

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.file.close()
        self.socket.close()

    def ask(self, *words):
        data = b"*%d\r\n" % len(words)
        for word in words:
            word = word if isinstance(word, bytes) else str(word).encode()
            data += b"$%d\r\n%s\r\n" % (len(word), word)
        self.socket.sendall(data)
        return self.read()

    def _line(self):
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("Redis ended the connection")
        return line[:-2]

    def read(self):
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self.file.read(int(rest) + 2)[:-2].decode("latin-1")
        if kind == b"*":
            return None if rest == b"-1" else [self.read() for _ in range(int(rest))]
        return rest.decode()


class Redis:
    """One redis-server.

    @param port  None takes a free one.
    @param arguments  further ones of redis-server: ["--maxmemory", "4mb"].
    @param before  words before the command, which end in becoming it: to run it elsewhere.
    @param there  makes a context in which sockets can reach `host`.
    """

    def __init__(self, folder, port=None, host="127.0.0.1", arguments=(), before=(), there=contextlib.nullcontext):
        self.arguments, self.before, self.there = list(arguments), list(before), there
        self.folder, self.host = folder, host
        self.process = None
        self.paused = False
        folder.mkdir(parents=True, exist_ok=True)
        if port is None:
            self._start_on_a_free_port()
        else:
            self.port = port
            self.start()

    def _start_on_a_free_port(self):
        for tries_left in reversed(range(START_TRIES)):
            self.port = free_port_with_bus() if "--cluster-enabled" in self.arguments else free_port()
            try:
                return self.start()
            except PortTaken:
                if tries_left == 0:
                    raise
                (self.folder / "redis.log").unlink()

    @property
    def url(self):
        return f"redis://{self.host}:{self.port}"

    @property
    def bus_port(self):
        """Where the other nodes of a Cluster reach it."""
        tls = "--tls-cluster" in self.arguments
        return BUS_ABOVE_PORT + (int(self.arguments[self.arguments.index("--tls-port") + 1]) if tls else self.port)

    def own_slots(self, first, last):
        """Of a Cluster: these slots are its own. (ADDSLOTSRANGE is not known before Redis 7.)"""
        self.ask("CLUSTER", "ADDSLOTS", *range(first, last + 1))

    def command(self):
        return [*SERVER, "--bind", self.host, "--port", str(self.port), "--dir", str(self.folder), "--save", "",
                "--protected-mode", "no", "--logfile", "redis.log", "--daemonize", "no", *self.arguments]

    def start(self, empty=False):
        """Starts it (again, after it ended). Returns when it answers. @param empty  without what it kept on disk."""
        if empty:
            for path in self.folder.rglob("*"):
                if path.is_file() and ("appendonly" in path.name or path.suffix == ".rdb"):
                    path.unlink()
        self.process = subprocess.Popen([*DIES_WITH_US, *self.before, *self.command()], cwd=self.folder,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            wait_until(self._answers, what="Redis to answer")
        except BaseException:
            self.kill()  # whoever started it does not get to know it, and could not end it
            raise

    def _answers(self):
        if self.process.poll() is not None and "Address already in use" in self.log():
            raise PortTaken(self.log())
        assert self.process.poll() is None, f"redis-server ended with {self.process.returncode}: {self.log()}"
        try:
            with self.client(limit_s=1) as client:  # who was there before may not answer at all
                client.ask("PING")
                told = client.ask("INFO", "server")
        except RedisError as error:
            return "NOAUTH" in str(error)  # it is up; LOADING and the like are not
        except OSError:
            return False
        return f"process_id:{self.process.pid}\r\n" in told  # or it is somebody else, and ours is about to end

    def client(self, limit_s=LIMIT_S):
        with self.there():
            return RedisClient((self.host, self.port), limit_s)

    def ask(self, *words):
        """One command on a connection of its own."""
        with self.client() as client:
            return client.ask(*words)

    def info(self, section="all"):
        """INFO as {name: value}."""
        return dict(line.split(":", 1) for line in self.ask("INFO", section).splitlines() if ":" in line)

    def calls(self, command):
        """How often a command has been called so far."""
        line = self.info("commandstats").get("cmdstat_" + command.lower())
        return int(re.search(r"calls=(\d+)", line).group(1)) if line else 0

    def log(self):
        path = self.folder / "redis.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # Harm

    def kill(self):
        """SIGKILL."""
        self.process.kill()
        self.process.wait(LIMIT_S)
        self.process, self.paused = None, False

    def pause(self):
        """SIGSTOP: connections stay, nothing is answered from now on."""
        self.paused = True
        stop(self.process)

    def go_on(self):
        self.process.send_signal(signal.SIGCONT)
        self.paused = False

    def finish(self):
        """Ends it. Returns what was wrong about that, or None."""
        if self.process is None:
            return None
        status = self.process.poll()
        self.process.kill()  # nobody needs its data any more
        self.process.wait(LIMIT_S)
        self.process = None
        return f"redis-server ended by itself with {status}: {self.log()[-2000:]}" if status is not None else None


class Sentinel(Redis):
    """One Sentinel, which watches a master from the start.

    @param watched  the Redis. @param quorum  how many Sentinels must agree that it is down.
    """

    def __init__(self, folder, watched, name="sluice", quorum=1, down_after_ms=500, failover_timeout_ms=3000, **settings):
        self.name = name
        folder.mkdir(parents=True, exist_ok=True)
        self.config = folder / "sentinel.conf"  # which it writes to
        self.config.write_text(f"sentinel monitor {name} {watched.host} {watched.port} {quorum}\n"
                               f"sentinel down-after-milliseconds {name} {down_after_ms}\n"
                               f"sentinel failover-timeout {name} {failover_timeout_ms}\n")
        super().__init__(folder, **settings)

    def command(self):
        return [*SERVER, str(self.config), "--sentinel", "--bind", self.host, "--port", str(self.port), "--dir",
                str(self.folder), "--protected-mode", "no", "--logfile", "redis.log", *self.arguments]

    def master(self):
        """(address, port) of the master that it knows."""
        host, port = self.ask("SENTINEL", "get-master-addr-by-name", self.name)
        return host, int(port)


class Cluster:
    """Masters that share the slots evenly, and replicas of them in turn.

    @param start_one  makes a Redis with these further arguments.
    @param node_timeout_ms  after which a node that does not answer counts as failed, and a replica takes its place.
    """

    ARGUMENTS = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no",
                 "--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0"]

    def __init__(self, start_one, masters=3, replicas=0, node_timeout_ms=1000):
        arguments = [*self.ARGUMENTS, "--cluster-node-timeout", str(node_timeout_ms)]  # the last one counts
        self.nodes = [start_one(arguments) for _ in range(masters + replicas)]
        self.masters, self.replicas = self.nodes[:masters], self.nodes[masters:]
        self.introduce_at = time.monotonic()
        for i, master in enumerate(self.masters):
            master.own_slots(SLOTS * i // masters, SLOTS * (i + 1) // masters - 1)
        wait_until(self._have_met, what="the nodes to meet")
        for i, replica in enumerate(self.replicas):
            replica.ask("CLUSTER", "REPLICATE", self.id_of(self.masters[i % masters]))
        wait_until(self.is_well, what="the cluster to be well")

    def _have_met(self):
        """Introduces them; again, if need be: one that does not answer for a second is not asked again."""
        if time.monotonic() >= self.introduce_at:
            self.introduce_at = time.monotonic() + INTRODUCED_EVERY_S
            first = self.nodes[0]
            for node in self.nodes[1:]:
                node.ask("CLUSTER", "MEET", first.host, first.port, first.bus_port)
        return all(self._knows(node) == len(self.nodes) for node in self.nodes)

    @staticmethod
    def _knows(node):
        return int(node.ask("CLUSTER", "INFO").split("cluster_known_nodes:")[1].split()[0])

    @staticmethod
    def id_of(node):
        return node.ask("CLUSTER", "MYID")

    def is_well(self):
        """Every live node knows an owner of every slot, and every replica is in step."""
        live = [node for node in self.nodes if node.process is not None and not node.paused]
        return (all("cluster_state:ok" in node.ask("CLUSTER", "INFO")
                    and f"cluster_slots_ok:{SLOTS}" in node.ask("CLUSTER", "INFO") for node in live)
                and all(node.info("replication").get("master_link_status", "up") == "up" for node in live))

    def owner_of(self, key):
        """The master that holds a key's slot, as the first live node sees it; with the slot."""
        asked = next(node for node in self.nodes if node.process is not None and not node.paused)
        slot = asked.ask("CLUSTER", "KEYSLOT", key)
        for first, last, master, *_ in asked.ask("CLUSTER", "SLOTS"):
            if first <= slot <= last:
                return next(node for node in self.nodes if (node.host, node.port) == (master[0], master[1])), slot
        raise AssertionError(f"nobody holds slot {slot}")

    def move(self, slot, source, target, between=lambda: None):
        """Moves a slot and its keys as redis-cli does. @param between  called after each key that was moved."""
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source))
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(target))
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 1):
            source.ask("MIGRATE", target.host, target.port, keys[0].encode("latin-1"), 0, 5000)
            between()
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", self.id_of(target))
