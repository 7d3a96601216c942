# SPDX-License-Identifier: Apache-2.0
"""The stand-in for k6 (tests/k6) does what k6's documentation says, and refuses what a script may not do."""
import re

import pytest

from support.k6 import INVALID_CONFIG, SCRIPT_EXCEPTION, THRESHOLDS_FAILED, run_k6

ONCE = "{ once: { executor: 'per-vu-iterations', vus: 1, iterations: 1 } }"
IMPORTS = """import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter, Gauge, Rate, Trend } from 'k6/metrics';
"""


@pytest.fixture
def run(tmp_path):
    """Runs a script of these parts."""

    def run_script(body="", init="", scenarios=ONCE, thresholds="{}", more="", env=None):
        path = tmp_path / "script.js"
        path.write_text(f"{IMPORTS}{init}\nexport const options = {{ scenarios: {scenarios}, thresholds: {thresholds} }};\n"
                        f"export default function (data) {{ {body} }}\n{more}\n")
        return run_k6(path, env or {}, cwd=tmp_path)

    return run_script


THRESHOLDS = [
    ("new Trend('m')", "for (let i = 1; i <= 100; i += 1) m.add(i);",
     ["p(95)==95.05", "p(0)==1", "p(100)==100", "med==50.5", "avg==50.5", "min==1", "max==100", "p(99.5)>99"],
     ["p(95)<95.05", "max<100", "avg!=50.5", "med>=50.6"]),
    ("new Counter('m')", "m.add(2); m.add(0); m.add(true);", ["count==3", "count<=3", "count > 2", "rate>0"], ["count<3", "count!=3"]),
    ("new Rate('m')", "m.add(true); m.add(0); m.add(7); m.add(false);", ["rate==0.5", "rate>=0.5"], ["rate<0.5", "rate>0.5"]),
    ("new Gauge('m')", "m.add(9); m.add(4);", ["value==4"], ["value<4"]),
    ("new Counter('m')", "", ["count==0"], ["count>=1"]),
    ("new Rate('m')", "", ["rate==0"], ["rate>0.9"]),
]


@pytest.mark.parametrize("metric, body, hold, fail", THRESHOLDS, ids=["trend", "counter", "rate", "gauge", "no count", "no rate"])
def test_thresholds_are_judged_by_the_samples(run, metric, body, hold, fail):
    held = run(body, f"const m = {metric};", thresholds=f"{{ m: {hold} }}")
    assert held.status == 0, held
    for expression in fail:
        failed = run(body, f"const m = {metric};", thresholds=f"{{ m: ['{expression}'] }}")
        assert failed.status == THRESHOLDS_FAILED and failed.crossed == {"m"}, (expression, failed)


def test_a_threshold_on_tags_sees_only_samples_with_these_tags(run):
    body = "m.add(1, { a: 'x' }); m.add(2, { a: 'y', b: 'z' }); m.add(4);"
    thresholds = "{ m: ['count==7'], 'm{a:x}': ['count==1'], 'm{a:y,b:z}': ['count==2'], 'm{a:w}': ['count==0'], 'm{scenario:once}': ['count==7'] }"
    done = run(body, "const m = new Counter('m');", thresholds=thresholds)
    assert done.status == 0, done


REFUSED_OPTIONS = {
    "an unknown executor": {"scenarios": "{ a: { executor: 'ramping-users', stages: [] } }"},
    "an unknown option of an executor": {"scenarios": "{ a: { executor: 'ramping-vus', stages: [{ duration: '1s', target: 1 }], rate: 1 } }"},
    "no stages": {"scenarios": "{ a: { executor: 'ramping-vus' } }"},
    "half a VU": {"scenarios": "{ a: { executor: 'constant-vus', vus: 0.5, duration: '1s' } }"},
    "a duration without unit": {"scenarios": "{ a: { executor: 'constant-vus', vus: 1, duration: '1' } }"},
    "a function that is not exported": {"scenarios": "{ a: { executor: 'per-vu-iterations', exec: 'other' } }"},
    "a metric that is not there": {"thresholds": "{ other: ['count>0'] }"},
    "an expression that is none": {"thresholds": "{ checks: ['rate is 1'] }"},
    "a method of another type": {"thresholds": "{ checks: ['p(95)<1'] }"},
    "a percentile over 100": {"thresholds": "{ http_req_duration: ['p(101)<1'] }"},
    "a threshold outside a list": {"thresholds": "{ checks: 'rate==1' }"},
}


@pytest.mark.parametrize("parts", REFUSED_OPTIONS.values(), ids=REFUSED_OPTIONS)
def test_wrong_options_are_refused_before_anything_runs(run, parts):
    done = run("console.log('it ran');", **parts)
    assert done.status == INVALID_CONFIG and "it ran" not in done.stderr, done


REFUSED_SCRIPTS = {
    "another module": {"init": "import { textSummary } from 'k6/other';"},
    "a module of Node": {"init": "import fs from 'node:fs';"},
    "an export that is not there": {"init": "import { randomSeed } from 'k6';"},
    "Node's process": {"body": "process.exit(0);"},
    "setTimeout": {"body": "setTimeout(() => {}, 1);"},
    "a request in the init context": {"init": "http.get('http://127.0.0.1:1/');"},
    "a metric in an iteration": {"body": "new Counter('late');"},
    "a name that is none": {"init": "new Counter('not a name');"},
    "a number as a tag": {"init": "const m = new Counter('m');", "body": "m.add(1, { a: 1 });"},
    "a counter that falls": {"init": "const m = new Counter('m');", "body": "m.add(-1);"},
    "an unknown parameter of a request": {"body": "http.get('http://127.0.0.1:1/', { follow: 0 });"},
    "a property of exec that is not there": {"body": "exec.vu.number;"},
    "an exception in an iteration": {"body": "null.status;"},
    "an exception in setup()": {"more": "export function setup() { throw new Error('no'); }"},
    "an exception in handleSummary()": {"more": "export function handleSummary(data) { return data.none.none; }"},
}


