# SPDX-License-Identifier: Apache-2.0
"""deploy/compose/compose.yaml brought up, and asked from outside the machine."""
import http.client
import json
import shutil
import urllib.parse

from engine import CROWD, ROOT
from support.waiting import wait_until

MACHINE = "10.0.0.2"


class Plant:
    """@param composer  the words that docker-compose or its successor begins with.
    @param folder  where the files go, whatever it is called.
    @param files  of deploy/compose."""

    def __init__(self, engine, composer, folder, files=("compose.yaml",)):
        self.engine = engine
        self.composer = [*composer, *(word for name in files for word in ("-f", name)), "-p", "plant"]
        self.folder = folder / "deploy" / "compose"
        for name in ("compose", "nginx", "k6"):
            shutil.copytree(ROOT / "deploy" / name, folder / "deploy" / name)
        self.crowd = iter(CROWD)

    def attempt(self, *words, **more):
        """Returns what Engine.run() does."""
        return self.engine.run(*self.composer, *words, cwd=self.folder, **more)

    def compose(self, *words, **more):
        done = self.attempt(*words, **more)
        assert done.returncode == 0, f"compose {' '.join(words)}: {(done.stdout or '')[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def up(self):
        self.compose("up", "-d", "--no-build")
        self.wait_until_healthy("lb")

    def destroy(self):
        self.compose("down", "-v", "--timeout", "10")

    def name(self, service):
        """The container's id: each Compose gives it another name."""
        label = "label=com.docker.compose."
        found = self.engine.docker("ps", "-aq", "--filter", f"{label}project=plant", "--filter", f"{label}service={service}",
                                   "--filter", f"{label}oneoff=False").split()
        assert len(found) == 1, (service, found)
        return found[0]

    def inspect(self, service):
        return json.loads(self.engine.docker("inspect", self.name(service)))[0]

    def healthy(self, service):
        state = self.inspect(service)["State"]
        return state["Running"] and state["Health"]["Status"] == "healthy"

    def wait_until_healthy(self, service):
        wait_until(lambda: self.healthy(service), limit_s=120, what=f"{service} to be healthy")

    def exec(self, service, *words):
        return self.engine.docker("exec", self.name(service), *words)

    def logs(self, service):
        done = self.engine.run("docker", "logs", self.name(service))
        return done.stdout + done.stderr

    def newcomer(self):
        """An address that nobody has asked from before."""
        return next(self.crowd)

    def ask(self, method, path, body=None, client=None):
        """One request from a neighbour of the machine, by its address; without one, by a newcomer. Returns (status,
        fields, body)."""
        with self.engine.network.on("crowd"):
            connection = http.client.HTTPConnection(MACHINE, 80, timeout=20,
                                                    source_address=(client or self.newcomer(), 0))
            connection.connect()
        try:
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()
        finally:
            connection.close()

    def shorten(self, url):
        status, _, body = self.ask("POST", "/shorten", urllib.parse.urlencode({"url": url}))
        assert status == 200, (status, body)
        return json.loads(body)["short_url"]

    def redis(self, *words):
        return self.exec("redis", "sh", "-c", "export REDISCLI_AUTH=$(sed -n 's/^requirepass //p' /run/secrets/redis_auth);"
                         ' exec redis-cli "$@"', "sh", *words).strip()
