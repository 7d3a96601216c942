// SPDX-License-Identifier: Apache-2.0
// How much does the plant carry? New links, redirects, and codes that nobody has, each at a rate that the environment
// says, whether the answers keep up or not. The run fails when answers are wrong, late, or denied by a limit: then it was
// the limit that was measured. README.md says how to run it and how to read what it prints.
//
// A limit is for each client address, and all of this comes from one. So each request names another client, of CLIENTS, in
// X-Forwarded-For. That counts only where a server believes this machine as a proxy (`trusted_proxies` of Sluice).
//
// Leaves out: whether the limit is right (rate-test.js).
import exec from 'k6/execution';
import http from 'k6/http';
import { check } from 'k6';
import { Counter, Rate, Trend } from 'k6/metrics';
import { BASE_URL, TIMEOUT_MS, codeOf, line, mustAnswer, number, said, valuesOf, whole, written } from './common.js';

// As k6 reads numbers in thresholds: with no exponent.
function decimal(value) {
	return value.toFixed(9).replace(/\.?0+$/, '');
}

const CLIENTS_MAX = 131072; // 198.18.0.0/15, which belongs to nobody: it is set aside for measurements (RFC 2544)

const RATES = { // requests a second; 0 leaves one out
	shorten: whole('SHORTEN_RATE', 20, 0),
	redirect: whole('REDIRECT_RATE', 200, 0),
	miss: whole('MISS_RATE', 20, 0),
};
const P95_MS = { shorten: number('P95_SHORTEN', 200, 0), redirect: number('P95_REDIRECT', 50, 0), miss: number('P95_MISS', 100, 0) };
const RAMP_S = number('RAMP', 10, 0); // up to the full rates
const DURATION_S = number('DURATION', 60, 0.1); // at the full rates
const ERRORS = number('ERRORS', 0.001, 0); // the part of the requests that may be answered wrongly, or not at all
const DENIED = number('DENIED', 0, 0); // the part that may be answered 429
const LATE = number('LATE', 0.001, 0); // the part that may go unsent, because all VUs were still waiting
const CLIENTS = whole('CLIENTS', 100000, 0); // 0: say nothing about clients
const LIMIT = whole('LIMIT', 10, 1); // of each client, to see that CLIENTS are enough
const WINDOW_S = number('WINDOW', 60, 0.001);
const LINKS = whole('LINKS', 100, 1); // that the redirects go to; made before
const ANSWER_S = number('ANSWER', 0.5, 0.01); // VUs are made ready for answers that take as long

const kinds = Object.keys(RATES).filter((kind) => RATES[kind] > 0);
if (kinds.length === 0) throw new Error('SHORTEN_RATE, REDIRECT_RATE and MISS_RATE are all 0: nothing to do');
if (CLIENTS > CLIENTS_MAX) throw new Error(`CLIENTS=${CLIENTS}: there are ${CLIENTS_MAX} addresses at most`);

// Requests of one client in one window, at most: the clients of a kind take turns. And one before, to make a link.
const most = kinds.reduce((sum, kind) => sum + Math.floor((RATES[kind] * WINDOW_S) / CLIENTS) + 1, 1);
if (CLIENTS > 0 && most > LIMIT) {
	throw new Error(`CLIENTS=${CLIENTS} are too few: one may ask ${most} times in ${WINDOW_S} s, and the limit is ${LIMIT}`);
}

const errors = new Rate('errors');
const denied = new Rate('denied');
const asked = {};
const answered = {}; // rightly
const durations = {};
for (const kind of kinds) {
	asked[kind] = new Counter(`${kind}_asked`);
	answered[kind] = new Counter(`${kind}_answered`);
	durations[kind] = new Trend(`${kind}_duration`, true); // of right answers
}

const planned = kinds.reduce((sum, kind) => sum + RATES[kind] * (RAMP_S / 2 + DURATION_S), 0);
const dropped = Math.floor(planned * LATE); // that many may be

function thresholds() {
	const all = {
		errors: [`rate<=${decimal(ERRORS)}`, { threshold: 'rate<0.5', abortOnFail: true, delayAbortEval: `${Math.round(RAMP_S * 1000)}ms` }],
		denied: [`rate<=${decimal(DENIED)}`],
		dropped_iterations: [`count<=${dropped}`],
	};
	for (const kind of kinds) {
		all[`${kind}_answered`] = ['count>0'];
		all[`${kind}_duration`] = [`p(95)<${decimal(P95_MS[kind])}`];
	}
	return all;
}

function scenarios() {
	const all = {};
	for (const kind of kinds) {
		all[kind] = {
			executor: 'ramping-arrival-rate',
			exec: kind,
			startRate: 0,
			timeUnit: '1s',
			stages: [
				{ duration: `${Math.round(RAMP_S * 1000)}ms`, target: RATES[kind] },
				{ duration: `${Math.round(DURATION_S * 1000)}ms`, target: RATES[kind] },
			],
			preAllocatedVUs: Math.ceil(RATES[kind] * ANSWER_S) + 2,
			gracefulStop: '15s',
		};
	}
	return all;
}

