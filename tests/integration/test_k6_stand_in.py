# SPDX-License-Identifier: Apache-2.0
"""The stand-in for k6 (tests/k6) does what k6's documentation says, and refuses what a script may not do."""
import re

import pytest

from support.k6 import INVALID_CONFIG, SCRIPT_EXCEPTION, SETUP_TIMEOUT, THRESHOLDS_FAILED, run_k6

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
    ("new Trend('mm')", "for (let i = 1; i <= 100; i += 1) m.add(i);",
     ["p(95)==95.05", "p(0)==1", "p(100)==100", "med==50.5", "avg==50.5", "min==1", "max==100", "p(99.5)>99"],
     ["p(95)<95.05", "max<100", "avg!=50.5", "med>=50.6"]),
    ("new Counter('mm')", "m.add(2); m.add(0); m.add(true);", ["count==3", "count<=3", "count > 2", "rate>0"], ["count<3", "count!=3"]),
    ("new Rate('mm')", "m.add(true); m.add(0); m.add(7); m.add(false);", ["rate==0.5", "rate>=0.5"], ["rate<0.5", "rate>0.5"]),
    ("new Gauge('mm')", "m.add(9); m.add(4);", ["value==4"], ["value<4"]),
    ("new Counter('mm')", "", ["count==0"], ["count>=1"]),
    ("new Rate('mm')", "", ["rate==0"], ["rate>0.9"]),
]


@pytest.mark.parametrize("metric, body, hold, fail", THRESHOLDS, ids=["trend", "counter", "rate", "gauge", "no count", "no rate"])
def test_thresholds_are_judged_by_the_samples(run, metric, body, hold, fail):
    held = run(body, f"const m = {metric};", thresholds=f"{{ mm: {hold} }}")
    assert held.status == 0, held
    for expression in fail:
        failed = run(body, f"const m = {metric};", thresholds=f"{{ mm: ['{expression}'] }}")
        assert failed.status == THRESHOLDS_FAILED and failed.crossed == {"mm"}, (expression, failed)


def test_a_threshold_on_tags_sees_only_samples_with_these_tags(run):
    body = "m.add(1, { a: 'x' }); m.add(2, { a: 'y', b: 'z' }); m.add(4);"
    thresholds = "{ mm: ['count==7'], 'mm{a:x}': ['count==1'], 'mm{a:y,b:z}': ['count==2'], 'mm{a:w}': ['count==0'], 'mm{scenario:once}': ['count==7'] }"
    done = run(body, "const m = new Counter('mm');", thresholds=thresholds)
    assert done.status == 0, done


