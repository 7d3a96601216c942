// SPDX-License-Identifier: Apache-2.0
// The modules that a script may import, as far as the scripts of deploy/k6 use them, written from k6's documentation.
//
// They are strict: an argument that k6 would pass over or guess at is an error here. Leaves out: how a request is made (requests.mjs).
import { NAME } from './metrics.mjs';
import { duration } from './options.mjs';

const PARAMS = ['headers', 'redirects', 'responseCallback', 'tags', 'timeout'];

function none(more, what) {
	if (more.length > 0) throw new TypeError(`${what}: ${more.length} arguments too many`);
}

function asTags(tags, what) {
	for (const [key, value] of Object.entries(tags || {})) {
		if (typeof value !== 'string') throw new TypeError(`${what}: tag ${key} is a ${typeof value}, not a string`);
	}
	return tags || {};
}

function metricClass(vu, type) {
	return class {
		constructor(name, isTime, ...more) {
			none(more, `metric ${name}`);
			if (!vu.inInit) throw new Error(`metric ${name}: can only be made in the init context`);
			if (!NAME.test(name)) throw new Error(`metric "${name}": not a name`);
			if (isTime !== undefined && typeof isTime !== 'boolean') throw new TypeError(`metric ${name}: isTime is no boolean`);
			this.name = name;
			vu.declare(name, type);
		}

		add(value, tags, ...more) {
			none(more, `metric ${this.name}`);
			if (vu.inInit) throw new Error(`metric ${this.name}: nothing can be added in the init context`);
			const number = typeof value === 'boolean' ? Number(value) : value;
			if (typeof number !== 'number' || Number.isNaN(number)) throw new TypeError(`metric ${this.name}: ${value} is no number`);
			if (type === 'counter' && number < 0) throw new RangeError(`metric ${this.name}: a Counter only grows`);
			vu.sample(this.name, number, asTags(tags, `metric ${this.name}`));
		}
	};
}

function makeResponse({ status, headers, body, error, url, duration: took }) {
	const json = (...more) => {
		none(more, 'response.json');
		return JSON.parse(body);
	};
	const timings = guarded('response.timings', { duration: () => took });
	return guarded('response', { status: () => status, headers: () => headers, body: () => body, error: () => error, url: () => url,
		timings: () => timings, json: () => json });
}

function encode(body, headers) {
	if (body === null || body === undefined || typeof body === 'string') return body === undefined ? null : body;
	if (typeof body !== 'object' || Array.isArray(body)) throw new TypeError('http: a body is a string or an object of fields');
	const name = Object.keys(headers).find((key) => key.toLowerCase() === 'content-type');
	if (name === undefined) headers['Content-Type'] = 'application/x-www-form-urlencoded';
	const escape = (text) => encodeURIComponent(text).replace(/%20/g, '+');
	return Object.entries(body).map(([key, value]) => `${escape(key)}=${escape(value)}`).join('&');
}

