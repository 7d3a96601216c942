// SPDX-License-Identifier: Apache-2.0
// A stand-in for k6 that runs the scripts of deploy/k6 where k6 can't be had, so that a mistake in them is found by a test.
//
//     node --experimental-vm-modules tests/k6/k6.mjs run [-e NAME=VALUE]... [--insecure-skip-tls-verify] [--local-ips IP]
//                                                        [--new-machine-readable-summary] SCRIPT
//
// Ends as k6 does: 0; 99 when a threshold failed; 100 when setup() took too long; 104 when the options are wrong; 107 when
// the script threw, which here also an iteration may not do. Written from k6's documentation. Leaves out: all that the
// scripts do not use; it is refused by name.
import { writeFileSync } from 'node:fs';
import { Metrics } from './metrics.mjs';
import { readOptions } from './options.mjs';
import { executors } from './scenarios.mjs';
import { closeConnections, Vu } from './threads.mjs';

const THRESHOLDS_FAILED = 99;
const SETUP_TIMEOUT = 100;
const TEARDOWN_TIMEOUT = 101;
const GENERIC_TIMEOUT = 102;
const INVALID_CONFIG = 104;
const SCRIPT_EXCEPTION = 107;
const JUDGE_EVERY_MS = 2000;
const SUMMARY_MS = 60000;
const STEP_MS = 20;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms).unref(); });

class Failure extends Error {
	constructor(status, message) {
		super(message);
		this.status = status;
	}
}

function say(level, text) {
	process.stderr.write(`level=${level} msg=${JSON.stringify(text)}\n`);
}

function readArguments(words) {
	const found = { env: {}, machineReadable: false, trustsAnyone: false };
	const left = [...words];
	if (left.shift() !== 'run') throw new Failure(INVALID_CONFIG, 'usage: k6.mjs run [-e NAME=VALUE]... SCRIPT');
	while (left.length > 0) {
		const word = left.shift();
		if (word === '-e' || word === '--env') {
			const [name, ...value] = left.shift().split('=');
			found.env[name] = value.join('=');
		} else if (word === '--new-machine-readable-summary') found.machineReadable = true;
		else if (word === '--insecure-skip-tls-verify') found.trustsAnyone = true;
		else if (word === '--local-ips') found.localAddress = left.shift();
		else if (word.startsWith('-') || found.script !== undefined) throw new Failure(INVALID_CONFIG, `unknown argument ${word}`);
		else found.script = word;
	}
	return found;
}

class Test {
	constructor({ script, env, machineReadable, trustsAnyone, localAddress }) {
		this.began = new BigInt64Array(new SharedArrayBuffer(8)); // when the test began, for all threads
		this.machineReadable = machineReadable;
		this.world = { path: script, env: { ...process.env, ...env }, began: this.began,
			network: { trustsAnyone, localAddress } };
		this.vus = [];
		this.pool = []; // VUs that no scenario has
		this.isAborted = false;
		this.hear = { say, samples: (samples) => samples.forEach(([name, value, tags]) => this.metrics.add(name, value, tags)) };
	}

	now() {
		return Number(process.hrtime.bigint() - this.began[0]) / 1e6;
	}

	// @param id  0 for what is no VU: reading the options, setup(), handleSummary().
	async makeVu(id) {
		const vu = new Vu(this.world, id, this.hear);
		this.vus.push(vu);
		const told = await vu.ready;
		if (told.error !== undefined) throw new Failure(SCRIPT_EXCEPTION, told.error);
		vu.told = told;
		return vu;
	}

	async prepare() {
		const { options, functions, types } = (await this.makeVu(0)).told;
		this.functions = functions;
		try {
			this.options = readOptions(options, functions);
			this.metrics = new Metrics(types, this.options.thresholds);
		} catch (error) {
			throw new Failure(INVALID_CONFIG, error.message);
		}
		const count = this.options.scenarios.reduce((sum, scenario) => sum + scenario.vus, 0);
		this.pool = await Promise.all(Array.from({ length: count }, (_, i) => this.makeVu(count - i)));
	}

