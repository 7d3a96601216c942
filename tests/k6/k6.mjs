// SPDX-License-Identifier: Apache-2.0
// A stand-in for k6 that runs the scripts of deploy/k6 where k6 can't be had, so that a mistake in them is found by a test.
//
//     node --experimental-vm-modules tests/k6/k6.mjs run [-e NAME=VALUE]... [--new-machine-readable-summary] SCRIPT
//
// Ends as k6 does: 0; 99 when a threshold failed; 104 when the options are wrong; 107 when the script threw, which here
// also an iteration may not do. Written from k6's documentation. Leaves out: all that the scripts do not use; it is refused
// by name.
import { readFileSync, writeFileSync } from 'node:fs';
import { Metrics } from './metrics.mjs';
import { duration, readOptions } from './options.mjs';
import { executors } from './scenarios.mjs';
import { closeConnections, Vu } from './threads.mjs';

const THRESHOLDS_FAILED = 99;
const INVALID_CONFIG = 104;
const SCRIPT_EXCEPTION = 107;
const JUDGE_EVERY_MS = 2000;
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
	const found = { env: {}, machineReadable: false };
	const left = [...words];
	if (left.shift() !== 'run') throw new Failure(INVALID_CONFIG, 'usage: k6.mjs run [-e NAME=VALUE]... SCRIPT');
	while (left.length > 0) {
		const word = left.shift();
		if (word === '-e' || word === '--env') {
			const [name, ...value] = left.shift().split('=');
			found.env[name] = value.join('=');
		} else if (word === '--new-machine-readable-summary') found.machineReadable = true;
		else if (word.startsWith('-') || found.script !== undefined) throw new Failure(INVALID_CONFIG, `unknown argument ${word}`);
		else found.script = word;
	}
	return found;
}

class Test {
	constructor({ script, env, machineReadable }) {
		this.began = new BigInt64Array(new SharedArrayBuffer(8)); // when the test began, for all threads
		this.machineReadable = machineReadable;
		this.world = { source: readFileSync(script, 'utf8'), path: script, env: { ...process.env, ...env }, began: this.began };
		this.vus = [];
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
		this.master = await this.makeVu(0);
		const { options, functions, types } = this.master.told;
		this.functions = functions;
		try {
			this.options = readOptions(options, functions);
			this.metrics = new Metrics(types, this.options.thresholds);
		} catch (error) {
			throw new Failure(INVALID_CONFIG, error.message);
		}
		let id = 0;
		for (const scenario of this.options.scenarios) {
			scenario.own = await Promise.all(Array.from({ length: scenario.vus }, () => this.makeVu(id += 1)));
		}
	}

	async call(name, argument, limitMs) {
		if (!this.functions.includes(name)) return undefined;
		const done = this.master.run({ name, argument });
		const result = await Promise.race([done, pause(limitMs).then(() => ({ error: `${name}() took more than ${limitMs} ms` }))]);
		if (result.error !== undefined) throw new Failure(SCRIPT_EXCEPTION, result.error);
		return result.value;
	}

	async play(scenario, data) {
		await pause(scenario.startTime);
		const begins = this.now();
		const startTime = Date.now();
		let number = 0;
		const run = {
			scenario, vus: scenario.own, now: () => this.now() - begins, aborted: () => this.isAborted,
			dropped: () => this.metrics.add('dropped_iterations', 1, { scenario: scenario.name }),
			iterate: async (vu) => {
				const iteration = { scenario: scenario.name, executor: scenario.executor, tags: scenario.tags, startTime,
					inTest: number, inVu: vu.iterations };
				number += 1;
				vu.iterations += 1;
				const started = this.now();
				const { error } = await vu.run({ name: scenario.exec, argument: data, iteration });
				if (error !== undefined) throw new Failure(SCRIPT_EXCEPTION, error);
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
			&& this.now() >= duration(threshold.delayAbortEval || 0, 'delayAbortEval');
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
		const data = await this.call('setup', undefined, this.options.setupTimeout);
		await Promise.all(this.options.scenarios.map((scenario) => this.play(scenario, data)));
		await this.call('teardown', data, this.options.setupTimeout);
		const seconds = this.now() / 1000;
		const crossed = this.metrics.crossed(seconds);
		await this.tell(seconds);
		if (crossed.length > 0) throw new Failure(THRESHOLDS_FAILED, `thresholds on metrics '${crossed.join(', ')}' have been crossed`);
	}

	async tell(seconds) {
		const summary = this.machineReadable ? this.metrics.machineReadable(seconds) : this.metrics.summary(seconds);
		const written = await this.call('handleSummary', summary, 60000) || { stdout: `${JSON.stringify(summary, null, 2)}\n` };
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