function httpModule(vu) {
	const made = new WeakSet(); // by expectedStatuses(): k6 takes no function of a script's own
	function asCallback(callback) {
		if (callback !== null && !made.has(callback)) throw new TypeError('http: a response callback is made by http.expectedStatuses()');
		return callback;
	}
	let expected = (status) => status >= 200 && status < 400;
	function request(method, url, body, params, more) {
		none(more, `http.${method}`);
		if (vu.inInit) throw new Error('no request can be made in the init context');
		const odd = Object.keys(params).filter((key) => !PARAMS.includes(key));
		if (odd.length > 0) throw new TypeError(`http: unknown params ${odd}`);
		const callback = params.responseCallback === undefined ? expected : asCallback(params.responseCallback);
		const headers = { 'User-Agent': 'k6-standin', ...params.headers };
		for (const [name, value] of Object.entries(headers)) {
			if (typeof value !== 'string') throw new TypeError(`http: header ${name} is a ${typeof value}, not a string`);
		}
		const encoded = encode(body, headers);
		if (encoded !== null) headers['Content-Length'] = String(Buffer.byteLength(encoded));
		const timeout = duration(params.timeout === undefined ? '60s' : params.timeout, 'http: timeout');
		const result = vu.exchange({ method, url: String(url), headers, body: encoded, timeout });
		if (result.status >= 300 && result.status < 400 && params.redirects !== 0) {
			throw new Error(`${method} ${url}: ${result.status} would be followed: give redirects: 0`);
		}
		const tags = { method, status: String(result.status), name: String(url), ...asTags(params.tags, 'http') };
		if (callback !== null) {
			const passed = callback(result.status);
			tags.expected_response = String(passed);
			vu.sample('http_req_failed', passed ? 0 : 1, tags);
		}
		vu.sample('http_reqs', 1, tags);
		vu.sample('http_req_duration', result.duration, tags);
		return makeResponse(result);
	}
	const expectedStatuses = (...wanted) => {
		if (!wanted.every((one) => Number.isInteger(one) || (one && Number.isInteger(one.min) && Number.isInteger(one.max)))) {
			throw new TypeError('http.expectedStatuses: statuses, or {min, max}');
		}
		const callback = (status) => wanted.some((one) => (Number.isInteger(one) ? one === status : status >= one.min && status <= one.max));
		made.add(callback);
		return callback;
	};
	return {
		get: (url, params = {}, ...more) => request('GET', url, null, params, more),
		post: (url, body, params = {}, ...more) => request('POST', url, body, params, more),
		expectedStatuses,
		setResponseCallback: (callback) => { expected = asCallback(callback); },
	};
}

function coreModule(vu) {
	return {
		check(value, checks, tags, ...more) {
			none(more, 'check');
			if (vu.inInit) throw new Error('check: not in the init context');
			let all = true;
			for (const [name, holds] of Object.entries(checks)) {
				if (name.includes('::')) throw new Error(`check "${name}": k6 keeps :: for its own names`);
				const result = typeof holds === 'function' ? holds(value) : holds;
				if (result && typeof result.then === 'function') throw new TypeError(`check "${name}": a promise is always true`);
				const passed = Boolean(result);
				vu.sample('checks', passed ? 1 : 0, { check: name, ...asTags(tags, 'check') });
				all = all && passed;
			}
			return all;
		},
		sleep(seconds) {
			if (vu.inInit) throw new Error('sleep: not in the init context');
			if (typeof seconds !== 'number' || !(seconds >= 0)) throw new TypeError(`sleep: ${seconds} is not a time in seconds`);
			vu.sleep(seconds * 1000);
		},
		fail(reason) {
			throw new Error(reason);
		},
	};
}

// What can't be had in this place is an error, not undefined.
function guarded(what, getters) {
	return new Proxy(getters, {
		get(target, key) {
			if (typeof key === 'symbol') return undefined;
			if (!(key in target)) throw new TypeError(`${what}.${key}: not to be had here`);
			return target[key]();
		},
		set() {
			throw new TypeError(`${what} can't be changed`);
		},
	});
}

function executionModule(vu) {
	const running = (read) => () => {
		if (!vu.iteration) throw new Error('k6/execution: only within an iteration');
		return read(vu.iteration);
	};
	const id = () => {
		if (vu.inInit) throw new Error('exec.vu: not in the init context');
		return vu.id;
	};
	return {
		instance: guarded('exec.instance', {
			currentTestRunDuration: () => {
				if (vu.inInit) throw new Error('exec.instance: not in the init context');
				return vu.now();
			},
		}),
		scenario: guarded('exec.scenario', {
			name: running((one) => one.scenario), executor: running((one) => one.executor), startTime: running((one) => one.startTime),
			iterationInTest: running((one) => one.inTest), iterationInInstance: running((one) => one.inTest),
		}),
		vu: guarded('exec.vu', { idInTest: id, idInInstance: id, iterationInInstance: running((one) => one.inVu) }),
	};
}

// @return {module name: {export name: value}}
export function makeModules(vu) {
	const spread = (module) => ({ ...module, default: module });
	const metrics = {};
	for (const name of ['Counter', 'Gauge', 'Rate', 'Trend']) metrics[name] = metricClass(vu, name.toLowerCase());
	return { k6: spread(coreModule(vu)), 'k6/http': spread(httpModule(vu)), 'k6/metrics': spread(metrics),
		'k6/execution': { default: executionModule(vu) } };
}