// The links are made one after the other: k6's own minute may not do.
export const options = { scenarios: scenarios(), thresholds: thresholds(), setupTimeout: `${60 + LINKS}s` };

const expected = {
	shorten: http.expectedStatuses(200), redirect: http.expectedStatuses(302), miss: http.expectedStatuses(404),
};
const names = { shorten: 'POST /shorten', redirect: 'GET /<code>', miss: 'GET /<no code>' };

// The i-th client's address.
function address(i) {
	return `198.${18 + Math.floor(i / 65536)}.${Math.floor(i / 256) % 256}.${i % 256}`;
}

function params(kind, client) {
	const headers = CLIENTS > 0 ? { 'X-Forwarded-For': address(client % CLIENTS) } : {};
	return { headers, redirects: 0, timeout: TIMEOUT_MS, tags: { name: names[kind] }, responseCallback: expected[kind] };
}

// Whose turn it is. The kinds begin in different places.
function turn(kind) {
	return exec.scenario.iterationInTest + Math.floor((kinds.indexOf(kind) * CLIENTS) / kinds.length);
}

function some() {
	return Math.random().toString(36).slice(2) + Math.random().toString(36).slice(2);
}

// Makes, from the other end of the clients, the links that redirects go to, or as many as a limit lets it.
export function setup() {
	mustAnswer();
	for (const kind of kinds) answered[kind].add(0); // so that it is judged also when it gets nothing else
	const links = [];
	for (let i = 0; i < (RATES.redirect > 0 ? LINKS : 0); i += 1) {
		const url = `https://example.com/load/${some()}`;
		const answer = http.post(`${BASE_URL}/shorten`, { url }, params('shorten', Math.max(0, CLIENTS - 1 - i)));
		const code = codeOf(answer);
		if (answer.status === 200 && code !== undefined) links.push({ code, url });
		else if (answer.status !== 429 || links.length === 0) {
			throw new Error(`no link to redirect to: ${said(answer)}`);
		} else break;
	}
	return { links };
}

let complaints = 0;

function judge(kind, answer, right) {
	const isDenied = answer.status === 429;
	const isRight = !isDenied && check(answer, { [`${names[kind]} is answered rightly`]: right });
	asked[kind].add(1);
	answered[kind].add(isRight);
	denied.add(isDenied);
	errors.add(!isDenied && !isRight);
	if (isRight) durations[kind].add(answer.timings.duration);
	else if (!isDenied && complaints < 3) {
		complaints += 1;
		console.error(`${names[kind]}: ${said(answer)}`);
	}
}

export function shorten() {
	const answer = http.post(`${BASE_URL}/shorten`, { url: `https://example.com/${some()}` }, params('shorten', turn('shorten')));
	judge('shorten', answer, (r) => r.status === 200 && codeOf(r) !== undefined);
}

export function redirect({ links }) {
	const link = links[Math.floor(Math.random() * links.length)];
	const answer = http.get(`${BASE_URL}${link.code}`, params('redirect', turn('redirect')));
	judge('redirect', answer, (r) => r.status === 302 && r.headers.Location === link.url);
}

export function miss() {
	const answer = http.get(`${BASE_URL}/no-${some().slice(0, 20)}`, params('miss', turn('miss')));
	judge('miss', answer, (r) => r.status === 404);
}

const fixed = (value) => (value === undefined ? '?' : value.toFixed(1));

// Tells in words what the thresholds decide. They alone set the exit status.
export function handleSummary(data) {
	let text = `\nSluice at ${BASE_URL}: ${RAMP_S} s up to the full rates, ${DURATION_S} s at them, ${CLIENTS || 'unnamed'} clients\n`;
	for (const kind of kinds) {
		const [right, all] = [valuesOf(data, `${kind}_answered`).count, valuesOf(data, `${kind}_asked`).count];
		const took = valuesOf(data, `${kind}_duration`);
		const p95 = took['p(95)'];
		text += line(right > 0 && p95 < P95_MS[kind], `${names[kind]}, ${RATES[kind]} a second: ${right || 0} of ${all || 0} answered`
			+ (right > 0 ? `; median ${fixed(took.med)} ms, p95 ${fixed(p95)} of ${P95_MS[kind]} ms, longest ${fixed(took.max)} ms` : ''));
	}
	const part = (name, allowed, what) => {
		const { rate } = valuesOf(data, name);
		return rate === undefined ? '' : line(rate <= allowed, `${what}: ${(rate * 100).toFixed(3)} % of ${allowed * 100} %`);
	};
	text += part('errors', ERRORS, 'wrong answers or none') + part('denied', DENIED, 'denied by a limit');
	const unsent = valuesOf(data, 'dropped_iterations').count || 0;
	text += line(unsent <= dropped, `not sent, since all VUs waited: ${unsent} of ${dropped}`);
	return written(data, text);
}
