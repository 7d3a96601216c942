# SPDX-License-Identifier: Apache-2.0
"""deploy/prometheus and deploy/grafana: a real Prometheus reads the scrape file and the rules, asks two real servers, and
answers every question that the dashboard asks; promtool runs the unit tests of the alerts."""
import json
import math
import pathlib
import re
import subprocess
import urllib.parse
import urllib.request

import pytest

from support.ports import free_port
from support.server import DIES_WITH_US
from support.waiting import LIMIT_S, wait_until

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = PROMETHEUS / "rules" / "sluice.yml"
RULE_TESTS = ROOT / "tests" / "prometheus" / "rules_test.yml"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "sluice.json").read_text())
VARIABLES = {"$instance": ".*", "$limit": ".*", "$__rate_interval": "30s", "${datasource}": "x"}


def promtool(*words):
    done = subprocess.run(["promtool", *map(str, words)], capture_output=True, text=True, check=False, timeout=LIMIT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def panels():
    return [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def questions():
    """[(panel's title, expression, legend)], with Grafana's variables filled in."""
    found = []
    for panel in panels():
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            found.append((panel["title"], text, target["legendFormat"]))
    return found


# Files

def test_promtool_accepts_the_files():
    told = promtool("check", "config", PROMETHEUS / "prometheus.yml")
    assert "1 rule files found" in told and "WARNING" not in told
    assert re.search(r"SUCCESS: \d+ rules found", promtool("check", "rules", RULES))


def test_every_alert_fires_when_it_should_and_not_otherwise():
    assert "SUCCESS" in promtool("test", "rules", RULE_TESTS)
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    tested = RULE_TESTS.read_text()
    assert len(alerts) == len(set(alerts)) > 10
    for alert in alerts:
        assert re.search(rf"\{{eval_time: \w+, alertname: {alert}\}}", tested), f"{alert} is not shown to be quiet"
        assert re.search(rf"alertname: {alert}\n +exp_alerts:", tested), f"{alert} is not shown to fire"


def headings(text):
    """The anchors of a page, as GitHub names them."""
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.*)$", text, re.MULTILINE)}


def test_every_alert_is_in_the_operators_guide():
    guide = (ROOT / "docs" / "operations.md").read_text()
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text())
    assert [alert for alert in alerts if f"`{alert}`" not in guide] == []
    assert set(re.findall(r"`(Sluice[A-Z]\w+)`", guide)) == set(alerts), "the guide speaks of alerts that there are not"


def test_every_alert_says_what_it_means_what_to_do_and_where_to_read_on():
    anchors = headings((ROOT / "docs" / "operations.md").read_text())
    for rule in re.split(r"(?=- alert: )", RULES.read_text())[1:]:
        told = dict(re.findall(r"^ {10}(\w+): (.+)$", rule, re.MULTILINE))
        assert {"summary", "description", "runbook"} <= told.keys(), rule
        page, _, section = told["runbook"].partition("#")
        assert page == "operations.md" and section in anchors, told["runbook"]


def test_the_dashboard_is_one_that_grafana_can_lay_out():
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        assert place["x"] + place["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells
    for panel in panels():
        assert panel["datasource"]["uid"] == "${datasource}" and panel["targets"], panel["title"]
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}
    left = [text for _, text, _ in questions() if "$" in text]
    assert left == [], "variables that nobody fills in"


# A live plant

class Prometheus:
    """A Prometheus with the files as they are, but for whom it asks and how often."""

    def __init__(self, folder, targets):
        (folder / "rules").mkdir(parents=True)
        text = (PROMETHEUS / "prometheus.yml").read_text()
        text, found = re.subn(r'targets: \["10\.0\.0\.[^\]]*\]', f"targets: {json.dumps(targets)}", text)
        assert found == 1
        text, found = re.subn(r"(scrape|evaluation)_interval: 15s", r"\1_interval: 1s", text)
        assert found == 2
        (folder / "prometheus.yml").write_text(text)
        (folder / "rules" / "sluice.yml").write_text(RULES.read_text())
        self.address = f"127.0.0.1:{free_port()}"
        self.log = folder / "log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen([*DIES_WITH_US, "prometheus", f"--config.file={folder}/prometheus.yml",
                                             f"--storage.tsdb.path={folder}/data", f"--web.listen-address={self.address}"],
                                            cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        wait_until(self.is_ready, what="Prometheus")

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        try:
            with urllib.request.urlopen(f"http://{self.address}/-/ready", timeout=LIMIT_S) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path, **parameters):
        url = f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
            told = json.load(answer)
        assert told["status"] == "success" and not told.get("warnings"), told
        return told["data"]

    def ask(self, expression):
        """[(labels, number)] of an expression now."""
        return [(one["metric"], float(one["value"][1])) for one in self.get("query", query=expression)["result"]]

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
            self.process.wait(LIMIT_S)


