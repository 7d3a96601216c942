// SPDX-License-Identifier: Apache-2.0
// What both load tests do alike: read their settings, see that somebody answers, tell what came of it.
//
// Leaves out: what is sent, and what is judged.
import http from 'k6/http';

export const TIMEOUT_MS = 10000; // of every request

export function number(name, usual, least) {
	const given = __ENV[name];
	if (given === undefined || given === '') return usual;
	const value = Number(given);
	if (!(value >= least && value < 1e9)) throw new Error(`${name}=${given}: must be a number from ${least} on`);
	return value;
}

export function whole(name, usual, least) {
	const value = number(name, usual, least);
	if (!Number.isInteger(value)) throw new Error(`${name}=${value}: must be a whole number`);
	return value;
}

// Where requests go: an http or https URL, perhaps with a path, that everything is put behind.
function baseUrl() {
	const given = __ENV.BASE_URL || 'http://10.0.0.100';
	if (!/^https?:\/\/[^\s/?#]+(\/[^\s?#]*)?$/.test(given)) {
		throw new Error(`BASE_URL=${given}: must be http://HOST, http://HOST:PORT or the same with https, and perhaps a path`);
	}
	return given.replace(/\/+$/, '');
}

export const BASE_URL = baseUrl();

// Sees that somebody is there before anything begins. Any answer will do, if it does not send us elsewhere.
export function mustAnswer() {
	const answer = http.get(`${BASE_URL}/healthz`, { timeout: TIMEOUT_MS, redirects: 0, responseCallback: null, tags: { name: 'GET /healthz' } });
	const how = __ENV.BASE_URL ? '' : '; without -e BASE_URL=http://HOST it is the reference plant that is asked';
	if (answer.status === 0) throw new Error(`BASE_URL=${BASE_URL}: no answer (${answer.error})${how}`);
	if (answer.status >= 300 && answer.status < 400) {
		throw new Error(`BASE_URL=${BASE_URL}: answers ${answer.status} and sends us to ${answer.headers.Location}: give -e BASE_URL= that${how}`);
	}
}

// An answer that was not expected, in words.
export function said(answer) {
	return answer.status === 0 ? answer.error : `${answer.status} ${String(answer.body).slice(0, 200)}`;
}

// The object that a body holds as JSON; an empty one if it holds none.
export function parsed(body) {
	try {
		return JSON.parse(body) || {};
	} catch (error) {
		return {};
	}
}

// The code in the answer to POST /shorten, with its slash, or undefined.
export function codeOf(answer) {
	const found = parsed(answer.body).short_url;
	return /^\/[0-9A-Za-z_-]+$/.test(found) ? found : undefined;
}

// Of handleSummary()'s data: what a metric came to, in the form of the summary up to k6 1.x or in that of 2.0. Empty when it is not told.
export function valuesOf(data, name) {
	const found = Array.isArray(data.metrics) || !data.metrics
		? ((data.results || data).metrics || []).find((metric) => metric.name === name) : data.metrics[name];
	return (found && found.values) || {};
}

export function line(kept, text) {
	return `  ${kept ? 'kept  ' : 'BROKEN'}  ${text}\n`;
}

// What handleSummary() returns.
export function written(data, text) {
	const files = { stdout: text };
	if (__ENV.SUMMARY) files[__ENV.SUMMARY] = JSON.stringify(data, null, 2);
	return files;
}
