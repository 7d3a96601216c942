# SPDX-License-Identifier: Apache-2.0
"""The reference plant: its hosts, and what runs on them.

    lb 10.0.0.100        nginx with deploy/nginx/sluice.conf, as it is
    web-N 10.0.0.11N     sluice on port 80
    redis 10.0.0.130     load 10.0.0.160     postgres 10.0.0.200

Leaves out: how Redis and PostgreSQL are started and ended (support/redis.py, support/postgres.py).
"""
import os
import pathlib
import re
import signal
import subprocess

from plant.delay import SlowLine
from plant.load import Load
from plant.netns import Network
from support.postgres import Postgres
from support.redis import Cluster, Redis, Sentinel
from support.server import DIES_WITH_US, Sluice, clean_environment
from support.waiting import wait_until
from support.wire import Wire

# How long a second of the reference plant's story takes: `make test` tells it ten times as fast, `make soak` in full.
SCALE = 1.0 if os.environ.get("SLUICE_SOAK") else 0.1

ROOT = pathlib.Path(__file__).resolve().parents[3]
NGINX_CONF = ROOT / "deploy" / "nginx" / "sluice.conf"
ADDRESSES = {"lb": "10.0.0.100", "web-1": "10.0.0.111", "web-2": "10.0.0.112", "redis": "10.0.0.130",
             "load": "10.0.0.160", "postgres": "10.0.0.200"}
CROWD = [f"10.0.0.{i}" for i in (*range(1, 100), *range(150, 160), *range(161, 200), *range(201, 253))][:200]
LB = (ADDRESSES["lb"], 80)
UPSTREAM = re.compile(r'^(?P<time>\S+) (?P<client>\S+) "(?P<request>[^"]*)" (?P<status>\d+) (?P<bytes>\d+) (?P<took>[0-9.]+) '
                      r'upstream="(?P<upstream>[^"]*)" "(?P<upstream_status>[^"]*)" "(?P<upstream_took>[^"]*)"$')

# Puts a folder of the test's in the place of nginx's log folder, for this process alone.
WITH_LOGS = ["unshare", "--mount", "--", "sh", "-c", 'mount --bind "$1" /var/log/nginx && shift && exec "$@"', "sh"]


class WebServer(Sluice):
    """A Sluice on a host of its own."""

    def __init__(self, plant, host, folder, **settings):
        self.plant, self.host = plant, host
        super().__init__(folder, listen="0.0.0.0:80", before=plant.network.command(host), **settings)

    def start(self):
        super().start()
        self.address = (self.plant.network.address(self.host), 80)

    def pause(self):
        """SIGSTOP, and waits until no thread runs any more. The system still takes connections and bytes in."""
        self.signal(signal.SIGSTOP)
        tasks = pathlib.Path(f"/proc/{self.process.pid}/task")
        wait_until(lambda: all(b") T " in (task / "stat").read_bytes() for task in tasks.iterdir()),
                   what=f"{self.host} to stand still")

    def finish(self):
        if self.alive():
            self.signal(signal.SIGCONT)
        return super().finish()

    def wait_until_ready(self):
        wait_until(lambda: self.get("/readyz").status == 200, what=f"{self.host} to be ready")

    def wait_for_store(self, servers):
        """Until the limiter's store can be asked, and so many servers know of each other in it."""
        def well():
            metrics = self.metrics()
            return metrics.value("sluice_limiter_up") == 1 and metrics.value("sluice_limiter_servers") == servers
        wait_until(well, what=f"{self.host} to be one of {servers} servers")

    def connect(self, source=None, limit_s=30):
        with self.plant.network.on("load"):
            return Wire(self.address, source, limit_s)


class Database(Postgres):
    """PostgreSQL on its host."""

    def finish(self):
        self.close()


