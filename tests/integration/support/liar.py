# SPDX-License-Identifier: Apache-2.0
"""Stands between Sluice and a real Redis, and answers some commands in its place: a server that is not what it says."""
import socket
import socketserver
import threading

HANG_UP = object()  # instead of bytes: ends the connection


class Liar:
    """@param target  (host, port) of the Redis.

    `answer` is called with each command (a list of bytes) and a function that asks for the true answer. It returns what is
    sent: bytes, or a tuple of bytes and HANG_UP; or None, and the truth is told. Without it the truth always is.
    """

    def __init__(self, target):
        self.target, self.answer = target, None
        self.connections = 0
        liar = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self):
                liar.connections += 1
                self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with socket.create_connection(liar.target) as behind, behind.makefile("rb") as replies:
                    try:
                        while liar._one(self, behind, replies):
                            pass
                    except (OSError, ValueError):
                        pass  # either of them has ended it

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"

    def _one(self, handler, behind, replies):
        words = read_command(handler.rfile)
        if words is None:
            return False

        def truth():
            behind.sendall(b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
            return read_reply(replies)

        said = self.answer(words, truth) if self.answer is not None else None
        if said is None:
            said = truth()
        for part in said if isinstance(said, tuple) else (said,):
            if part is HANG_UP:
                return False
            handler.wfile.write(part)
        return True


def read_command(file):
    head = file.readline()
    if not head:
        return None
    words = []
    for _ in range(int(head[1:])):
        n = int(file.readline()[1:])
        words.append(file.read(n + 2)[:-2])
    return words


def read_reply(file):
    """A reply as it came."""
    line = file.readline()
    if not line:
        raise ConnectionError("Redis ended the connection")
    if line[:1] in b"$=!" and not line.startswith(b"$-1"):
        return line + file.read(int(line[1:]) + 2)
    if line[:1] in b"*~>%" and not line.startswith(b"*-1"):
        n = int(line[1:]) * (2 if line[:1] == b"%" else 1)
        return line + b"".join(read_reply(file) for _ in range(n))
    return line
