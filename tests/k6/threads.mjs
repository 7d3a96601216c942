// SPDX-License-Identifier: Apache-2.0
// VUs as the main thread sees them: threads that are told to run a function, one at a time. Leaves out: when (scenarios.mjs).
import { MessageChannel, Worker } from 'node:worker_threads';
import { exchange, makeAgents } from './requests.mjs';

let opened = [];

export class Vu {
	// @param world  {path, env, began, network} of the script; @param hear  {samples, say} for what the VU reports.
	constructor(world, id, hear) {
		this.id = id;
		this.hear = hear;
		this.iterations = 0;
		this.agents = makeAgents(world.network);
		opened.push(...Object.values(this.agents));
		this.wake = new Int32Array(new SharedArrayBuffer(4));
		const { port1, port2 } = new MessageChannel();
		this.answers = port1;
		this.answers.unref();
		this.worker = new Worker(new URL('./vu.mjs', import.meta.url), {
			workerData: { ...world, id, answers: port2, wake: this.wake.buffer }, transferList: [port2] });
		this.worker.on('message', (message) => this.receive(message));
		this.worker.on('error', (error) => this.end({ error: `thread of VU ${this.id}: ${error.stack}` }));
		this.worker.on('exit', () => this.end({ error: 'ended' }));
		this.ready = new Promise((resolve) => { this.waiting = resolve; });
	}

	end(result) {
		if (this.waiting) this.waiting(result);
		this.waiting = null;
	}

	receive(message) {
		switch (message.kind) {
		case 'samples': this.hear.samples(message.samples); break;
		case 'console': this.hear.say(message.level, message.text); break;
		case 'request': this.request(message.request); break;
		case 'ready': this.end(message); break;
		case 'failed': this.end(message); break;
		default: this.end(message.result);
		}
	}

	async request(request) {
		const result = await exchange(this.agents, request);
		this.answers.postMessage(result);
		Atomics.store(this.wake, 0, 1);
		Atomics.notify(this.wake, 0);
	}

	get busy() {
		return Boolean(this.waiting);
	}

	// Runs an exported function. @return a promise of {value} or {error}.
	run(order) {
		return new Promise((resolve) => {
			this.waiting = resolve;
			this.worker.postMessage(order);
		});
	}

	stop() {
		return this.worker.terminate();
	}
}

export function closeConnections() {
	for (const agent of opened) agent.destroy();
	opened = [];
}
