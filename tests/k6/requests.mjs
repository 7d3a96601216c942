// SPDX-License-Identifier: Apache-2.0
// Requests over HTTP/1.1, also in TLS, for all VUs of a run. Each VU keeps its own connections. Leaves out: HTTP/2, which k6
// speaks with servers that offer it in TLS.
import http from 'node:http';
import https from 'node:https';

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

// @param trustsAnyone  whether a server's certificate may be anybody's; @param localAddress  where connections come from, or undefined.
export function makeAgents({ trustsAnyone, localAddress }) {
	const settings = { keepAlive: true, maxSockets: 8, localAddress };
	return { 'http:': new http.Agent(settings), 'https:': new https.Agent({ ...settings, rejectUnauthorized: !trustsAnyone }) };
}

// Never fails: what goes wrong is in `error`, with status 0. @return a promise of what a VU makes a Response of.
export function exchange(agents, { method, url, headers, body, timeout }) {
	return new Promise((resolve) => {
		const began = performance.now();
		const done = (result) => resolve({ url, status: 0, headers: {}, body: null, error: '', ...result,
			duration: performance.now() - began });
		const found = /^(https?:)\/\/[^/?#]+/.exec(url);
		if (!found) return done({ error: `not an HTTP URL: ${url}` });
		const request = (found[1] === 'https:' ? https : http).request(url, { agent: agents[found[1]], method, headers });
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