class Nginx:
    """@param addresses  of the web servers; the configuration must name them, commented out or not."""

    def __init__(self, plant, folder, conf=NGINX_CONF):
        self.plant, self.folder = plant, folder
        self.logs = folder / "log"
        self.logs.mkdir(parents=True)
        self.conf = folder / "sluice.conf"
        self.conf.write_text(conf.read_text())
        main = folder / "nginx.conf"
        temporary = "".join(f"\t{kind}_temp_path {folder}/{kind};\n"
                            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        main.write_text(f"user root;\nworker_processes 2;\ndaemon off;\npid {folder}/nginx.pid;\n"
                        f"error_log {self.logs}/error.log;\nevents {{ worker_connections 4096; }}\n"
                        f"http {{\n{temporary}\tinclude {self.conf};\n}}\n")
        self.command = [*plant.network.command("lb"), *WITH_LOGS, str(self.logs), "nginx", "-e", str(self.logs / "error.log"),
                        "-c", str(main)]
        self.process = None

    def check(self):
        """nginx -t. Returns what it says; it must be content."""
        done = subprocess.run([*self.command, "-t"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def start(self):
        self.process = subprocess.Popen([*DIES_WITH_US, *self.command], stdin=subprocess.DEVNULL)
        wait_until(self.answers, what="nginx to listen")

    def answers(self):
        assert self.process.poll() is None, f"nginx ended: {self.errors()}"
        try:
            with self.plant.network.on("load"):
                Wire(LB).close()
        except ConnectionRefusedError:
            return False
        return True

    def add_server(self, address):
        """Takes the mark off a server that the configuration has commented out, and reloads as an operator would."""
        text = self.conf.read_text()
        line = re.compile(rf"^\t#(server {re.escape(address)}:80 .*)$", re.MULTILINE)
        assert line.search(text), f"{NGINX_CONF} does not show how to add {address}"
        self.conf.write_text(line.sub(r"\t\1", text))
        self.process.send_signal(signal.SIGHUP)

    def errors(self):
        path = self.logs / "error.log"
        return path.read_text() if path.exists() else ""

    def log(self, n):
        """The lines of sluice.log as soon as it has `n`, parsed. nginx writes them once a second."""
        path = self.logs / "sluice.log"
        wait_until(lambda: path.read_bytes().count(b"\n") >= n, what=f"{n} lines of nginx's log")
        lines = []
        for line in path.read_text().splitlines():
            found = UPSTREAM.match(line)
            assert found, f"not the format of the log: {line}"
            lines.append(found.groupdict())
        return lines

    def finish(self):
        if self.process is None:
            return None
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(30)
        self.process = None
        found = [line for line in self.errors().splitlines() if re.search(r"\[(alert|crit|emerg)\]", line)]
        return f"nginx ended with {status}: {found}" if status != 0 or found else None


class Plant:
    """Everything that the test started on the hosts; close() ends it and says what was wrong."""

    def __init__(self, folder, crowd=()):
        self.folder = folder
        self.network = Network({host: address for host, address in ADDRESSES.items() if host != "load"})
        self.things = []  # whatever has finish()
        self.webs = {}
        self.nginx = None
        self.load = None
        try:
            self.network.add("load", ADDRESSES["load"], crowd)
            self.load = Load(self.network)
        except BaseException:
            self.network.close()
            raise

    def web(self, n, limiter=None, links=None, arguments=(), env=None, **settings):
        """Starts sluice on web-N. Its host is made if the plant has none yet. Without `links` it has a file of its own."""
        host = f"web-{n}"
        if host not in self.network.addresses:
            self.network.add(host, f"10.0.0.{110 + n}")
        folder = self.folder / f"{host}-{len(self.things)}"
        if limiter is not None:
            arguments = [*arguments, "--limiter", limiter]
        self.webs[n] = WebServer(self, host, folder, arguments=arguments, links=links or "sqlite:sluice.db",
                                 env={"SLUICE_TRUSTED_PROXIES": ADDRESSES["lb"], **(env or {})}, **settings)
        self.things.append(self.webs[n])
        return self.webs[n]

    def host(self, name, address):
        """Plugs a host in if there is none of this name yet."""
        if name not in self.network.addresses:
            self.network.add(name, address)

    def start_redis(self, host="redis", arguments=(), kind=Redis, port=6379, **settings):
        """Starts a Redis on a host."""
        made = kind(self.folder / f"{host}-{port}-{len(self.things)}", port=port, host=self.network.address(host), arguments=arguments,
                    before=self.network.command(host), there=lambda: self.network.on(host), **settings)
        self.things.append(made)
        return made

    def start_sentinel(self, host, watched, **settings):
        return self.start_redis(host, kind=Sentinel, port=26379, watched=watched, **settings)

    def start_cluster(self, masters=3, replicas=0):
        """On hosts cluster-1, cluster-2, … at 10.0.0.141, …"""
        def start_one(arguments):
            n = sum(host.startswith("cluster-") for host in self.network.addresses) + 1
            self.host(f"cluster-{n}", f"10.0.0.{140 + n}")
            return self.start_redis(f"cluster-{n}", arguments)
        return Cluster(start_one, masters, replicas)

    def start_postgres(self):
        made = Database(address=ADDRESSES["postgres"], port=5432, before=self.network.command("postgres"),
                        hba="local all all trust\nhost all all 10.0.0.0/24 trust\n")
        self.things.append(made)
        return made

    def slow_line(self, target):
        """A slow line to (address, port), on a host of its own, 10.0.0.131. Returns it; it listens on the same port."""
        self.host("line", "10.0.0.131")
        line = SlowLine((self.network.address("line"), target[1]), target, [*DIES_WITH_US, *self.network.command("line")])
        self.things.append(line)
        return line

    def start_nginx(self):
        self.nginx = Nginx(self, self.folder / "nginx")
        self.things.append(self.nginx)
        self.nginx.start()
        return self.nginx

    def run(self, host, *command, **settings):
        """Runs a command on a host to its end; returns what it wrote."""
        done = subprocess.run([*self.network.command(host), *command], capture_output=True, text=True, timeout=60,
                              env=clean_environment(), check=False, **settings)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout

    def close(self):
        """@return what was wrong at the end of each thing."""
        try:
            wrong = []
            for thing in reversed(self.things):  # who came last depends on who came first
                wrong.append(thing.finish())
            return [problem for problem in wrong if problem]
        finally:
            self.load.close()
            self.network.close()
