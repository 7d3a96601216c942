// SPDX-License-Identifier: Apache-2.0
// Is the limit right? Twenty clients of one address join over 30 s, stay for 60 s and leave over 10 s; each sends one
// POST /shorten a second. When they have gone, one more client does what its 429 tells it. The run fails when the limiter
// was wrong, whatever it did. README.md says how to run it and how to read what it prints.
//
// All clients have the address of this machine: one key of the limiter, so its promise holds over all of them together.
// They share no variables: a k6 VU sees only itself. What is judged over all of them is therefore counted in metrics, in
// one Counter for each of many overlapping windows; what one client can tell by itself it judges by itself.
//
// Times are those of exec.instance.currentTestRunDuration, one clock for all VUs. A request was decided at some moment
// between `sent` and `came`. Every verdict grants the server that doubt, so that a run which fails is a proof.
//
// Leaves out: capacity, and many addresses (script.js).
import exec from 'k6/execution';
import http from 'k6/http';
import { check, sleep } from 'k6';
import { Counter } from 'k6/metrics';
import { BASE_URL, TIMEOUT_MS, codeOf, line, mustAnswer, number, parsed, said, valuesOf, whole, written } from './common.js';

const LIMIT = whole('LIMIT', 10, 1); // what the servers were told
const WINDOW_MS = number('WINDOW', 60, 0.1) * 1000;
const BURST = whole('BURST', LIMIT, 1);
// Of each algorithm: the most that any window may hold; the least that one does while there is enough to admit, 0 where
// nothing is promised; and how long it may tell a client to wait.
const ALGORITHMS = {
	'sliding-log': { most: LIMIT, least: LIMIT, waitMs: WINDOW_MS },
	'sliding-counter': { most: 2 * LIMIT - 1, least: 0, waitMs: 2 * WINDOW_MS },
	'fixed-window': { most: 2 * LIMIT - 1, least: LIMIT, waitMs: WINDOW_MS },
	'token-bucket': { most: BURST + LIMIT, least: LIMIT - 1, waitMs: WINDOW_MS },
};
const ALGORITHM = __ENV.ALGORITHM || 'sliding-log';
const promise = ALGORITHMS[ALGORITHM];
if (promise === undefined) throw new Error(`ALGORITHM=${ALGORITHM}: must be one of ${Object.keys(ALGORITHMS).join(', ')}`);
const MOST = promise.most;
const LEAST = whole('LEAST', promise.least, 0);
const CLIENTS = whole('CLIENTS', 20, 1);
const EVERY_MS = number('EVERY', 1, 0.01) * 1000;
const UP_MS = Math.round(number('RAMP_UP', 30, 0) * 1000);
const STEADY_MS = Math.round(number('STEADY', 60, 0) * 1000);
const DOWN_MS = Math.round(number('RAMP_DOWN', 10, 0) * 1000);
const PATIENT = number('PATIENT', 1, 0) > 0;
if (UP_MS + STEADY_MS + DOWN_MS === 0) throw new Error('RAMP_UP, STEADY and RAMP_DOWN are all 0: nothing to do');
// How late the clients may be in taking up what is free, before it counts as denied to them.
const SLACK_MS = number('SLACK', Math.ceil(LIMIT / CLIENTS) * (EVERY_MS / 1000) + 1, 0) * 1000;

const DRIFT = 0.0005; // two clocks in step with NTP differ by no more in their rates
const JUDGED_MS = WINDOW_MS * (1 - DRIFT);
const REACH_MS = WINDOW_MS * (1 + DRIFT) + SLACK_MS; // what `reaches` are long
const TOLERANCE_MS = 250; // of a moment that the server told in whole seconds, perhaps from memory
const RETRY_MAX_S = Math.ceil(promise.waitMs / 1000) + (WINDOW_MS > 2100000 ? 1 : 0); // long windows are kept in coarser steps
const PAUSE_MS = 2000; // from the end of the story to the patient client
const STORY_MS = UP_MS + STEADY_MS + DOWN_MS;
const PATIENT_MS = PATIENT ? PAUSE_MS + RETRY_MAX_S * 1000 + 5000 : 0;
const WHOLE_MS = STORY_MS + PATIENT_MS + 3 * TIMEOUT_MS; // by then k6 has ended both scenarios, however late they are

// From the start of one judged window to that of the next. Each has a threshold, so there may not be too many.
const STEP_MS = Math.max(WINDOW_MS / 240, WHOLE_MS / 1000);

// Both begin at k * STEP_MS: `windows` since the test began, `reaches` since the story did. Of `windows` none may hold
// more than MOST, of `reaches` none less than LEAST.
function range(first, last) {
	return Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i);
}
const windows = range(0, Math.ceil(Math.max(0, WHOLE_MS - WINDOW_MS) / STEP_MS));
// A window at whose end all clients are there: what was counted before its start is free again by then.
const reaches = LEAST > 0 ? range(Math.ceil(Math.max(0, UP_MS - WINDOW_MS) / STEP_MS),
	Math.floor((UP_MS + STEADY_MS - REACH_MS) / STEP_MS)) : [];

