# SPDX-License-Identifier: Apache-2.0
"""Hosts as network namespaces on one switch.

Each host is a namespace with one interface, `eth0`; the switch is a namespace with a bridge, so nothing of it is seen
outside and addresses of the real network can't collide with the plant's. Names begin with `sluice-PID-START-`, PID and
START (its start time) being those of the process that made them: a later run tells what a dead one left behind.

Needs root. Leaves out: what runs on the hosts (hosts.py).
"""
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time

FOLDER = "/run/netns"
NAME = re.compile(r"sluice-(\d+)-(\d+)-(\d+)-(.+)")
CLONE_NEWNET = 0x40000000
GONE_LIMIT_S = 10
libc = ctypes.CDLL(None, use_errno=True)
_count = 0


def missing():
    """Why no namespaces can be made here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root: run the tests as root (CI does)"
    done = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    return None if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


def ip(*words, netns=None):
    command = ["ip", *(["-netns", netns] if netns else []), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr.strip()}"
    return done.stdout


def ip_batch(lines, netns):
    done = subprocess.run(["ip", "-netns", netns, "-batch", "-"], input="\n".join(lines) + "\n", capture_output=True,
                          text=True, check=False)
    assert done.returncode == 0, done.stderr


def started(pid):
    """When a process started, in ticks since boot; None when there is no such process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def pids(netns):
    """The processes in a namespace."""
    done = subprocess.run(["ip", "netns", "pids", netns], capture_output=True, text=True, check=False)
    return [int(pid) for pid in done.stdout.split()]


def destroy(prefix):
    """Ends every process in the namespaces whose names begin so, and removes them."""
    names = [name for name in os.listdir(FOLDER) if name.startswith(prefix)] if os.path.isdir(FOLDER) else []
    deadline = time.monotonic() + GONE_LIMIT_S
    for name in names:
        while (left := pids(name)) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
    for name in names:
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def reap():
    """Removes what runs left behind that were killed together with their guards."""
    for name in os.listdir(FOLDER) if os.path.isdir(FOLDER) else []:
        found = NAME.fullmatch(name)
        if found and started(int(found.group(1))) != int(found.group(2)):
            destroy(name)


class Network:
    """A switch, and the hosts on it.

    @param addresses  {host: address}, all in 10.0.0.0/24.
    """

    def __init__(self, addresses):
        global _count
        reap()
        _count += 1
        self.prefix = f"sluice-{os.getpid()}-{started(os.getpid())}-{_count}-"
        self.addresses = {}
        self.switch = self.prefix + "switch"
        self.guard = None
        try:
            # The guard reads from us. When we die, however that comes about, it reads the end and takes all down.
            self.guard = subprocess.Popen([sys.executable, os.path.abspath(__file__), self.prefix],
                                          stdin=subprocess.PIPE, start_new_session=True)
            ip("netns", "add", self.switch)
            ip_batch(["link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0", "link set br0 up"],
                     self.switch)
            for host, address in addresses.items():
                self.add(host, address)
        except BaseException:
            self.close()
            raise

    def netns(self, host):
        return self.prefix + host

    def add(self, host, address, more=()):
        """Plugs one more host in. @param more  further addresses of it."""
        netns = self.netns(host)
        ip("netns", "add", netns)
        ip("link", "add", host, "type", "veth", "peer", "name", "eth0", "netns", netns, netns=self.switch)
        ip_batch([f"link set {host} master br0", f"link set {host} up"], self.switch)
        ip_batch(["link set lo up", "link set eth0 up", f"addr add {address}/24 dev eth0",
                  *(f"addr add {one}/24 dev eth0" for one in more)], netns)
        # Everybody knows everybody's hardware address beforehand. Otherwise a host that is cut off would be found out
        # by ARP, and the sender told; what is to be tried is silence.
        mine = ip("-json", "link", "show", "eth0", netns=netns)
        mac = re.search(r'"address":"([0-9a-f:]+)"', mine).group(1)
        for other in self.addresses:
            their_mac = self.addresses[other][1]
            self._know(netns, self.addresses[other][0], their_mac)
            self._know(self.netns(other), [address, *more], mac)
        self.addresses[host] = ([address, *more], mac)

    @staticmethod
    def _know(netns, addresses, mac):
        ip_batch([f"neigh replace {address} lladdr {mac} nud permanent dev eth0" for address in addresses], netns)

    def address(self, host):
        return self.addresses[host][0][0]

    def cut(self, host):
        """From now on its packets, and those to it, vanish. Nobody is told: its link stays up."""
        ip("link", "set", host, "nomaster", netns=self.switch)

    def mend(self, host):
        ip("link", "set", host, "master", "br0", netns=self.switch)

    def lose(self, source, target):
        """From now on what one host sends to another one goes to nobody. Everything else goes on."""
        self._know(self.netns(source), self.addresses[target][0], "02:00:00:00:00:01")

    def command(self, host):
        """What to put before a command to run it on a host. The process keeps the number that it is started with."""
        return ["nsenter", f"--net={FOLDER}/{self.netns(host)}", "--"]

    @contextlib.contextmanager
    def on(self, host):
        """Within, sockets that this thread makes are the host's, and stay so."""
        with open(f"{FOLDER}/{self.netns(host)}", "rb") as there, \
                open(f"/proc/self/task/{threading.get_native_id()}/ns/net", "rb") as here:
            enter(there)
            try:
                yield
            finally:
                enter(here)

    def close(self):
        destroy(self.prefix)
        if self.guard is not None:
            self.guard.stdin.close()
            self.guard.wait(GONE_LIMIT_S + 10)
            self.guard = None


def enter(netns):
    """Moves this thread into the namespace of an open file."""
    if libc.setns(netns.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # it goes when its maker goes, not before
    sys.stdin.buffer.read()
    destroy(sys.argv[1])
