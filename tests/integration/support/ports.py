# SPDX-License-Identifier: Apache-2.0
"""Ports for servers that must be told one.

Leaves out: our own server, which takes port 0 and says which one that became.
"""
import random
import socket

LOWEST = 10000
BUS_ABOVE_PORT = 10000  # how far above its port a node of a Redis Cluster listens to the others
claims = []  # kept open: they end with this process


def _highest():
    """Below the ports that the system gives to connections: one of those may be taken between choice and use, and again while
    its server is down for a restart."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        first = int(file.read().split()[0])
    return first - 1 if first > LOWEST + 2 * BUS_ABOVE_PORT else 32767


def _is_free(address, port):
    with socket.socket() as probe:
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def _claim(port):
    """Whether it is ours, and not one that other tests have chosen and not yet bound. The name goes with the process."""
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        claim.bind(f"\0sluice-test-port-{port}")
    except OSError:
        claim.close()
        return False
    claims.append(claim)
    return True


def _choose(address, highest, offsets):
    for port in random.SystemRandom().sample(range(LOWEST, highest + 1), 1000):
        if all(_is_free(address, port + offset) for offset in offsets) and _claim(port):
            return port
    raise AssertionError(f"no port of {LOWEST} to {highest} is free")


def free_port(address="127.0.0.1"):
    """One that nobody has, that no connection will be given, and that no other test is told."""
    return _choose(address, _highest(), (0,))


def free_port_with_bus():
    """A port whose neighbour for a Cluster's bus is free, too."""
    return _choose("127.0.0.1", _highest() - BUS_ABOVE_PORT, (0, BUS_ABOVE_PORT))