const admitted = new Counter('admitted');
const denied = new Counter('denied');
const inWindow = new Counter('admitted_in_window'); // surely in this window; tag `window`
const inReach = new Counter('admitted_in_reach'); // perhaps in this window and SLACK; tag `reach`
const wrongAnswers = new Counter('wrong_answers'); // neither 200 nor 429
const partAnswers = new Counter('incomplete_answers'); // 200 without a link, 429 without its reason
const retryMissing = new Counter('retry_after_missing');
const retryLies = new Counter('retry_after_lies');
const patientWaits = new Counter('patient_waits');

// What must hold of a plain Counter: the least and the most that it may come to, and what to call it. The windows are beside these.
const promises = [
	['wrong_answers', 0, 0, 'answers other than 200 and 429'],
	['incomplete_answers', 0, 0, '200 without short link, 429 without reason'],
	['retry_after_missing', 0, 0, '429 without Retry-After'],
	['retry_after_lies', 0, 0, 'Retry-After that was not true'],
];
if (PATIENT) promises.push(['patient_waits', 1, 1, 'clients that waited as they were told']);
// Where no window tells how little is too little, nothing at all still is.
if (reaches.length === 0) promises.push(['admitted', 1, Infinity, 'admitted in all']);

function thresholds() {
	const all = { checks: ['rate==1'], http_req_failed: ['rate==0'] };
	for (const [name, least, most] of promises) {
		all[name] = [`count>=${least}`];
		if (most < Infinity) all[name].push(`count<=${most}`);
	}
	for (const k of windows) all[`admitted_in_window{window:${k}}`] = [`count<=${MOST}`];
	for (const k of reaches) all[`admitted_in_reach{reach:${k}}`] = [`count>=${LEAST}`];
	return all;
}

function scenarios() {
	const all = {
		story: {
			executor: 'ramping-vus',
			exec: 'client',
			startVUs: 0,
			stages: [
				{ duration: `${UP_MS}ms`, target: CLIENTS },
				{ duration: `${STEADY_MS}ms`, target: CLIENTS },
				{ duration: `${DOWN_MS}ms`, target: 0 },
			],
			gracefulRampDown: `${TIMEOUT_MS}ms`,
			gracefulStop: `${TIMEOUT_MS}ms`,
		},
	};
	if (PATIENT) {
		all.patient = { executor: 'per-vu-iterations', exec: 'patient', vus: 1, iterations: 1,
			startTime: `${STORY_MS + PAUSE_MS}ms`, maxDuration: `${PATIENT_MS + TIMEOUT_MS}ms`, gracefulStop: `${TIMEOUT_MS}ms` };
	}
	return all;
}

export const options = { scenarios: scenarios(), thresholds: thresholds() };

const PARAMS = { timeout: TIMEOUT_MS, redirects: 0, tags: { name: 'POST /shorten' } };
http.setResponseCallback(http.expectedStatuses(200, 429));

// Every Counter gets a sample, so that none is passed over for having none. @return when the story begins: no executor has
// anything to do before.
export function setup() {
	mustAnswer();
	for (const counter of [admitted, denied, wrongAnswers, partAnswers, retryMissing, retryLies, patientWaits]) counter.add(0);
	for (const k of windows) inWindow.add(0, { window: String(k) });
	for (const k of reaches) inReach.add(0, { reach: String(k) });
	return { began: exec.instance.currentTestRunDuration };
}

function randomUrl() {
	const some = () => Math.random().toString(36).slice(2);
	return `https://example.com/${some()}${some()}?client=${exec.vu.idInTest}`;
}

// One request of a story that began then. Its decision was made between `sent` and `came`.
function ask(began) {
	const sent = exec.instance.currentTestRunDuration;
	const answer = http.post(`${BASE_URL}/shorten`, { url: randomUrl() }, PARAMS);
	const came = exec.instance.currentTestRunDuration;
	const shot = { answer, sent, came, began };
	judge(shot);
	return shot;
}

// As this client knows: before this moment the limiter can't admit anybody, as it said itself in a 429. Such moments only
// ever move on, whoever else is admitted meanwhile.
let closedUntil = 0;
let complaints = 0;

function complain(text) {
	complaints += 1;
	if (complaints <= 3) console.error(text);
}

function judge(shot) {
	const { answer } = shot;
	check(answer, { '200 or 429': (r) => r.status === 200 || r.status === 429 });
	if (answer.status === 200) judgeAdmission(shot);
	else if (answer.status === 429) judgeDenial(shot);
	else {
		wrongAnswers.add(1);
		complain(`POST /shorten: ${said(answer)}`);
	}
}