	// Calls a function that belongs to no scenario, in a world of its own: what it leaves in variables nobody sees.
	async call(name, argument, limitMs, timeoutStatus) {
		if (!this.functions.includes(name)) return undefined;
		const done = (await this.makeVu(0)).run({ name, argument });
		const late = pause(limitMs).then(() => { throw new Failure(timeoutStatus, `${name}() took more than ${limitMs} ms`); });
		const result = await Promise.race([done, late]);
		if (result.error !== undefined) throw new Failure(SCRIPT_EXCEPTION, result.error);
		return result.value;
	}

	async play(scenario, data) {
		const due = this.now() + scenario.startTime;
		while (this.now() < due && !this.isAborted) await pause(Math.min(STEP_MS, due - this.now()));
		if (this.isAborted) return;
		const begins = this.now();
		const startTime = Date.now();
		let number = 0;
		const run = {
			scenario, now: () => this.now() - begins, aborted: () => this.isAborted,
			// As in k6, one scenario's VU may be another's afterwards. Here the one that was last at work is the first to be.
			take: () => this.pool.pop(), give: (vu) => this.pool.push(vu),
			dropped: () => this.metrics.add('dropped_iterations', 1, { scenario: scenario.name }),
			iterate: async (vu) => {
				const iteration = { scenario: scenario.name, executor: scenario.executor, tags: scenario.tags, startTime,
					inTest: number, inVu: vu.iterations };
				number += 1;
				vu.iterations += 1;
				const started = this.now();
				const { error } = await vu.run({ name: scenario.exec, argument: data, iteration });
				if (error !== undefined) {
					this.failure = this.failure || new Failure(SCRIPT_EXCEPTION, error);
					this.isAborted = true;
				}
				this.metrics.add('iterations', 1, { scenario: scenario.name });
				this.metrics.add('iteration_duration', this.now() - started, { scenario: scenario.name });
			},
		};
		const ended = executors[scenario.executor](run).then(() => true);
		const limit = pause(scenario.length + scenario.gracefulStop + 1000);
		if (!await Promise.race([ended, limit])) say('warning', `${scenario.name}: its last iterations are cut off`);
	}

	// Ends the run when a threshold with abortOnFail has failed.
	watch() {
		const due = (threshold, sink) => threshold.abortOnFail && sink.count > 0
			&& this.now() >= threshold.delayAbortEvalMs;
		this.watching = setInterval(() => {
			const crossed = this.metrics.crossed(this.now() / 1000, due);
			if (crossed.length > 0 && !this.isAborted) {
				say('error', `thresholds on metrics '${crossed.join(', ')}' were crossed; at least one has abortOnFail enabled, stopping`);
				this.isAborted = true;
			}
		}, JUDGE_EVERY_MS);
	}

	async run() {
		await this.prepare();
		this.began[0] = process.hrtime.bigint();
		this.watch();
		const data = await this.call('setup', undefined, this.options.setupTimeout, SETUP_TIMEOUT);
		await Promise.all(this.options.scenarios.map((scenario) => this.play(scenario, data)));
		if (this.failure !== undefined) throw this.failure;
		await this.call('teardown', data, this.options.setupTimeout, TEARDOWN_TIMEOUT);
		const seconds = this.now() / 1000;
		const crossed = this.metrics.crossed(seconds);
		await this.tell(seconds);
		if (crossed.length > 0) throw new Failure(THRESHOLDS_FAILED, `thresholds on metrics '${crossed.join(', ')}' have been crossed`);
	}

	async tell(seconds) {
		const summary = this.machineReadable ? this.metrics.machineReadable(seconds) : this.metrics.summary(seconds);
		const written = await this.call('handleSummary', summary, SUMMARY_MS, GENERIC_TIMEOUT) || { stdout: `${JSON.stringify(summary, null, 2)}\n` };
		for (const [where, text] of Object.entries(written)) {
			if (where === 'stdout' || where === 'stderr') process[where].write(text);
			else writeFileSync(where, text);
		}
	}

	async end() {
		clearInterval(this.watching);
		await Promise.all(this.vus.map((vu) => vu.stop()));
		closeConnections();
	}
}

async function main(words) {
	let test;
	try {
		test = new Test(readArguments(words));
		await test.run();
		return 0;
	} catch (error) {
		say('error', error instanceof Failure ? error.message : error.stack);
		return error instanceof Failure ? error.status : 1;
	} finally {
		if (test !== undefined) await test.end();
	}
}

process.exitCode = await main(process.argv.slice(2));
