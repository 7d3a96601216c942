// SPDX-License-Identifier: Apache-2.0
// How each kind of scenario drives its VUs.
//
// All of them watch the clock in small steps. Leaves out: to interrupt a VU after gracefulRampDown; it ends its iteration.

const STEP_MS = 5;
const pause = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

// The target of stages `ms` after their start, between two stages on a straight line.
function targetAt({ start, stages }, ms) {
	let from = start;
	let left = ms;
	for (const { duration, target } of stages) {
		if (left < duration) return from + (target - from) * (left / duration);
		left -= duration;
		from = target;
	}
	return from;
}

// How many iterations should have begun by then: what is under the line of the rate.
function begunBy({ start, stages, unit }, ms) {
	let from = start;
	let left = ms;
	let sum = 0;
	for (const { duration, target } of stages) {
		const part = Math.min(left, duration);
		const now = duration > 0 ? from + (target - from) * (part / duration) : target;
		sum += ((from + now) / 2) * (part / unit);
		left -= part;
		from = target;
	}
	return Math.floor(sum + 1e-9);
}

async function loop(run, vu, goesOn) {
	while (goesOn()) await run.iterate(vu);
}

async function rampingVus(run) {
	const { scenario } = run;
	const loops = new Map();
	let wanted = 0;
	const goesOn = (i) => () => i < wanted && run.now() < scenario.length && !run.aborted();
	const start = (i) => {
		const vu = run.take();
		loops.set(i, loop(run, vu, goesOn(i)).finally(() => {
			loops.delete(i);
			run.give(vu);
		}));
	};
	while (run.now() < scenario.length && !run.aborted()) {
		wanted = Math.floor(targetAt(scenario, run.now()) + 1e-9);
		for (let i = 0; i < wanted; i += 1) {
			if (!loops.has(i)) start(i);
		}
		await pause(STEP_MS);
	}
	await Promise.all(loops.values());
}

// All VUs at once. @param makeGoesOn  makes, for each, the function that tells whether to begin another iteration.
async function together(run, makeGoesOn) {
	await Promise.all(Array.from({ length: run.scenario.vus }, async () => {
		const vu = run.take();
		await loop(run, vu, makeGoesOn());
		run.give(vu);
	}));
}

async function constantVus(run) {
	await together(run, () => () => run.now() < run.scenario.length && !run.aborted());
}

async function perVuIterations(run) {
	await together(run, () => {
		let left = run.scenario.iterations;
		return () => left-- > 0 && run.now() < run.scenario.length && !run.aborted();
	});
}

async function arrivalRate(run) {
	const { scenario } = run;
	const idle = Array.from({ length: scenario.vus }, run.take);
	const own = [...idle];
	const under = new Set();
	let begun = 0;
	while (run.now() < scenario.length && !run.aborted()) {
		for (const due = begunBy(scenario, run.now()); begun < due; begun += 1) {
			const vu = idle.shift();
			if (vu === undefined) {
				run.dropped();
				continue;
			}
			const one = run.iterate(vu).finally(() => {
				under.delete(one);
				idle.push(vu);
			});
			under.add(one);
		}
		await pause(STEP_MS);
	}
	await Promise.all(under);
	own.forEach(run.give);
}

export const executors = {
	'ramping-vus': rampingVus, 'constant-vus': constantVus, 'per-vu-iterations': perVuIterations,
	'constant-arrival-rate': arrivalRate, 'ramping-arrival-rate': arrivalRate,
};