@pytest.fixture(scope="module")
def live(tmp_path_factory, start_shared, shared_store):
    """Two servers behind one Redis with the module, and a Prometheus that watches them."""
    patience = {"SLUICE_LIMITER_TIMEOUT": "5s"}  # for a busy machine: it is a plant that is well
    servers = [start_shared(arguments=["--limiter", shared_store.url], env=patience) for _ in range(2)]
    prometheus = Prometheus(tmp_path_factory.mktemp("prometheus"),
                            ["%s:%d" % server.address for server in servers])
    try:
        yield servers, prometheus, shared_store
    finally:
        prometheus.close()


def make_traffic(servers, n=[1]):
    """A little of everything, from clients that nobody has seen."""
    for server in servers:
        n[0] += 1
        client = f"127.1.{n[0] // 200}.{n[0] % 200 + 1}"
        path = server.shorten(f"https://example.com/{n[0]}", source=client).json["short_url"]
        for _ in range(11):
            server.get(path, source=client)
        server.get("/nothing-there", source=f"127.2.{n[0] // 200}.{n[0] % 200 + 1}")


def test_every_question_of_the_dashboard_has_an_answer(live):
    """And a number for one: not a division of nothing by nothing. Legends name labels that are there."""
    servers, prometheus, _ = live
    wait_until(lambda: {value for _, value in prometheus.ask('up{job="sluice"}')} == {1} and len(prometheus.ask("up")) == 2,
               what="both servers to be asked")
    wait_until(lambda: {value for _, value in prometheus.ask("sluice_limiter_servers")} == {2}, what="two servers")
    open_questions, answers = questions(), {}

    def all_answered():
        make_traffic(servers)
        for question in list(open_questions):
            found = prometheus.ask(question[1])
            if found and not any(math.isnan(value) for _, value in found):
                open_questions.remove(question)
                answers[question] = found
        return not open_questions
    try:
        wait_until(all_answered, 120, what="all answers")
    except AssertionError as error:
        raise AssertionError(f"without an answer: {open_questions}") from error
    for (title, _, legend), found in answers.items():
        for label in re.findall(r"\{\{(\w+)\}\}", legend):
            assert all(label in labels for labels, _ in found), (title, label)
    # A scrape that a busy machine was too late for is one of a server that can't be asked, until the next one.
    well = {"Servers that can't be asked": 0, "Limiter's store": 1, "Links' database": 1}
    asked = {title: text for title, text, _ in answers if title in well}
    wait_until(lambda: {title: prometheus.ask(text)[0][1] for title, text in asked.items()} == well, what="a plant that is well")


def test_what_the_dashboard_lets_choose_exists(live):
    _, prometheus, _ = live
    asked = [variable["definition"] for variable in DASHBOARD["templating"]["list"] if variable["type"] == "query"]
    assert len(asked) == 2
    for text in asked:
        metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", text).groups()
        assert prometheus.get(f"label/{label}/values", **{"match[]": metric})


def test_every_metric_in_files_and_guide_exists(live):
    """Also one that an alert compares with nothing, which would be quiet for ever."""
    servers, _, _ = live
    has = {name for name, _ in servers[0].metrics()} | {"up"}
    for path in (RULES, ROOT / "deploy" / "grafana" / "sluice.json", ROOT / "docs" / "operations.md"):
        named = set(re.findall(r"\bsluice_(?!schema\b|links\b)[a-z_]*[a-z]\b", path.read_text()))
        assert path.suffix == ".md" or len(named) > 10
        assert {name for name in named if name not in has and not has & {f"{name}_bucket", f"{name}_count"}} == set(), path


def test_everything_that_is_measured_is_shown(live):
    """A metric of which no panel speaks is one that nobody looks at."""
    servers, _, _ = live
    shown = " ".join(text for _, text, _ in questions())
    assert [name for name, _ in servers[0].metrics() if not re.search(rf"\b{name}\b", shown)] == []


def test_alerts_are_quiet_and_speak_up(live):
    """The last one: it takes Redis and a server away."""
    servers, prometheus, store = live
    firing = [alert["labels"] for alert in prometheus.get("alerts")["alerts"] if alert["state"] == "firing"]
    assert firing == []
    rules = prometheus.get("rules")["groups"][0]["rules"]
    assert all(rule["health"] == "ok" and not rule.get("lastError") for rule in rules), rules
    store.kill()
    servers[1].stop()

    def alarmed():
        return {(alert["labels"]["alertname"], alert["labels"].get("instance")) for alert in prometheus.get("alerts")["alerts"]}
    first, second = ("%s:%d" % server.address for server in servers)
    wait_until(lambda: {("SluiceLimiterAway", first), ("SluiceDown", second)} <= alarmed(), what="the alarms")
    store.start()
