// SPDX-License-Identifier: Apache-2.0
// Reads `options` of a script, as strictly as can be: what is not known here is refused by name.
//
// Leaves out: executors and options that no script here uses, among them the shorthands without `scenarios`.

const UNITS = { ms: 1, s: 1000, m: 60000, h: 3600000 };
const COMMON = ['executor', 'exec', 'startTime', 'gracefulStop', 'tags'];
const EXECUTORS = {
	'constant-vus': ['vus', 'duration'],
	'per-vu-iterations': ['vus', 'iterations', 'maxDuration'],
	'ramping-vus': ['startVUs', 'stages', 'gracefulRampDown'],
	'constant-arrival-rate': ['rate', 'timeUnit', 'duration', 'preAllocatedVUs', 'maxVUs'],
	'ramping-arrival-rate': ['startRate', 'timeUnit', 'stages', 'preAllocatedVUs', 'maxVUs'],
};
const NEEDED = {
	'constant-vus': ['duration'], 'per-vu-iterations': [], 'ramping-vus': ['stages'],
	'constant-arrival-rate': ['rate', 'duration', 'preAllocatedVUs'], 'ramping-arrival-rate': ['stages', 'preAllocatedVUs'],
};
const OPTIONS = ['scenarios', 'thresholds', 'setupTimeout'];
const SCENARIO = /^[0-9a-zA-Z_-]+$/;
const SHORTEST_MS = 1000; // of what is given as one duration; stages may be as short as they like

// Milliseconds of '1m30s', '500ms', '0.5s', or of a number of them.
export function duration(given, what) {
	if (typeof given === 'number' && given >= 0) return given;
	const text = String(given);
	if (!/^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$/.test(text)) throw new Error(`${what}: "${given}" is not a duration`);
	let total = 0;
	for (const [, number, , unit] of text.matchAll(/([0-9]+(\.[0-9]+)?)(ms|s|m|h)/g)) total += Number(number) * UNITS[unit];
	return total;
}

function atLeastASecond(given, what) {
	const ms = duration(given, what);
	if (ms < SHORTEST_MS) throw new Error(`${what}: "${given}" is less than a second`);
	return ms;
}

function whole(given, what, least, usual) {
	if (given === undefined && usual !== undefined) return usual;
	if (!Number.isInteger(given) || given < least) throw new Error(`${what}: ${given} is not a whole number from ${least} on`);
	return given;
}

function stages(given, what) {
	if (!Array.isArray(given) || given.length === 0) throw new Error(`${what}.stages: must be a list`);
	return given.map((stage, i) => {
		const odd = Object.keys(stage).filter((key) => key !== 'duration' && key !== 'target');
		if (odd.length > 0) throw new Error(`${what}.stages[${i}]: unknown ${odd}`);
		return { duration: duration(stage.duration, `${what}.stages[${i}].duration`),
			target: whole(stage.target, `${what}.stages[${i}].target`, 0) };
	});
}

const LENGTH = (all) => all.reduce((sum, stage) => sum + stage.duration, 0);

function load(given, what) {
	switch (given.executor) {
	case 'constant-vus':
		return { vus: whole(given.vus, `${what}.vus`, 1, 1), length: atLeastASecond(given.duration, `${what}.duration`) };
	case 'per-vu-iterations':
		return { vus: whole(given.vus, `${what}.vus`, 1, 1), iterations: whole(given.iterations, `${what}.iterations`, 1, 1),
			length: atLeastASecond(given.maxDuration === undefined ? '10m' : given.maxDuration, `${what}.maxDuration`) };
	case 'ramping-vus': {
		const all = stages(given.stages, what);
		const start = whole(given.startVUs, `${what}.startVUs`, 0, 1);
		const vus = Math.max(start, ...all.map((stage) => stage.target));
		if (vus < 1) throw new Error(`${what}: startVUs and all targets are 0`);
		return { start, stages: all, vus, length: LENGTH(all) };
	}
	default: { // arrival rates
		const constant = given.executor === 'constant-arrival-rate';
		const rate = constant ? whole(given.rate, `${what}.rate`, 1) : whole(given.startRate, `${what}.startRate`, 0, 0);
		const all = constant ? [{ duration: atLeastASecond(given.duration, `${what}.duration`), target: rate }] : stages(given.stages, what);
		const vus = whole(given.preAllocatedVUs, `${what}.preAllocatedVUs`, 1);
		if (whole(given.maxVUs, `${what}.maxVUs`, vus, vus) !== vus) throw new Error(`${what}.maxVUs: VUs are not added here`);
		const unit = duration(given.timeUnit === undefined ? '1s' : given.timeUnit, `${what}.timeUnit`);
		if (unit <= 0) throw new Error(`${what}.timeUnit: must be more than 0`);
		return { start: rate, stages: all, vus, length: LENGTH(all), unit };
	}
	}
}

function scenario(name, given) {
	const what = `scenarios.${name}`;
	if (!SCENARIO.test(name)) throw new Error(`${what}: a name is of letters, digits, _ and -`);
	const allowed = EXECUTORS[given.executor];
	if (allowed === undefined) throw new Error(`${what}.executor: ${given.executor} is not one of ${Object.keys(EXECUTORS)}`);
	const odd = Object.keys(given).filter((key) => !COMMON.includes(key) && !allowed.includes(key));
	if (odd.length > 0) throw new Error(`${what}: ${given.executor} knows no ${odd}`);
	for (const key of NEEDED[given.executor]) {
		if (given[key] === undefined) throw new Error(`${what}.${key}: must be given`);
	}
	return { name, executor: given.executor, exec: given.exec || 'default', tags: given.tags || {},
		startTime: duration(given.startTime || 0, `${what}.startTime`),
		gracefulStop: duration(given.gracefulStop === undefined ? '30s' : given.gracefulStop, `${what}.gracefulStop`),
		gracefulRampDown: duration(given.gracefulRampDown === undefined ? '30s' : given.gracefulRampDown, `${what}.gracefulRampDown`),
		...load(given, what) };
}

// @param exported  the names of the functions that the script exports.
export function readOptions(options, exported) {
	const odd = Object.keys(options).filter((key) => !OPTIONS.includes(key));
	if (odd.length > 0) throw new Error(`options: unknown or not to be had here: ${odd}`);
	if (!options.scenarios || Object.keys(options.scenarios).length === 0) throw new Error('options.scenarios: must be given');
	const scenarios = Object.entries(options.scenarios).map(([name, given]) => scenario(name, given));
	for (const one of scenarios) {
		if (!exported.includes(one.exec)) throw new Error(`scenarios.${one.name}.exec: the script exports no function ${one.exec}`);
	}
	return { scenarios, thresholds: options.thresholds || {}, setupTimeout: duration(options.setupTimeout === undefined ? '60s' : options.setupTimeout, 'setupTimeout') };
}
