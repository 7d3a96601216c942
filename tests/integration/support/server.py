# SPDX-License-Identifier: Apache-2.0
"""The real program, started in a folder of its own and ended again whatever happens.

Leaves out: the build. SLUICE_BUILD names the build folder.
"""
import calendar
import json
import os
import re
import signal
import sqlite3
import subprocess
import time
import urllib.parse

from support.prometheus import parse
from support.waiting import LIMIT_S, wait_until
from support.wire import Wire, build

READY = re.compile(r"^sluice is serving on http://(?:\[([0-9a-f:.]+)\]|([0-9.]+)):([0-9]+)$", re.MULTILINE)
LOG_LINE = re.compile(
    r'(?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z) (?P<client>\S+) "(?P<method>[^" ]*) (?P<path>[^"]*)" '
    r"(?P<status>\d+) (?P<bytes>\d+) (?P<duration_us>\d+) (?P<decision>\S+)")
# Should the tests themselves be killed, the thread that started a server takes it along. (util-linux; it only sets this
# and becomes the program.)
DIES_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:|Sanitizer:DEADLYSIGNAL")


def is_stopped(process):
    """Whether every thread of a process is stopped."""
    states = []
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        try:
            with open(f"/proc/{process.pid}/task/{thread}/stat", encoding="utf-8", errors="replace") as file:
                states.append(file.read().rsplit(")", 1)[1].split()[0])
        except (FileNotFoundError, ProcessLookupError):
            pass  # it has ended
    return all(state in "TZX" for state in states)


def stop(process):
    """SIGSTOP, of which the sender does not see when it takes effect: until its main thread has run, the others go on."""
    process.send_signal(signal.SIGSTOP)
    wait_until(lambda: is_stopped(process), what="the process to be stopped")


def binary():
    folder = os.environ.get("SLUICE_BUILD", "build")
    for path in (os.path.join(folder, "sluice"), os.path.join(folder, "src", "cli", "sluice")):
        if os.access(path, os.X_OK):
            return os.path.abspath(path)
    raise AssertionError(f"no program sluice in {folder}; set SLUICE_BUILD to a build folder")


