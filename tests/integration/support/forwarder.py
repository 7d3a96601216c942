# SPDX-License-Identifier: Apache-2.0
"""A TCP relay that can be cut, or swallow what passes: a network that fails."""
import select
import socket
import threading


class Forwarder:
    def __init__(self, target):
        self.target = target
        self.mode = "pass"
        self.pairs = {}  # socket: its other end
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.wake, self.woken = socket.socketpair()
        self.over = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def cut(self):
        """Ends all connections, and refuses new ones."""
        with self.lock:
            self.mode = "cut"
            self._drop_all()
        self.wake.send(b"x")

    def swallow(self):
        """Keeps all connections, and takes new ones, and lets nothing pass."""
        with self.lock:
            self.mode = "swallow"
        self.wake.send(b"x")

    def mend(self):
        """From now on new connections work. The old ones have lost bytes and stay silent."""
        with self.lock:
            self.pairs = {end: None for end in self.pairs} if self.mode == "swallow" else self.pairs
            self.mode = "pass"
        self.wake.send(b"x")

    def close(self):
        self.over = True
        self.wake.send(b"x")
        self.thread.join()
        with self.lock:
            self._drop_all()
        self.listener.close()
        self.wake.close()
        self.woken.close()

    def _drop_all(self):
        for end in self.pairs:
            end.close()
        self.pairs = {}

    def _accept(self):
        client, _ = self.listener.accept()
        if self.mode == "cut":
            client.close()
        elif self.mode == "swallow":
            self.pairs[client] = None
        else:
            try:
                server = socket.create_connection(self.target)
            except OSError:
                client.close()
                return
            self.pairs[client], self.pairs[server] = server, client

    def _pass_on(self, end):
        other = self.pairs.get(end)
        try:
            data = end.recv(65536)
        except OSError:
            data = b""
        try:
            if data and self.mode == "pass" and other is not None:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            for gone in (end, other):
                if gone is not None and self.pairs.pop(gone, self) is not self:
                    gone.close()

    def _run(self):
        while not self.over:
            with self.lock:
                ends = list(self.pairs)
            try:
                readable, _, _ = select.select([self.listener, self.woken, *ends], [], [], 1)
            except ValueError:  # one of them was closed by cut() since they were listed
                continue
            if self.woken in readable:
                self.woken.recv(4096)
                continue  # something has changed
            with self.lock:
                for end in readable:
                    if end is self.listener:
                        self._accept()
                    elif end in self.pairs:
                        self._pass_on(end)
