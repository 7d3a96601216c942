# SPDX-License-Identifier: Apache-2.0
"""The servers that are compared: how each is started on a free port of loopback, pinned to one core, and ended.

Leaves out: load and arithmetic (serving.py).
"""
import atexit
import http.client
import os
import re
import socket
import subprocess
import tempfile
import time

URL = "https://example.com/some/long/path/to/a/page?with=query"
SERVER_CORE, CLIENT_CORE = "0", "1"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def ask(port, method="GET", path="/", body=None, headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read(), dict(answer.getheaders())
    finally:
        connection.close()


def wait_for(port, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.01)
    raise SystemExit(f"nothing listens on port {port}")


class Server:
    """One process (and, for nginx, its one worker), with a name and a target path. Pinned to `core`, unless that is None."""

    def __init__(self, name, command, port, path, env=None, core=SERVER_CORE):
        self.name, self.port, self.path = name, port, path
        self.folder = tempfile.TemporaryDirectory(prefix="sluice-bench-")
        self.errors = open(os.path.join(self.folder.name, "err"), "w+", encoding="utf-8")
        self.process = subprocess.Popen([*(["taskset", "-c", core] if core else []), *command], cwd=self.folder.name,
                                        env={**os.environ, **(env or {})}, stdout=self.errors, stderr=self.errors)
        atexit.register(self.stop)
        try:
            wait_for(port)
        except SystemExit:
            self.errors.seek(0)
            print(self.errors.read())
            self.stop()
            raise
        self.pid = self.process.pid

    def cpu_ticks(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return int(fields[11]), int(fields[12])

    def url(self):
        return f"http://127.0.0.1:{self.port}{self.path}"

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.errors.close()
        self.folder.cleanup()


def sluice(build, name, limit, *, log="off", trusted=False, deny=False, links="sqlite:sluice.db",
           limiter="memory:", config=""):
    """@param limit  None: as told in `config`, which is YAML that is added to the file."""
    port = free_port()
    with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as file:
        if trusted:
            file.write("trusted_proxies: [127.0.0.0/8]\n")
        file.write(f"log: {{access: {log}, access_file: access.log}}\n{config}")
    server = Server(name, [os.path.join(build, "sluice"), "serve", "--config", file.name, "--listen",
                           f"127.0.0.1:{port}", "--threads", "1", *(["--limit", limit] if limit else []),
                           "--links", links, "--limiter", limiter], port, "/")
    os.unlink(file.name)
    status, body, _ = ask(port, "POST", "/shorten", f"url={URL}",
                          {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "203.0.113.1"})
    assert status == 200, (status, body)
    server.path = re.search(rb'"(/\w+)"', body).group(1).decode()
    if deny:
        while ask(port, path=server.path)[0] != 429:
            pass
    status, _, headers = ask(port, path=server.path, headers={"X-Forwarded-For": "203.0.113.2"})
    assert status == (429 if deny else 302) and (deny or headers["Location"] == URL), (status, headers)
    return server


def redis(*options):
    """On the client's core: what it costs is counted, but not as the server's."""
    port = free_port()
    return Server("redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                            "--appendonly", "no", *options], port, "", core=CLIENT_CORE)


def redis_commands(server):
    """How many commands a Redis has carried out since it was started, this question not counted."""
    with socket.create_connection(("127.0.0.1", server.port), 5) as connection, connection.makefile("rb") as answer:
        connection.sendall(b"INFO stats\r\n")
        text = answer.read(int(answer.readline()[1:]))
    return int(re.search(rb"total_commands_processed:(\d+)", text).group(1))


NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {error_log};
events {{ worker_connections 1024; }}
http {{
  access_log {access_log};
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  keepalive_requests 1000000000;
  limit_req_zone $binary_remote_addr zone=open:256m rate=1000000r/s;
  limit_req_zone $binary_remote_addr zone=shut:16m rate=1r/m;
  limit_req_status 429;
  {real_ip}
  server {{
    listen 127.0.0.1:{port};
    # `return` runs before limit_req in one location and would bypass it; this is how the two are put together.
    location /redirect {{ limit_req zone=open burst=1000000 nodelay; try_files /none @target; }}
    location @target {{ return 302 {url}; }}
    # The cheapest way to a limited 302 that we found: no file is looked for.
    location /cheapest {{ limit_req zone=open burst=1000000 nodelay; deny all; error_page 403 =302 {url}; }}
    location /denied {{ limit_req zone=shut; deny all; }}
  }}
}}
"""


def worker_of(master, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with open(f"/proc/{master}/task/{master}/children", encoding="ascii") as file:
            children = file.read().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    raise SystemExit("nginx has no worker")


def nginx(name, path, *, log=False, trusted=False, status=302):
    port = free_port()
    folder = tempfile.mkdtemp(prefix="sluice-bench-nginx-")
    config = os.path.join(folder, "nginx.conf")
    with open(config, "w", encoding="utf-8") as file:
        file.write(NGINX.format(
            folder=folder, port=port, url=URL, error_log=f"{folder}/error.log" if log else "/dev/null crit",
            access_log=f"{folder}/access.log" if log else "off",
            real_ip="set_real_ip_from 127.0.0.0/8; real_ip_header X-Forwarded-For;" if trusted else ""))
    server = Server(name, ["nginx", "-c", config, "-p", folder], port, path)
    server.nginx_folder = folder
    server.pid = worker_of(server.process.pid)
    for _ in range(3):
        got = ask(port, path=path)[0]
    assert got == status, (name, got)
    return server


def floor(build):
    port = free_port()
    return Server("floor", [os.path.join(build, "bench", "bench_floor"), str(port)], port, "/abcdefg")
