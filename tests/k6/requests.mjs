// SPDX-License-Identifier: Apache-2.0
// Requests over HTTP/1.1, for all VUs of a run. Each VU keeps its own connections.
import http from 'node:http';

// As Go writes the names of header fields: Retry-After, Ratelimit-Policy.
function canonical(name) {
	return name.toLowerCase().replace(/(^|-)([a-z])/g, (_, dash, letter) => dash + letter.toUpperCase());
}

function fieldsOf(answer) {
	const fields = {};
	for (let i = 0; i < answer.rawHeaders.length; i += 2) {
		const name = canonical(answer.rawHeaders[i]);
		fields[name] = fields[name] === undefined ? answer.rawHeaders[i + 1] : `${fields[name]}, ${answer.rawHeaders[i + 1]}`;
	}
	return fields;
}

export function makeAgent() {
	return new http.Agent({ keepAlive: true, maxSockets: 8 });
}

// Never fails: what goes wrong is in `error`, with status 0. @return a promise of what a VU makes a Response of.
export function exchange(agent, { method, url, headers, body, timeout }) {
	return new Promise((resolve) => {
		const began = performance.now();
		const done = (result) => resolve({ url, status: 0, headers: {}, body: null, error: '', ...result,
			duration: performance.now() - began });
		if (!/^http:\/\/[^/?#]+/.test(url)) return done({ error: `not an HTTP URL: ${url}` });
		const request = http.request(url, { agent, method, headers });
		const timer = setTimeout(() => request.destroy(new Error('request timeout')), timeout);
		request.on('error', (error) => {
			clearTimeout(timer);
			done({ error: error.message || error.code });
		});
		request.on('response', (answer) => {
			const parts = [];
			answer.on('data', (part) => parts.push(part));
			answer.on('error', () => {}); // the request tells it, too
			answer.on('close', () => {
				clearTimeout(timer);
				if (!answer.complete) done({ error: 'unexpected EOF' });
				else done({ status: answer.statusCode, headers: fieldsOf(answer), body: Buffer.concat(parts).toString('utf8') });
			});
		});
		return request.end(body === null ? undefined : body);
	});
}
