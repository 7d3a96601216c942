# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL on a free port, in a folder of its own, ended again whatever happens.

The server refuses to run as root: it then runs as user `postgres`. psql asks the questions, so that no Python library is
needed. Durable as in production (fsync is on), small otherwise.
"""
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile

from support.ports import free_port
from support.server import Sluice, stop
from support.waiting import LIMIT_S, wait_until

SETTINGS = """
listen_addresses = '{address}'
port = {port}
unix_socket_directories = '{folder}'
fsync = on
synchronous_commit = on
shared_buffers = 32MB
max_connections = 60
log_min_messages = warning
logging_collector = off
autovacuum_naptime = 1h
"""


def programs():
    """The folder of the newest PostgreSQL that is installed."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"), key=lambda path: float(path.split("/")[4]))
    if not found and shutil.which("postgres"):
        found = [shutil.which("postgres")]
    assert found, "PostgreSQL is not installed"
    return os.path.dirname(found[-1])


def as_user():
    """What to put in front of a command so that it does not run as root."""
    if os.getuid() != 0:
        return []
    user = pwd.getpwnam("postgres")
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


def in_folder(folder):
    """Process ids of those that work in a folder, as every process of PostgreSQL does in that of its data."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.readlink(f"/proc/{entry}/cwd") == os.path.realpath(folder):
                found.append(int(entry))
        except OSError:  # it has ended
            pass
    return found


class Postgres:
    """One database cluster with user `sluice` (a superuser is `postgres`) and database `urldb`.

    @param address  where it listens. @param port  None: a free one.
    @param settings  further lines of postgresql.conf. @param hba  lines of pg_hba.conf, which otherwise trusts everybody.
    @param before  a command to put in front of each program, such as `ip netns exec NAME`.
    """

    def __init__(self, address="127.0.0.1", port=None, settings="", hba=None, before=()):
        self.address, self.port = address, port or free_port()
        self.before = list(before)
        self.databases = 0
        self.bin = programs()
        self.process = None
        self.root = tempfile.mkdtemp(prefix="sluice-postgres-")  # short: a socket's path is at most 107 bytes
        self.data = os.path.join(self.root, "data")
        self.log_path = os.path.join(self.root, "log")
        try:
            if os.getuid() == 0:
                user = pwd.getpwnam("postgres")
                os.chown(self.root, user.pw_uid, user.pw_gid)
            self._command("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
            self.append("postgresql.conf", SETTINGS.format(address=address, port=self.port, folder=self.root) + settings)
            if hba is not None:
                self.write("pg_hba.conf", hba)
            self.start()
            self.psql("CREATE ROLE sluice LOGIN PASSWORD 'secret'", "postgres")
            self.new_database("urldb")
        except BaseException:
            self.close()
            raise

    def _command(self, name, *arguments):
        done = subprocess.run([*as_user(), os.path.join(self.bin, name), *arguments], capture_output=True, text=True,
                              timeout=120, check=False, cwd="/")
        assert done.returncode == 0, done.stdout + done.stderr

    def write(self, name, text, mode="w"):
        """Writes a file of the cluster's folder."""
        path = os.path.join(self.data, name)
        with open(path, mode, encoding="utf-8") as file:
            file.write(text)
        if os.getuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(path, user.pw_uid, user.pw_gid)
        return path

    def append(self, name, text):
        return self.write(name, text, "a")

    # Life

    def start(self):
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*self.before, "setpriv", "--pdeathsig", "KILL", *as_user(), os.path.join(self.bin, "postgres"), "-D", self.data],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", start_new_session=True)
        wait_until(self._answers, what="PostgreSQL")

    def _answers(self):
        assert self.process.poll() is None, f"PostgreSQL ended: {self.log}"
        return subprocess.run([os.path.join(self.bin, "pg_isready"), "-h", self.root, "-p", str(self.port), "-q"],
                              check=False).returncode == 0

    @property
    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def processes(self):
        """All processes of the server, its own first."""
        children = []
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as file:
                    parent = int(file.read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError, ValueError):
                continue
            if parent == self.process.pid:
                children.append(int(entry))
        return [self.process.pid, *children]

    def signal_all(self, number):
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass

    def pause(self):
        """Stops all its processes: first the one that forks, so that none is missed."""
        stop(self.process)
        self.signal_all(signal.SIGSTOP)

    def go_on(self):
        self.signal_all(signal.SIGCONT)

    def stop(self):
        """An orderly stop, without waiting for clients."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(LIMIT_S)
        self.process = None

    def kill(self):
        """kill -9 of all its processes. One that was forked while they were being listed is found by its folder; and the
        next start refuses while any of them has not let go of the shared memory."""
        self.signal_all(signal.SIGKILL)
        self.process.wait(LIMIT_S)
        self.process = None
        wait_until(self._all_gone, what="the end of PostgreSQL's processes")

    def _all_gone(self):
        left = in_folder(self.data)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not left

    def restart(self):
        self.stop()
        self.start()

    def close(self):
        if self.process is not None:
            self.go_on()
            self.process.send_signal(signal.SIGQUIT)
            try:
                self.process.wait(LIMIT_S)
            except subprocess.TimeoutExpired:
                self.signal_all(signal.SIGKILL)
                self.process.wait(LIMIT_S)
            self.process = None
        shutil.rmtree(self.root, ignore_errors=True)

    # Questions

    def uri(self, database="urldb", user="sluice", options=""):
        return f"postgresql://{user}@{self.address}:{self.port}/{database}{options}"

    def psql(self, sql, database="urldb", user="postgres"):
        """Runs SQL as superuser over the local socket. Returns rows of texts; NULL is ''."""
        done = subprocess.run([os.path.join(self.bin, "psql"), "-X", "-q", "-A", "-t", "-F", "\x1f", "-v", "ON_ERROR_STOP=1", "-h",
                               self.root, "-p", str(self.port), "-U", user, "-d", database, "-c", sql],
                              capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return [tuple(line.split("\x1f")) for line in done.stdout.splitlines()]

    def value(self, sql, database="urldb"):
        """The only value of the only row, as text."""
        return "\n".join(line for (line,) in self.psql(sql, database))

    def new_database(self, name):
        """A fresh database, owned by `sluice`. Returns its URI."""
        self.psql(f'CREATE DATABASE "{name}" OWNER sluice', "postgres")
        return self.uri(name)

    def session(self, database="urldb"):
        """A superuser's session that stays, for locks."""
        return Session([os.path.join(self.bin, "psql"), "-X", "-q", "-A", "-t", "-h", self.root, "-p", str(self.port), "-U", "postgres",
                        "-d", database])

    def fresh_database(self):
        """Another one. Returns its name."""
        self.databases += 1
        name = f"urldb{self.databases}"
        self.new_database(name)
        return name

    def links(self, database="urldb"):
        """{path of the short link: URL}."""
        return dict(self.psql("SELECT '/' || code, url FROM links", database))

    def connections(self, database="urldb"):
        """Process ids of the connections that sluice has."""
        return [int(pid) for (pid,) in self.psql(
            f"SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice' AND datname = '{database}'")]

    def listeners(self, database="urldb"):
        """Those that listen for changes."""
        return [int(pid) for (pid,) in self.psql(
            f"SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice' AND datname = '{database}'"
            " AND query IN ('SELECT 1', 'LISTEN sluice_links', 'COMMIT')")]


