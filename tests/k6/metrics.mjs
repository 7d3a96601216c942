// SPDX-License-Identifier: Apache-2.0
// Metrics of a run, and the thresholds on them.
//
// Samples of a Counter, Gauge, Rate or Trend are gathered under the metric and under each submetric that a threshold names
// with tags. Leaves out: outputs, units, and the built-in metrics that no script here has a use for.
import { duration } from './options.mjs';

const METHODS = { counter: ['count', 'rate'], gauge: ['value'], rate: ['rate'], trend: ['avg', 'min', 'max', 'med', 'p'] };
const EXPRESSION = /^(count|rate|value|avg|min|max|med|p\(([0-9]+(?:\.[0-9]+)?)\))\s*(<=|>=|===|==|!=|<|>)\s*([0-9]+(?:\.[0-9]+)?)$/;
const COMPARE = {
	'<': (a, b) => a < b, '<=': (a, b) => a <= b, '>': (a, b) => a > b, '>=': (a, b) => a >= b,
	'==': (a, b) => a === b, '===': (a, b) => a === b, '!=': (a, b) => a !== b,
};
export const NAME = /^[a-zA-Z_][a-zA-Z0-9_]{1,127}$/; // k6 takes no name of one letter

export const BUILT_IN = {
	checks: 'rate', dropped_iterations: 'counter', http_req_duration: 'trend', http_req_failed: 'rate', http_reqs: 'counter',
	iteration_duration: 'trend', iterations: 'counter', vus: 'gauge',
};

// What a threshold is about: `metric` or `metric{tag:value,tag:value}`.
function parseSelector(selector) {
	const found = /^([^{}]+)(?:\{([^{}]*)\})?$/.exec(selector);
	if (!found) throw new Error(`threshold on "${selector}": not a metric`);
	const tags = {};
	for (const part of found[2] === undefined ? [] : found[2].split(',')) {
		const colon = part.indexOf(':');
		if (colon < 1) throw new Error(`threshold on "${selector}": "${part}" is not tag:value`);
		tags[part.slice(0, colon).trim()] = part.slice(colon + 1).trim();
	}
	return { name: found[1], tags };
}

function percentile(sorted, p) {
	if (sorted.length === 0) return 0;
	const place = (sorted.length - 1) * (p / 100);
	const below = Math.floor(place);
	const above = Math.min(below + 1, sorted.length - 1);
	return sorted[below] + (sorted[above] - sorted[below]) * (place - below);
}

class Sink {
	constructor(type) {
		this.type = type;
		this.values = [];
		this.count = 0;
		this.nonzero = 0;
		this.sum = 0;
		this.last = 0;
	}

	add(value) {
		this.count += 1;
		this.nonzero += value !== 0 ? 1 : 0;
		this.sum += value;
		this.last = value;
		if (this.type === 'trend' || this.type === 'gauge') this.values.push(value);
	}

	// The figures of a summary. @param seconds  the length of the run so far.
	figures(seconds) {
		const sorted = Float64Array.from(this.values).sort();
		const [min, max] = sorted.length > 0 ? [sorted[0], sorted[sorted.length - 1]] : [0, 0];
		switch (this.type) {
		case 'counter': return { count: this.sum, rate: this.sum / seconds };
		case 'gauge': return { value: this.last, min, max };
		case 'rate': return { rate: this.count > 0 ? this.nonzero / this.count : 0, passes: this.nonzero, fails: this.count - this.nonzero };
		default: return { avg: this.count > 0 ? this.sum / this.count : 0, min, med: percentile(sorted, 50), max,
			'p(90)': percentile(sorted, 90), 'p(95)': percentile(sorted, 95) };
		}
	}

	machineReadableFigures(seconds) {
		const figures = this.figures(seconds);
		switch (this.type) {
		case 'counter': return { count: figures.count };
		case 'rate': return { matches: this.nonzero, total: this.count, rate: figures.rate };
		default: return figures;
		}
	}

	figure(method, p, seconds) {
		if (p === undefined) return this.figures(seconds)[method];
		return percentile(Float64Array.from(this.values).sort(), p);
	}
}

