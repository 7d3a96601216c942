# SPDX-License-Identifier: Apache-2.0
"""A Docker engine of the tests' own, on a machine of its own: a network namespace with a neighbour.

Everything the engine starts lives in its PID namespace, so that nothing outlives it, however the tests end. Images are
kept in the build folder: the second run builds only what has changed. No registry is asked: base images are made from
Debian's packages (debootstrap), which `docker build` reaches through a proxy of ours, since the namespace has no way out.

Needs root. Leaves out: what is tried in it (test_docker.py).
"""
import contextlib
import http.client
import http.server
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading
import urllib.parse

from plant.netns import Network, ip_batch
from support.server import DIES_WITH_US
from support.waiting import wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
STANDINS = ROOT / "tests" / "docker" / "standins"
MIRROR = "http://deb.debian.org/debian"
BASES = {"debian:12-slim": "bookworm", "debian:13-standin": "trixie"}
OFFICIAL = {"valkey/valkey:8.1-bookworm": "valkey", "postgres:17-bookworm": "postgres", "nginx:1.28": "nginx"}
PROXY_PORT = 3128
CROWD = [f"10.0.0.{i}" for i in range(10, 250)]
MACHINE_IPV6, CROWD_IPV6 = "fd00::2", [f"fd00:{i:x}::2" for i in range(1, 16)]
# As in the official slim images.
THINNED = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "var/lib/apt/lists", "var/cache/apt")


class Proxy(http.server.BaseHTTPRequestHandler):
    """Fetches for apt."""
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        there = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=60)
        there.request("GET", url.path + ("?" + url.query if url.query else ""),
                      headers={name: value for name, value in self.headers.items()
                               if name.lower() in ("if-modified-since", "range", "if-range", "user-agent", "accept")})
        answer = there.getresponse()
        body = answer.read()
        there.close()
        self.send_response_only(answer.status, answer.reason)
        for name in ("Content-Type", "Last-Modified", "Content-Range", "Accept-Ranges", "Location"):
            if answer.headers[name]:
                self.send_header(name, answer.headers[name])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def debootstrap(suite, folder):
    """A minimal Debian as a tar file; made once. Returns its path."""
    tar, tree = folder / f"{suite}.tar", folder / suite
    if tar.exists():
        return tar
    shutil.rmtree(tree, ignore_errors=True)
    done = subprocess.run(["debootstrap", "--variant=minbase", suite, str(tree), MIRROR], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    for name in THINNED:
        for path in sorted((tree / name).rglob("*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                with contextlib.suppress(OSError):  # it holds a licence
                    path.rmdir()
            elif path.name != "copyright":
                path.unlink()
    (tree / "var/cache/apt/archives/partial").mkdir(parents=True)
    (tree / "var/lib/apt/lists/partial").mkdir(parents=True)
    (tree / "etc/dpkg/dpkg.cfg.d/docker").write_text("".join(f"path-exclude /{name}/*\n" for name in THINNED[:4])
                                                      + "path-include /usr/share/doc/*/copyright\n")
    policy = tree / "usr/sbin/policy-rc.d"
    policy.write_text("#!/bin/sh\nexit 101\n")
    policy.chmod(0o755)
    subprocess.run(["tar", "-C", str(tree), "-cf", f"{tar}.new", "."], check=True)
    os.rename(f"{tar}.new", tar)
    shutil.rmtree(tree)
    return tar


class Engine:
    """@param folder  where images and base images are kept."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.socket = f"/run/sluice-docker-{os.getpid()}.sock"
        self.env = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}", "DOCKER_BUILDKIT": "0"}
        for name in ("http_proxy", "https_proxy"):
            self.env.pop(name, None)
        self.process = self.proxy = None
        self.proxy_url = f"http://10.0.0.2:{PROXY_PORT}"
        self.network = Network({"machine": "10.0.0.2"})
        try:
            self.network.add("crowd", CROWD[0], CROWD[1:])
            ip_batch([f"addr add {MACHINE_IPV6}/16 dev eth0 nodad"], self.network.netns("machine"))
            ip_batch([f"addr add {one}/16 dev eth0 nodad" for one in CROWD_IPV6], self.network.netns("crowd"))
            self._start_proxy()
            self._start()
        except BaseException:
            self.close()
            raise

    def _start_proxy(self):
        self.proxy = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy, bind_and_activate=False)
        self.proxy.socket.close()
        with self.network.on("machine"):
            self.proxy.socket = socket.create_server(("", PROXY_PORT))
        threading.Thread(target=self.proxy.serve_forever, daemon=True).start()

    def _start(self):
        runtime = self.folder / "exec"
        shutil.rmtree(runtime, ignore_errors=True)
        self.log = open(self.folder / "dockerd.log", "wb")
        self.process = subprocess.Popen(
            [*DIES_WITH_US, *self.network.command("machine"), "unshare", "--pid", "--fork", "--kill-child", "--mount",
             "--mount-proc", "docker-init", "--", "dockerd", "--data-root", str(self.folder / "data"), "--exec-root",
             str(runtime), "--pidfile", str(runtime / "dockerd.pid"), "--host", f"unix://{self.socket}",
             "--experimental", "--ip6tables"],  # as Docker 27 and newer by themselves
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT)

        def answers():
            assert self.process.poll() is None, (self.folder / "dockerd.log").read_text()[-2000:]
            return subprocess.run(["docker", "version"], env=self.env, capture_output=True, check=False).returncode == 0

        wait_until(answers, what="dockerd to answer")
        left = self.docker("ps", "-aq").split()
        if left:
            self.docker("rm", "-f", "-v", *left)
        self.docker("volume", "prune", "-f")
        self.docker("image", "prune", "-f", "--filter", "until=48h")  # of what was built before the last change
        self.docker("network", "prune", "-f")

    def run(self, *words, cwd=ROOT, env=None, limit_s=1200, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE):
        """Runs a command against this engine. Returns what subprocess.run() does, as text."""
        return subprocess.run(words, cwd=cwd, env={**self.env, **(env or {})}, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE,
                              text=True, timeout=limit_s, check=False)

    def docker(self, *words, **more):
        """@return what docker writes on standard output; it must succeed."""
        done = self.run("docker", *words, **more)
        assert done.returncode == 0, f"docker {' '.join(words)}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def build(self, tag, target, context=ROOT, dockerfile=ROOT / "deploy/docker/Dockerfile", arguments=()):
        self.docker("build", "--build-arg", f"http_proxy={self.proxy_url}", *arguments, "--target", target, "--tag", tag,
                    "--file", str(dockerfile), str(context))

    def make_bases(self):
        """Stand-ins for the images that deploy/ builds on, under their names."""
        have = self.docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
        for name, suite in BASES.items():
            if name not in have:
                self.docker("import", str(debootstrap(suite, self.folder)), name)
        for name, target in OFFICIAL.items():
            self.build(name, target, STANDINS, STANDINS / "Dockerfile")

    def close(self):
        """Everything that the engine started ends with it."""
        if self.process is not None:
            left = self.run("docker", "ps", "-aq").stdout.split()
            if left:
                self.run("docker", "rm", "-f", "-v", *left)
            # The signal is for dockerd; docker-init, its parent, hands it on. unshare itself would not.
            init = self.run("pgrep", "-P", str(self.process.pid)).stdout.split()
            for pid in init:
                os.kill(int(pid), signal.SIGTERM)
            try:
                self.process.wait(60)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.log.close()
        if self.proxy is not None:
            self.proxy.shutdown()
            self.proxy.server_close()
        self.network.close()
        pathlib.Path(self.socket).unlink(missing_ok=True)