REFUSED_OPTIONS = {
    "an unknown executor": {"scenarios": "{ a: { executor: 'ramping-users', stages: [] } }"},
    "an unknown option of an executor": {"scenarios": "{ a: { executor: 'ramping-vus', stages: [{ duration: '1s', target: 1 }], rate: 1 } }"},
    "no VU ever": {"scenarios": "{ a: { executor: 'ramping-vus', startVUs: 0, stages: [{ duration: '1s', target: 0 }] } }"},
    "less than a second": {"scenarios": "{ a: { executor: 'constant-vus', vus: 1, duration: '999ms' } }"},
    "an environment of its own": {"scenarios": "{ a: { executor: 'per-vu-iterations', env: { A: '1' } } }"},
    "a rate for each nothing": {"scenarios": "{ a: { executor: 'constant-arrival-rate', rate: 1, timeUnit: '0s', duration: '1s', preAllocatedVUs: 1 } }"},
    "a name with a blank": {"scenarios": "{ 'a b': { executor: 'per-vu-iterations' } }"},
    "another's metric": {"init": "new Counter('http_req_failed');"},
    "an expression with a sign": {"thresholds": "{ checks: ['rate>-1'] }"},
    "an expression with an exponent": {"thresholds": "{ checks: ['rate<=1e-7'] }"},
    "an expression between blanks": {"thresholds": "{ checks: [' rate==1 '] }"},
    "a delay that is none": {"thresholds": "{ checks: [{ threshold: 'rate==1', abortOnFail: true, delayAbortEval: '1e-7s' }] }"},
    "an option that is not obeyed": {"more": "options.discardResponseBodies = true;"},
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
    "a name in exec's place": {"init": "import { scenario } from 'k6/execution';"},
    "import.meta": {"init": "console.log(import.meta.url);"},
    "JavaScript that k6 has not": {"init": "new Intl.NumberFormat();"},
    "a reference that is weak": {"init": "new WeakRef({});"},
    "an array's younger methods": {"init": "[1].findLast((one) => one);"},
    "an export that is not there": {"init": "import { randomSeed } from 'k6';"},
    "Node's process": {"body": "process.exit(0);"},
    "setTimeout": {"body": "setTimeout(() => {}, 1);"},
    "a request in the init context": {"init": "http.get('http://127.0.0.1:1/');"},
    "a metric in an iteration": {"body": "new Counter('late');"},
    "a name that is none": {"init": "new Counter('not a name');"},
    "a name of one letter": {"init": "new Counter('m');"},
    "sleep in the init context": {"init": "sleep(0);"},
    "a check in the init context": {"init": "check(1, { one: true });"},
    "who am I in the init context": {"init": "exec.vu.idInTest;"},
    "a check that is a promise": {"body": "check(1, { one: () => ({ then() {} }) });"},
    "a check with k6's own mark": {"body": "check(1, { 'a::b': true });"},
    "a change to what setup() returned": {"body": "data.list.push(1);", "more": "export function setup() { return { list: [] }; }"},
    "a body for a GET": {"body": "http.get('http://127.0.0.1:1/', null, {});"},
    "a number as a header": {"body": "http.get('http://127.0.0.1:1/', { headers: { 'X-A': 1 } });"},
    "a timeout without unit": {"body": "http.get('http://127.0.0.1:1/', { timeout: '10' });"},
    "a callback of one's own": {"body": "http.get('http://127.0.0.1:1/', { responseCallback: () => true });"},
    "a property of a response that is not there": {"body": "http.get('http://127.0.0.1:1/').statusCode;"},
    "a time that is not there": {"body": "http.get('http://127.0.0.1:1/').timings.total;"},
    "a path in json()": {"body": "http.get('http://127.0.0.1:1/').json('a');"},
    "a number as a tag": {"init": "const m = new Counter('mm');", "body": "m.add(1, { a: 1 });"},
    "a counter that falls": {"init": "const m = new Counter('mm');", "body": "m.add(-1);"},
    "an unknown parameter of a request": {"body": "http.get('http://127.0.0.1:1/', { follow: 0 });"},
    "a property of exec that is not there": {"body": "exec.vu.number;"},
    "an exception in an iteration": {"body": "null.status;"},
    "an exception in one of many VUs": {"body": "if (exec.vu.idInTest === 2) null.status; sleep(0.1);", "scenarios":
                                        "{ a: { executor: 'ramping-vus', startVUs: 2, stages: [{ duration: '60s', target: 2 }] } }"},
    "an exception in setup()": {"more": "export function setup() { throw new Error('no'); }"},
    "an exception in handleSummary()": {"more": "export function handleSummary(data) { return data.none.none; }"},
}


@pytest.mark.parametrize("parts", REFUSED_SCRIPTS.values(), ids=REFUSED_SCRIPTS)
def test_what_a_script_may_not_do_ends_the_run(run, parts):
    done = run(**parts)
    assert done.status == SCRIPT_EXCEPTION, done


def test_a_vu_sees_its_own_variables_and_what_setup_returned(run):
    done = run("seen += 1; m.add(seen === exec.vu.iterationInInstance + 1 && data.list.length === 1 ? 1 : 0);",
               "let seen = 0; const m = new Rate('mm');", "{ a: { executor: 'per-vu-iterations', vus: 3, iterations: 4 } }",
               "{ mm: ['rate==1'], iterations: ['count==12'] }", "export function setup() { seen = 100; return { list: [1] }; }")
    assert done.status == 0, done