class Session:
    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, sql):
        """Runs SQL that gives no rows; returns when it is done."""
        self.process.stdin.write(sql + ";\n\\echo done\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def close(self):
        """Ends the session, and with it its transaction."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(LIMIT_S)


def quoted(value):
    return "'" + str(value).replace("'", "''") + "'"


# Links as the SQLite store has them: in one row, times in microseconds.
FLAT = """(SELECT l.id, code, url, url_sha256, (extract(epoch FROM created_at) * 1000000)::bigint AS created_at,
 coalesce(clicks, 0) AS clicks, (extract(epoch FROM last_click_at) * 1000000)::bigint AS last_click_at
 FROM links l LEFT JOIN link_clicks ON link_id = l.id) links"""


class PostgresSluice(Sluice):
    """A server whose links are in PostgreSQL."""

    def __init__(self, folder, postgres, database, **settings):
        self.postgres = postgres
        self.name = database
        settings.setdefault("links", postgres.uri(database))
        super().__init__(folder, **settings)

    @staticmethod
    def _filled_in(sql, values):
        parts = sql.split("?")
        assert len(parts) == len(values) + 1, sql
        return parts[0] + "".join(quoted(value) + part for value, part in zip(values, parts[1:]))

    def rows(self, sql, *values):
        sql = self._filled_in(sql, values).replace("FROM links", f"FROM {FLAT}")
        found = self.postgres.value(f"SELECT coalesce(json_agg(r), '[]') FROM ({sql}) r", self.name)
        return [tuple(value for _, value in row) for row in json.loads(found, object_pairs_hook=list)]

    def write(self, sql, *values):
        self.postgres.psql(self._filled_in(sql, values), self.name)

    def wait_until_ready(self):
        wait_until(lambda: self.get("/readyz").status == 200, what="ready")