@pytest.mark.parametrize("parts", REFUSED_SCRIPTS.values(), ids=REFUSED_SCRIPTS)
def test_what_a_script_may_not_do_ends_the_run(run, parts):
    done = run(**parts)
    assert done.status == SCRIPT_EXCEPTION, done


def test_a_vu_sees_its_own_variables_and_what_setup_returned(run):
    done = run("seen += 1; data.list.push(1); m.add(seen === exec.vu.iterationInInstance + 1 && data.list.length === 1 ? 1 : 0);",
               "let seen = 0; const m = new Rate('m');", "{ a: { executor: 'per-vu-iterations', vus: 3, iterations: 4 } }",
               "{ m: ['rate==1'], iterations: ['count==12'] }", "export function setup() { seen = 100; return { list: [] }; }")
    assert done.status == 0, done


def test_an_arrival_rate_is_the_area_under_its_line(run):
    stages = "[{ duration: '500ms', target: 40 }, { duration: '500ms', target: 40 }]"
    done = run("m.add(1, { turn: String(exec.scenario.iterationInTest) });", "const m = new Counter('m');",
               f"{{ a: {{ executor: 'ramping-arrival-rate', startRate: 0, stages: {stages}, preAllocatedVUs: 4 }} }}",
               "{ m: ['count>=28', 'count<=30'], 'm{turn:0}': ['count==1'], 'm{turn:27}': ['count==1'] }")
    assert done.status == 0, done


def test_iterations_for_which_no_vu_is_free_are_dropped_and_counted(run):
    done = run("sleep(10);", scenarios="{ a: { executor: 'constant-arrival-rate', rate: 20, duration: '300ms', preAllocatedVUs: 2, "
               "gracefulStop: '0s' } }", thresholds="{ dropped_iterations: ['count>=3', 'count<=4'] }")
    assert done.status == 0, done


def test_ramping_vus_come_one_after_the_other_and_go_again(run):
    stages = "[{ duration: '600ms', target: 3 }, { duration: '0ms', target: 1 }, { duration: '600ms', target: 1 }]"
    body = "console.log(`vu ${exec.vu.idInTest} at ${exec.instance.currentTestRunDuration}`); sleep(0.05);"
    done = run(body, scenarios=f"{{ a: {{ executor: 'ramping-vus', startVUs: 0, stages: {stages} }} }}")
    assert done.status == 0, done
    seen = [(int(vu), float(at)) for vu, at in re.findall(r"vu (\d) at ([0-9.]+)", done.stderr)]
    first = {vu: min(at for one, at in seen if one == vu) for vu in {vu for vu, _ in seen}}
    assert len(first) >= 2 and sorted(first.values())[0] >= 190, done
    last = max(at for _, at in seen)
    assert len({vu for vu, at in seen if at > 900 and at <= last}) == 1, "after 600 ms there should be one"


def test_a_threshold_that_aborts_ends_the_run_early(run):
    thresholds = "{ m: [{ threshold: 'count<1', abortOnFail: true }], iterations: ['count<500'] }"
    done = run("m.add(1); sleep(0.05);", "const m = new Counter('m');", "{ a: { executor: 'constant-vus', vus: 1, duration: '60s' } }",
               thresholds)
    assert done.status == THRESHOLDS_FAILED and done.crossed == {"m"} and "stopping" in done.stderr, done


def test_a_response_has_what_a_script_may_read(run, unlimited):
    url = "http://%s:%d" % unlimited.address
    body = """
        const answer = http.post(`${__ENV.URL}/shorten`, { url: 'https://example.com/?a=b&c=d+e%20f' });
        const found = http.get(`${__ENV.URL}${answer.json().short_url}`, { redirects: 0 });
        m.add(answer.status === 200 && answer.headers['Content-Type'] === 'application/json' && answer.error === ''
            && answer.timings.duration > 0 && found.status === 302
            && found.headers.Location === 'https://example.com/?a=b&c=d+e%20f');
        for (const nowhere of ['http://127.0.0.1:1/', 'http:nowhere']) {
            const none = http.get(nowhere);
            m.add(none.status === 0 && none.error !== '' && none.body === null);
        }
    """
    thresholds = "{ m: ['rate==1'], http_reqs: ['count==4'], http_req_failed: ['rate==0.5'], 'http_reqs{status:302}': ['count==1'] }"
    done = run(body, "const m = new Rate('m');", thresholds=thresholds, env={"URL": url})
    assert done.status == 0, done


def test_a_redirect_that_would_be_followed_ends_the_run(run, unlimited):
    code = unlimited.code_of("https://example.com/")
    done = run(f"http.get('http://{unlimited.address[0]}:{unlimited.address[1]}{code}');")
    assert done.status == SCRIPT_EXCEPTION and "redirects: 0" in done.stderr, done