def test_a_script_may_be_in_more_than_one_file(run, tmp_path):
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "one.js").write_text("import { seen } from './two.js';\nexport const text = `one ${seen.push(1)}`;\n")
    (tmp_path / "more" / "two.js").write_text("export const seen = [];\n")
    done = run("console.log(text, seen.length);", "import { text } from './more/one.js';\nimport { seen } from './more/two.js';")
    assert done.status == 0 and "one 1 1" in done.stderr, "each file is there once for each VU"
    lost = run(init="import './more/three.js';")
    assert lost.status == SCRIPT_EXCEPTION and "three.js" in lost.stderr, lost
    bare = run(init="import 'more/one.js';")
    assert bare.status == SCRIPT_EXCEPTION and "not a file" in bare.stderr, bare


def test_setup_and_the_summary_have_a_world_each(run):
    done = run("seen += 1;", "let seen = 0; console.log('a world');", more="""
        export function setup() { seen += 10; return undefined; }
        export function teardown(data) { if (data !== undefined || seen !== 0) throw new Error(`${data} ${seen}`); }
        export function handleSummary() { return { stdout: `seen ${seen}` }; }""")
    assert done.status == 0 and done.stdout == "seen 0", done
    assert done.stderr.count("a world") == 5, "for the options, setup(), one VU, teardown() and handleSummary()"


def test_a_vu_of_one_scenario_may_be_another_ones_later(run):
    done = run("m.add(1, { before: String(seen) }); seen += 1;", "let seen = 0; const m = new Counter('mm');", "{ "
               "a: { executor: 'per-vu-iterations', vus: 1, iterations: 2, maxDuration: '1s', gracefulStop: '0s' },"
               "b: { executor: 'per-vu-iterations', vus: 1, iterations: 1, startTime: '1100ms' } }", "{ 'mm{before:2}': ['count==1'] }")
    assert done.status == 0, done


def test_setup_that_takes_too_long_ends_the_run(run):
    done = run("console.log('it ran');", more="options.setupTimeout = '100ms'; export function setup() { sleep(5); }")
    assert done.status == SETUP_TIMEOUT and "it ran" not in done.stderr, done


def test_a_request_without_callback_is_neither_right_nor_wrong(run):
    done = run("http.get('http://127.0.0.1:1/', { responseCallback: null });",
               thresholds="{ http_req_failed: ['rate==0'], 'http_reqs{expected_response:true}': ['count==0'], "
                          "'http_reqs{expected_response:false}': ['count==0'], http_reqs: ['count==1'] }")
    assert done.status == 0, done


def test_an_arrival_rate_is_the_area_under_its_line(run):
    stages = "[{ duration: '500ms', target: 40 }, { duration: '500ms', target: 40 }]"
    done = run("m.add(1, { turn: String(exec.scenario.iterationInTest) });", "const m = new Counter('mm');",
               f"{{ a: {{ executor: 'ramping-arrival-rate', startRate: 0, stages: {stages}, preAllocatedVUs: 4 }} }}",
               "{ mm: ['count>=28', 'count<=30'], 'mm{turn:0}': ['count==1'], 'mm{turn:27}': ['count==1'] }")
    assert done.status == 0, done


def test_iterations_for_which_no_vu_is_free_are_dropped_and_counted(run):
    done = run("sleep(10);", scenarios="{ a: { executor: 'constant-arrival-rate', rate: 6, duration: '1s', preAllocatedVUs: 2, "
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
    thresholds = "{ mm: [{ threshold: 'count<1', abortOnFail: true }], iterations: ['count<500'] }"
    done = run("m.add(1); sleep(0.05);", "const m = new Counter('mm');", "{ a: { executor: 'constant-vus', vus: 1, duration: '60s' } }",
               thresholds)
    assert done.status == THRESHOLDS_FAILED and done.crossed == {"mm"} and "stopping" in done.stderr, done


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
    thresholds = "{ mm: ['rate==1'], http_reqs: ['count==4'], http_req_failed: ['rate==0.5'], 'http_reqs{status:302}': ['count==1'] }"
    done = run(body, "const m = new Rate('mm');", thresholds=thresholds, env={"URL": url})
    assert done.status == 0, done


def test_a_redirect_that_would_be_followed_ends_the_run(run, unlimited):
    code = unlimited.code_of("https://example.com/")
    done = run(f"http.get('http://{unlimited.address[0]}:{unlimited.address[1]}{code}');")
    assert done.status == SCRIPT_EXCEPTION and "redirects: 0" in done.stderr, done
