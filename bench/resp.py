# SPDX-License-Identifier: Apache-2.0
"""A redis-server on a core of its own, and one connection to it that waits for each answer. Leaves out: load."""
import os
import socket
import subprocess
import time

import servers

TICK_US = 1e6 / os.sysconf("SC_CLK_TCK")


def spell(*words):
    words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)


class Redis:
    def __init__(self, folder, *options, core=servers.SERVER_CORE):
        self.port = servers.free_port()
        self.process = subprocess.Popen(["taskset", "-c", core, "redis-server", "--bind", "127.0.0.1", "--port",
                                         str(self.port), "--dir", folder, "--save", "", "--logfile", "log", *options])
        end = time.monotonic() + 10
        while True:
            try:
                self.socket = socket.create_connection(("127.0.0.1", self.port))
                self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                break
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    self.stop()
                    raise SystemExit(f"redis-server does not start:\n{tail(os.path.join(folder, 'log'))}") from None
                time.sleep(0.01)
        self.file = self.socket.makefile("rb", buffering=1 << 16)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def read(self):
        line = self.file.readline()
        if line[:1] == b"-":
            raise SystemExit(f"Redis answers {line.decode().strip()}")
        if line[:1] == b"$":
            return self.file.read(int(line[1:]) + 2)[:-2] if line[1:3] != b"-1" else None
        if line[:1] == b"*":
            return [self.read() for _ in range(int(line[1:]))]
        return line[1:-2]

    def ask(self, *words):
        self.socket.sendall(spell(*words))
        return self.read()

    def cpu_us(self):
        with open(f"/proc/{self.process.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) * TICK_US

    def run(self, batches, replies):
        """Writes each batch when the answers to the last have come. Returns the CPU that the server took."""
        before = self.cpu_us()
        for batch in batches:
            self.socket.sendall(batch)
            for _ in range(replies):
                self.read()
        return self.cpu_us() - before


def tail(path, lines=10):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-lines:])
    except FileNotFoundError:
        return ""
