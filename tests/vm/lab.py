# SPDX-License-Identifier: Apache-2.0
"""A network of the tests' own, in which the machines run: a bridge in namespaces, where the plant's addresses exist and
whence no way leads out. The gateway, 10.0.0.1, knows one name, that of Debian's mirror, and hands on what it has; files of
packages are kept from one run to the next.

Needs root. Leaves out: the machines (machine.py).
"""
import contextlib
import http.client
import http.server
import pathlib
import socket
import threading
import urllib.parse

from image import MIRROR
from plant.netns import Network, ip_batch

GATEWAY = "10.0.0.1"
NEIGHBOURS = [f"10.0.0.{i}" for i in range(10, 90)]
STRANGER = "192.0.2.7"  # of another network
DEBIAN = "deb.debian.org"
PASSED_ON = ("Content-Type", "Last-Modified", "Content-Range", "Accept-Ranges")


class Mirror(http.server.BaseHTTPRequestHandler):
    """Debian's mirror, by its name. `cache` is where packages are kept; set in a class of its own."""
    protocol_version = "HTTP/1.1"
    cache = None

    def do_GET(self):
        if self.headers.get("Host") != DEBIAN:
            return self.answer(403, {}, b"")
        path = self.path
        kept = self.cache / urllib.parse.quote(path, safe="")
        # What has its sum or its version in its name never changes.
        lasts = ("/pool/" in path or "/by-hash/" in path) and "Range" not in self.headers
        if lasts and kept.exists():
            return self.answer(200, {}, kept.read_bytes())
        try:
            status, fields, body = self.fetch(path)
        except OSError as error:
            return self.answer(504, {}, str(error).encode())
        if lasts and status == 200:
            part = kept.with_name(f"{kept.name}.{threading.get_ident()}")
            part.write_bytes(body)
            part.rename(kept)
        return self.answer(status, fields, body)

    def fetch(self, path):
        # Debian's security archive lies beside the mirror, wherever that is.
        upstream = urllib.parse.urlsplit(MIRROR)
        if path.startswith("/debian/"):
            path = upstream.path.rstrip("/") + path.removeprefix("/debian")
        there = http.client.HTTPConnection(upstream.hostname, upstream.port or 80, timeout=60)
        with contextlib.closing(there):
            there.request("GET", path, headers={name: value for name, value in self.headers.items()
                                                if name.lower() in ("if-modified-since", "range", "if-range")})
            answer = there.getresponse()
            return answer.status, {name: answer.headers[name] for name in PASSED_ON if answer.headers[name]}, answer.read()

    def answer(self, status, fields, body):
        self.send_response(status)
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def answer_to(query):
    """What a name server says that knows the mirror's name and no other (RFC 1035, section 4)."""
    end = query.index(b"\0", 12) + 5
    name, kind = query[12:end - 5], query[end - 4:end - 2]
    known = name.lower() == b"".join(bytes([len(part)]) + part.encode() for part in DEBIAN.split("."))
    record = b"\xc0\x0c\0\1\0\1\0\0\x0e\x10\0\4" + socket.inet_aton(GATEWAY) if known and kind == b"\0\1" else b""
    flags = b"\x81\x80" if known else b"\x81\x83"
    return query[:2] + flags + b"\0\1" + (b"\0\1" if record else b"\0\0") + b"\0\0\0\0" + query[12:end] + record


class Lab:
    """@param folder  where packages are kept."""

    def __init__(self, folder):
        self.network = Network({})
        self.servers, self.taps = [], 0
        try:
            self.network.add("gateway", GATEWAY, NEIGHBOURS)
            ip_batch([f"addr add {STRANGER}/32 dev lo"], self.network.netns("gateway"))
            cache = pathlib.Path(folder) / "packages"
            cache.mkdir(parents=True, exist_ok=True)
            self._serve_mirror(cache)
            self._serve_names()
        except BaseException:
            self.close()
            raise

    def _serve_mirror(self, cache):
        server = http.server.ThreadingHTTPServer((GATEWAY, 80), type("KeepingMirror", (Mirror,), {"cache": cache}),
                                                 bind_and_activate=False)
        server.socket.close()
        with self.network.on("gateway"):
            server.socket = socket.create_server((GATEWAY, 80), backlog=64)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self.servers.append(server)

    def _serve_names(self):
        with self.network.on("gateway"):
            self.names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self.names.bind((GATEWAY, 53))

        def serve():
            with contextlib.suppress(OSError):  # closed
                while True:
                    query, sender = self.names.recvfrom(4096)
                    with contextlib.suppress(ValueError):
                        self.names.sendto(answer_to(query), sender)

        threading.Thread(target=serve, daemon=True).start()

    def tap(self):
        """One more socket of the switch, for a machine. Returns its name."""
        self.taps += 1
        name = f"tap{self.taps}"
        ip_batch([f"tuntap add {name} mode tap", f"link set {name} master br0", f"link set {name} up"], self.network.switch)
        return name

    def on_the_switch(self):
        """What to put before a program that opens a tap."""
        return self.network.command("switch")

    def at_the_desk(self):
        """What to put before a command to run it on the gateway, which also is the administrator's desk."""
        return self.network.command("gateway")

    def connect(self, address, port, source=GATEWAY, limit_s=20):
        with self.network.on("gateway"):
            return socket.create_connection((address, port), timeout=limit_s, source_address=(source, 0))

    def ask(self, address, path, method="GET", body=None, source=GATEWAY, port=80, limit_s=20):
        """One HTTP request from one of the gateway's addresses. Returns (status, fields, body)."""
        connection = http.client.HTTPConnection(address, port)
        connection.sock = self.connect(address, port, source, limit_s)
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def close(self):
        for server in self.servers:
            server.shutdown()
            server.server_close()
        if hasattr(self, "names"):
            self.names.close()
        self.network.close()
