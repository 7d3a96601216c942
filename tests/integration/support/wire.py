# SPDX-License-Identifier: Apache-2.0
"""HTTP/1.1 by hand: bytes out, a strict reader in.

http.client is too helpful for these tests: it refuses to send what an attacker sends, and forgives in an answer what
a proxy would trip over. Leaves out: chunked answers, which the server has no use for.
"""
import json
import re
import socket

LIMIT_S = 30
IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; Python has no name for it before 3.13

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([ -~]*)")
FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ([ -~]*)")


class BrokenAnswer(Exception):
    """The server ended the connection, or what it sent is not an answer."""


class Answer:
    def __init__(self, status, fields, body):
        self.status = status
        self.fields = fields  # a list of (name, value), as sent
        self.body = body

    def all(self, name):
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def __getitem__(self, name):
        """The value of the field; None without one. Twice the same field is never right here."""
        values = self.all(name)
        assert len(values) <= 1, f"{name} stands {len(values)} times in {self.fields}"
        return values[0] if values else None

    @property
    def json(self):
        return json.loads(self.body.decode("utf-8"))

    @property
    def error(self):
        """The reason in {"error": ...}, of an answer that holds this and nothing else."""
        assert self["Content-Type"] == "application/json", self
        found = self.json
        assert list(found) == ["error"] and isinstance(found["error"], str) and found["error"], self
        return found["error"]

    def __repr__(self):
        return f"{self.status} {self.fields} {self.body[:200]!r}"


def parse_head(head):
    """The answer that begins with these bytes, less the empty line; still without body. Strict."""
    lines = head.split(b"\r\n")
    start = STATUS_LINE.fullmatch(lines[0])
    if start is None:
        raise BrokenAnswer(f"not a status line: {lines[0]!r}")
    fields = []
    for line in lines[1:]:
        field = FIELD.fullmatch(line)
        if field is None:
            raise BrokenAnswer(f"not a header field: {line!r}")
        fields.append((field.group(1).decode(), field.group(2).decode()))
    return Answer(int(start.group(1)), fields, b"")


class Wire:
    """One TCP connection to the server."""

    def __init__(self, address, source=None, limit_s=LIMIT_S):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        self.socket.settimeout(limit_s)
        try:
            if source is not None:
                # The port is chosen when connecting: to look for one that is free towards everybody takes long.
                self.socket.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                self.socket.bind((source, 0))
            self.socket.connect(address)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError:
            self.socket.close()
            raise
        self.pending = b""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def send_ended(self):
        """Says that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        data = self.socket.recv(65536)
        self.pending += data
        return len(data) > 0

    def read_answer(self, head_only=False):
        """One answer, strictly. @param head_only  the request was HEAD: no body follows."""
        while b"\r\n\r\n" not in self.pending:
            if not self._more():
                raise BrokenAnswer(f"the connection ended after {self.pending[:500]!r}")
        head, self.pending = self.pending.split(b"\r\n\r\n", 1)
        answer = parse_head(head)
        if not head_only and answer.status >= 200:
            answer.body = self._read_body(answer)
        return answer

    def _read_body(self, answer):
        length = answer["Content-Length"]
        if length is None:
            raise BrokenAnswer(f"an answer without Content-Length: {answer}")
        while len(self.pending) < int(length):
            if not self._more():
                raise BrokenAnswer(f"the connection ended in the body of {answer}")
        body, self.pending = self.pending[:int(length)], self.pending[int(length):]
        return body

    def read_end(self):
        """Everything up to the end of the stream. A reset is an end, too."""
        try:
            while self._more():
                pass
        except ConnectionResetError:
            pass
        data, self.pending = self.pending, b""
        return data

    def ended(self):
        """Whether the server has ended the connection and sent nothing before."""
        return self.read_end() == b""


def build(method, target, fields=(), body=None, host="sluice.test"):
    """The bytes of a request. A Host and, with a body, a Content-Length are added unless `fields` has them."""
    names = {name.lower() for name, _ in fields}
    lines = [f"{method} {target} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in fields]
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (body or b"")
