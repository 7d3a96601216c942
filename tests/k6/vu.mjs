// SPDX-License-Identifier: Apache-2.0
// One VU: a thread with a JavaScript world of its own, in which there is what k6 has and nothing of Node's.
//
// As in k6, a request and sleep() hold the VU up until they are done. The requests themselves are made by the main thread.
import vm from 'node:vm';
import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { makeModules } from './modules.mjs';

const { source, path, id, env, began, answers, wake } = workerData;
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

async function load() {
	const context = vm.createContext({ ...globals, console: makeConsole() }, { codeGeneration: { strings: false, wasm: false } });
	for (const name of ['WebAssembly', 'SharedArrayBuffer', 'Atomics', 'Intl']) delete context[name];
	const modules = makeModules(vu);
	const script = new vm.SourceTextModule(source, { context, identifier: path });
	await script.link((name) => {
		if (modules[name] === undefined) throw new Error(`${path} imports "${name}": not one of ${Object.keys(modules)}`);
		const made = new vm.SyntheticModule(Object.keys(modules[name]), function give() {
			for (const [key, value] of Object.entries(modules[name])) this.setExport(key, value);
		}, { context });
		return made;
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
		const value = world.exported[name](argument);
		if (value && typeof value.then === 'function') throw new Error(`${name}() is asynchronous: not to be had here`);
		return { value: value === undefined ? null : JSON.parse(JSON.stringify(value)) };
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