class Threshold {
	constructor(selector, type, given) {
		const known = ['threshold', 'abortOnFail', 'delayAbortEval'];
		const settings = typeof given === 'string' ? { threshold: given } : given;
		const odd = Object.keys(settings).filter((key) => !known.includes(key));
		if (odd.length > 0) throw new Error(`threshold on "${selector}": unknown ${odd}`);
		const found = EXPRESSION.exec(settings.threshold);
		if (!found) throw new Error(`threshold on "${selector}": can't read "${settings.threshold}"`);
		this.text = settings.threshold;
		this.p = found[2] === undefined ? undefined : Number(found[2]);
		this.method = this.p === undefined ? found[1] : 'p';
		if (!METHODS[type].includes(this.method)) throw new Error(`threshold on "${selector}": a ${type} has no ${found[1]}`);
		if (this.p !== undefined && !(this.p >= 0 && this.p <= 100)) throw new Error(`threshold on "${selector}": p(${found[2]})`);
		this.compare = COMPARE[found[3]];
		this.value = Number(found[4]);
		if (![undefined, true, false].includes(settings.abortOnFail)) throw new Error(`threshold on "${selector}": abortOnFail is no boolean`);
		this.abortOnFail = settings.abortOnFail === true;
		this.delayAbortEvalMs = duration(settings.delayAbortEval || 0, `threshold on "${selector}": delayAbortEval`);
		this.ok = true;
	}
}

export class Metrics {
	// @param types  {name: type} of the metrics that the script makes; @param thresholds  options.thresholds.
	constructor(types, thresholds) {
		for (const [name, type] of Object.entries(types)) {
			if (BUILT_IN[name] !== undefined && BUILT_IN[name] !== type) throw new Error(`metric ${name}: k6 has one of another type`);
		}
		this.types = { ...BUILT_IN, ...types };
		this.sinks = new Map(); // by metric name
		this.judged = []; // {selector, name, tags, sink, thresholds}
		for (const [selector, given] of Object.entries(thresholds)) this.addThresholds(selector, given);
		this.byName = new Map();
		for (const one of this.judged) this.byName.set(one.name, [...(this.byName.get(one.name) || []), one]);
	}

	addThresholds(selector, given) {
		const { name, tags } = parseSelector(selector);
		const type = this.types[name];
		if (type === undefined) throw new Error(`threshold on "${selector}": there is no such metric`);
		if (!Array.isArray(given) || given.length === 0) throw new Error(`threshold on "${selector}": not a list`);
		this.judged.push({ selector, name, tags: Object.entries(tags), sink: new Sink(type),
			thresholds: given.map((one) => new Threshold(selector, type, one)) });
	}

	add(name, value, tags) {
		if (!this.sinks.has(name)) this.sinks.set(name, new Sink(this.types[name]));
		this.sinks.get(name).add(value);
		for (const one of this.byName.get(name) || []) {
			if (one.tags.every(([tag, wanted]) => tags[tag] === wanted)) one.sink.add(value);
		}
	}

	// @return the selectors whose thresholds fail. @param filter  which thresholds to ask; metrics without samples count as 0.
	crossed(seconds, filter = () => true) {
		const wrong = [];
		for (const { selector, sink, thresholds } of this.judged) {
			for (const threshold of thresholds.filter((one) => filter(one, sink))) {
				threshold.ok = threshold.compare(sink.figure(threshold.method, threshold.p, seconds), threshold.value);
				if (!threshold.ok && !wrong.includes(selector)) wrong.push(selector);
			}
		}
		return wrong;
	}

	// What handleSummary() is given up to k6 1.x.
	summary(seconds) {
		const metrics = {};
		const put = (name, sink) => {
			metrics[name] = { type: sink.type, contains: sink.type === 'trend' ? 'time' : 'default', values: sink.figures(seconds) };
		};
		for (const [name, sink] of this.sinks) put(name, sink);
		for (const { selector, sink, thresholds } of this.judged) {
			put(selector, sink);
			metrics[selector].thresholds = Object.fromEntries(thresholds.map((one) => [one.text, { ok: one.ok }]));
		}
		return { root_group: { name: '', path: '', groups: [], checks: [] }, options: {},
			state: { testRunDurationMs: seconds * 1000 }, metrics };
	}

	// The same in the machine-readable form, the default since k6 2.0, which knows no submetrics here.
	machineReadable(seconds) {
		const metrics = [...this.sinks].map(([name, sink]) => ({ name, type: sink.type, contains: 'default', category: 'custom',
			values: sink.machineReadableFigures(seconds) }));
		return { version: '1.0.0', metadata: {}, config: { duration: seconds }, results: { metrics, checks: { metrics: [], results: [] } } };
	}
}