def clean_environment(extra=None):
    """The tests' own environment, less settings that a developer may have made for his server."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    env.update(extra or {})
    return env


def run(*arguments, cwd, env=None, stdin=None):
    """Runs the program to its end; returns what subprocess.run() returns, as text."""
    done = subprocess.run([binary(), *arguments], cwd=cwd, env=clean_environment(env), input=stdin, text=True,
                          capture_output=True, timeout=120, check=False)
    assert not SANITIZER.search(done.stderr), done.stderr
    return done


class Sluice:
    """One server.

    @param config  the text of its configuration file, or None.
    @param listen, links, limit, threads  flags; None leaves them to the file and the defaults.
    @param prepare  called with the folder before the start.
    @param before  words before the command, which end in becoming it: to run it elsewhere.
    @param pass_fds  descriptors of ours that the process inherits, under their numbers.
    """

    def __init__(self, folder, config=None, listen="127.0.0.1:0", links="sqlite:sluice.db", limit=None, threads=None,
                 arguments=(), env=None, prepare=None, before=(), pass_fds=()):
        self.folder = folder
        self.before = list(before)
        self.pass_fds = pass_fds
        self.env = env
        self.process = None
        self.address = None
        self.starts = 0
        folder.mkdir(parents=True, exist_ok=True)
        if prepare is not None:
            prepare(folder)
        self.config_path = folder / "sluice.yaml"
        self.database = folder / "sluice.db"
        self.arguments = ["serve"]
        if config is not None:
            self.config_path.write_text(config)
            self.arguments += ["--config", str(self.config_path)]
        for flag, value in (("listen", listen), ("links", links), ("limit", limit), ("threads", threads)):
            if value is not None:
                self.arguments += ["--" + flag, str(value)]
        self.arguments += arguments
        self.start()

    # Life

    def start(self):
        """Starts it (again, after it ended) and waits until it serves."""
        self.starts += 1
        self.stdout_path = self.folder / f"stdout.{self.starts}"
        self.stderr_path = self.folder / f"stderr.{self.starts}"
        with open(self.stdout_path, "wb") as out, open(self.stderr_path, "wb") as err:
            self.process = subprocess.Popen([*DIES_WITH_US, *self.before, binary(), *self.arguments], cwd=self.folder,
                                            stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                            pass_fds=self.pass_fds, env=clean_environment(self.env))
        wait_until(lambda: READY.search(self.stdout) or self.process.poll() is not None, what="the line that says ready")
        ready = READY.search(self.stdout)
        if ready is None:
            status, self.process = self.process.returncode, None
            raise AssertionError(f"the server ended with {status} before it served: {self.stderr}")
        self.address = (ready.group(1) or ready.group(2), int(ready.group(3)))

    @property
    def stdout(self):
        return self.stdout_path.read_text()

    @property
    def stderr(self):
        return self.stderr_path.read_text(errors="replace")

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, limit_s=LIMIT_S):
        """Waits for its end and checks that it left in peace. Returns the exit status."""
        status = self.process.wait(limit_s)
        self.process = None
        assert not SANITIZER.search(self.stderr), self.stderr
        return status

    def stop(self):
        """SIGTERM; it must end with 0."""
        self.signal(signal.SIGTERM)
        status = self.wait()
        assert status == 0, f"exit status {status} after SIGTERM: {self.stderr}"
        assert "cut off" not in self.stderr, f"requests were lost in the stop: {self.stderr}"

    def kill(self):
        """SIGKILL: no chance to write anything more."""
        self.process.kill()
        self.process.wait(LIMIT_S)
        self.process = None

    def finish(self):
        """Ends what still runs. Returns what was wrong about that, or None."""
        if self.process is None:
            return None
        try:
            self.stop()
        except subprocess.TimeoutExpired:
            self.kill()
            return f"the server did not end within {LIMIT_S} s of SIGTERM: {self.stderr}"
        except AssertionError as error:
            return str(error)
        return None

    def hang_up(self):
        """SIGHUP, and waits until it has been acted on. Returns what the server said about it."""
        said = self.stderr
        self.signal(signal.SIGHUP)
        wait_until(lambda: re.search(r"reload: .*\n", self.stderr[len(said):]), what="the report of the reload")
        return self.stderr[len(said):]

    # Requests

    def connect(self, source=None, limit_s=LIMIT_S):
        return Wire(self.address, source, limit_s)

    def request(self, method, target, fields=(), body=None, source=None):
        """One request on a connection of its own."""
        with self.connect(source) as wire:
            wire.send(build(method, target, [*fields, ("Connection", "close")], body))
            return wire.read_answer(head_only=method == "HEAD")

    def get(self, target, fields=(), source=None):
        return self.request("GET", target, fields, source=source)

    def shorten(self, url, source=None, fields=()):
        """POSTs the form. Returns the answer."""
        body = urllib.parse.urlencode({"url": url}).encode()
        return self.request("POST", "/shorten", [("Content-Type", "application/x-www-form-urlencoded"), *fields], body,
                            source)

    def code_of(self, url, source=None):
        """Shortens, which must succeed. Returns the path of the short link, with its slash."""
        answer = self.shorten(url, source)
        assert answer.status == 200, answer
        return answer.json["short_url"]

    # What it writes

    def metrics(self):
        """The page of metrics, strictly parsed: {(name, labels): value}."""
        answer = self.get("/metrics")
        assert answer.status == 200
        return parse(answer.body.decode())

    def log(self, path=None):
        """The lines of the access log so far, parsed; each a dict with `start` and `end` in seconds."""
        text = (path or self.stdout_path).read_text()
        lines = []
        for line in text.splitlines(keepends=True):
            if READY.match(line.rstrip("\n")):
                continue
            if not line.endswith("\n"):
                break  # still being written
            lines.append(parse_log_line(line[:-1]))
        return lines

    def wait_for_log(self, n, path=None):
        """The access log as soon as it has `n` lines."""
        ready = 1 if path is None else 0
        path = path or self.stdout_path
        wait_until(lambda: path.read_bytes().count(b"\n") >= n + ready, what=f"{n} lines of access log")
        return self.log(path)

    def rows(self, sql, *values):
        """What the database answers. Its own connection: the server may run."""
        connection = sqlite3.connect(self.database, timeout=LIMIT_S)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def clicks(self, path):
        """Clicks of a short link as written so far."""
        return self.rows("SELECT clicks FROM links WHERE code = ?", path.lstrip("/"))[0][0]

    def write(self, sql, *values):
        """Changes the database behind the server's back."""
        connection = sqlite3.connect(self.database, timeout=LIMIT_S)
        try:
            with connection:
                connection.execute(sql, values)
        finally:
            connection.close()


def parse_log_line(line):
    """One line of access log, text or JSON."""
    if line.startswith("{"):
        entry = json.loads(line)
    else:
        match = LOG_LINE.fullmatch(line)
        assert match is not None, f"not a line of access log: {line!r}"
        entry = match.groupdict()
    for name in ("status", "bytes", "duration_us"):
        entry[name] = int(entry[name])
    whole, fraction = entry["time"][:-1].split(".")
    seconds = time.strptime(whole, "%Y-%m-%dT%H:%M:%S")
    entry["end"] = calendar.timegm(seconds) + int(fraction) / 1e6
    entry["start"] = entry["end"] - entry["duration_us"] / 1e6
    return entry
