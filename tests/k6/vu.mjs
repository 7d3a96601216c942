// SPDX-License-Identifier: Apache-2.0
// One VU: a thread with a JavaScript world of its own, in which there is what k6 has and nothing of Node's.
//
// As in k6, a request and sleep() hold the VU up until they are done. The requests themselves are made by the main thread.
// Leaves out: `open()`, timers, and all else that the scripts have no use for.
import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import vm from 'node:vm';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { makeModules } from './modules.mjs';

const { path, id, env, began, answers, wake } = workerData;
const bell = new Int32Array(wake);
const never = new Int32Array(new SharedArrayBuffer(4));
const globals = { __ENV: { ...env }, __VU: id, __ITER: 0 };

const vu = {
	id,
	inInit: true,
	iteration: null,
	types: {},
	samples: [],
	now: () => Number(process.hrtime.bigint() - began[0]) / 1e6,
	sleep: (ms) => Atomics.wait(never, 0, 0, ms),
	declare(name, type) {
		if (this.types[name] !== undefined && this.types[name] !== type) throw new Error(`metric ${name}: there is one of another type`);
		this.types[name] = type;
	},
	sample(name, value, tags) {
		const own = this.iteration ? { scenario: this.iteration.scenario, ...this.iteration.tags } : {};
		this.samples.push([name, value, { ...own, ...tags }]);
		if (this.samples.length >= 256) this.flush();
	},
	flush() {
		if (this.samples.length > 0) parentPort.postMessage({ kind: 'samples', samples: this.samples });
		this.samples = [];
	},
	exchange(request) {
		this.flush();
		Atomics.store(bell, 0, 0);
		parentPort.postMessage({ kind: 'request', request });
		Atomics.wait(bell, 0, 0);
		return receiveMessageOnPort(answers).message;
	},
};

function makeConsole() {
	const say = (level) => (...words) => parentPort.postMessage({ kind: 'console', level, text: words.map(String).join(' ') });
	return { log: say('info'), info: say('info'), warn: say('warning'), error: say('error'), debug: () => {} };
}

// Runs in the script's world: takes away what Node's JavaScript has and k6's has not, or had not in the oldest k6 that is promised.
function forget() {
	/* eslint-disable no-extend-native */
	for (const name of ['WebAssembly', 'SharedArrayBuffer', 'Atomics', 'Intl', 'WeakRef', 'FinalizationRegistry', 'Iterator']) {
		delete globalThis[name];
	}
	const younger = { Array: ['fromAsync'], Object: ['groupBy'], Map: ['groupBy'], Promise: ['withResolvers'] };
	for (const [type, names] of Object.entries(younger)) for (const name of names) delete globalThis[type][name];
	const methods = { Array: ['findLast', 'findLastIndex', 'toReversed', 'toSorted', 'toSpliced', 'with', 'toLocaleString'],
		String: ['isWellFormed', 'toWellFormed', 'toLocaleLowerCase', 'toLocaleUpperCase'], Number: ['toLocaleString'],
		BigInt: ['toLocaleString'], Date: ['toLocaleString', 'toLocaleDateString', 'toLocaleTimeString'] };
	for (const [type, names] of Object.entries(methods)) for (const name of names) delete globalThis[type].prototype[name];
}

// So that a script which counts on its copy of setup()'s data being another VU's, or a new one each time, is found out.
function frozen(value) {
	if (typeof value === 'object' && value !== null) Object.values(Object.freeze(value)).forEach(frozen);
	return value;
}

const files = new Map(); // modules by path: each is there once

function fileModule(file, settings) {
	if (!files.has(file)) files.set(file, new vm.SourceTextModule(readFileSync(file, 'utf8'), { ...settings, identifier: file }));
	return files.get(file);
}

async function load() {
	const context = vm.createContext({ ...globals, console: makeConsole() }, { codeGeneration: { strings: false, wasm: false } });
	vm.runInContext(`(${forget})()`, context);
	const modules = makeModules(vu);
	const initializeImportMeta = () => { throw new Error('import.meta: not to be had here'); };
	const script = fileModule(resolve(path), { context, initializeImportMeta });
	await script.link((name, from) => {
		if (/^\.\.?\//.test(name)) return fileModule(resolve(dirname(from.identifier), name), { context, initializeImportMeta });
		if (modules[name] === undefined) throw new Error(`${from.identifier} imports "${name}": not a file, and not one of ${Object.keys(modules)}`);
		return new vm.SyntheticModule(Object.keys(modules[name]), function give() {
			for (const [key, value] of Object.entries(modules[name])) this.setExport(key, value);
		}, { context });
	});
	await script.evaluate();
	return { context, exported: script.namespace };
}

// Runs one function of the script to its end. @return {value} or {error}.
function run(world, { name, argument, iteration }) {
	vu.inInit = false;
	vu.iteration = iteration || null;
	if (iteration) world.context.__ITER = iteration.inVu;
	try {
		const value = world.exported[name](name === 'handleSummary' ? argument : frozen(argument));
		if (value && typeof value.then === 'function') throw new Error(`${name}() is asynchronous: not to be had here`);
		return { value: value === undefined ? undefined : JSON.parse(JSON.stringify(value)) };
	} catch (error) {
		return { error: String((error && error.stack) || error) };
	} finally {
		vu.flush();
	}
}

try {
	const world = await load();
	const names = Object.keys(world.exported);
	parentPort.on('message', (order) => parentPort.postMessage({ kind: 'done', result: run(world, order) }));
	parentPort.postMessage({ kind: 'ready', types: vu.types, options: JSON.parse(JSON.stringify(world.exported.options || {})),
		functions: names.filter((name) => typeof world.exported[name] === 'function') });
} catch (error) {
	parentPort.postMessage({ kind: 'failed', error: String((error && error.stack) || error) });
}