function lie(text) {
	retryLies.add(1);
	complain(`Retry-After: ${text}`);
}

const seconds = (ms) => `${(ms / 1000).toFixed(3)} s`;

function judgeAdmission({ answer, sent, came, began }) {
	if (!check(answer, { '200 with a short link': (r) => codeOf(r) !== undefined })) partAnswers.add(1);
	admitted.add(1);
	// Surely within [k * STEP_MS, k * STEP_MS + JUDGED_MS).
	for (let k = Math.max(0, Math.floor((came - JUDGED_MS) / STEP_MS) + 1); k <= sent / STEP_MS && k < windows.length; k += 1) {
		inWindow.add(1, { window: String(k) });
	}
	for (const k of reaches) {
		if (came >= began + k * STEP_MS && sent <= began + k * STEP_MS + REACH_MS) inReach.add(1, { reach: String(k) });
	}
	if (came < closedUntil - TOLERANCE_MS) {
		lie(`admitted at ${seconds(came)}, when a 429 had said not before ${seconds(closedUntil)}`);
	}
}

function judgeDenial(shot) {
	const { answer, sent, came } = shot;
	denied.add(1);
	if (!check(answer, { '429 with its reason': (r) => parsed(r.body).error === 'Rate limit exceeded' })) partAnswers.add(1);
	const told = answer.headers['Retry-After'];
	if (!check(answer, { '429 with Retry-After': () => told !== undefined && told !== '' })) {
		retryMissing.add(1);
		return;
	}
	if (!/^[0-9]+$/.test(told) || Number(told) < 1 || Number(told) > RETRY_MAX_S) {
		lie(`"${told}" is not between 1 and ${RETRY_MAX_S}`);
		return;
	}
	shot.retryMs = Number(told) * 1000;
	// It is rounded up: the limit opens between one second less and this, from when the request was decided.
	if (came + shot.retryMs < closedUntil - TOLERANCE_MS) {
		lie(`${told} s at ${seconds(came)}, when an earlier 429 had said not before ${seconds(closedUntil)}`);
	}
	closedUntil = Math.max(closedUntil, sent + shot.retryMs - 1000);
}

function sleepUntil(moment) {
	const left = moment - exec.instance.currentTestRunDuration;
	if (left > 0) sleep(left / 1000);
}

export function client({ began }) {
	const { sent } = ask(began);
	sleepUntil(sent + EVERY_MS);
}

// Alone, a Retry-After can be held to its word on both sides: not yet two seconds before it is up, and then at once.
export function patient({ began }) {
	complaints = 0; // k6 may have made it of a client of the story, which had its say
	let shot = ask(began);
	for (let i = 0; i < 3 * MOST && shot.answer.status === 200; i += 1) shot = ask(began);
	if (shot.retryMs === undefined) return; // never denied, or not rightly: others count that
	const openAt = shot.came + shot.retryMs * (1 + DRIFT);
	if (shot.retryMs > 2000) {
		sleepUntil(shot.came + shot.retryMs - 2000);
		ask(began);
	}
	sleepUntil(openAt);
	const last = ask(began);
	if (last.answer.status === 429) lie(`denied at ${seconds(last.came)}, after waiting ${shot.retryMs / 1000} s as told`);
	patientWaits.add(1);
}

function counts(data, names) {
	return names.map((name) => valuesOf(data, name).count).filter((count) => count !== undefined);
}

// Tells in words what the thresholds decide. They alone set the exit status.
export function handleSummary(data) {
	const window = `${WINDOW_MS / 1000} s`;
	let text = `\nSluice at ${BASE_URL}: ${LIMIT} in ${window} by ${ALGORITHM}, up to ${CLIENTS} clients of one address\n`;
	text += `  requests: ${counts(data, ['admitted'])} admitted, ${counts(data, ['denied'])} denied\n`;
	const most = Math.max(...counts(data, windows.map((k) => `admitted_in_window{window:${k}}`)));
	if (most >= 0) text += line(most <= MOST, `most admitted in ${window}: ${most} of ${MOST}`);
	else text += '  judged by thresholds only, since this summary does not tell: how many were admitted in a window\n';
	const least = Math.min(...counts(data, reaches.map((k) => `admitted_in_reach{reach:${k}}`)));
	if (least < Infinity) {
		text += line(least >= LEAST, `least admitted in ${window} and ${SLACK_MS / 1000} s: ${least} of ${LEAST}`);
	} else if (reaches.length === 0) text += '  not judged: whether it denied too much (see README.md: LEAST)\n';
	for (const [name, fewest, limit, what] of promises) {
		const { count } = valuesOf(data, name);
		if (count !== undefined) text += line(count >= fewest && count <= limit, `${what}: ${count}`);
	}
	return written(data, text);
}
