# SPDX-License-Identifier: Apache-2.0
"""A strict reader of Prometheus's text format 0.0.4, as promtool's lint would want it.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/
"""
import math
import re

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"'
HELP = re.compile(rf"# HELP ({NAME}) (.+)")
TYPE = re.compile(rf"# TYPE ({NAME}) (counter|gauge|histogram|summary|untyped)")
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\S+)")
NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?")
PARTS = ("_bucket", "_sum", "_count")


class Metrics(dict):
    """{(name, ((label, value), ...)): number}, labels sorted. `types` tells each family's type."""

    def __init__(self):
        super().__init__()
        self.types = {}
        self.helps = {}

    def value(self, name, **labels):
        return self[(name, tuple(sorted(labels.items())))]

    def total(self, name, **labels):
        """The sum over all samples of that name that have these labels."""
        wanted = set(labels.items())
        found = [value for (key, has), value in self.items() if key == name and wanted <= set(has)]
        assert found, f"no {name} with {labels}"
        return sum(found)

    def label_values(self):
        return {value for _, labels in self for _, value in labels}


def family_of(name, types):
    for part in PARTS:
        if name.endswith(part) and types.get(name[:-len(part)]) == "histogram":
            return name[:-len(part)]
    return name


def parse(text):
    metrics, current, ended = Metrics(), None, set()
    assert text.endswith("\n"), "the last line must end"
    for line in text[:-1].split("\n"):
        if line.startswith("# HELP"):
            match = HELP.fullmatch(line)
            assert match and match.group(1) not in metrics.helps, line
            ended.add(current)
            current = match.group(1)
            assert current not in ended, f"{current} is scattered"
            metrics.helps[current] = match.group(2)
        elif line.startswith("# TYPE"):
            match = TYPE.fullmatch(line)
            assert match and match.group(1) == current and current not in metrics.types, line
            metrics.types[current] = match.group(2)
        else:
            _parse_sample(line, metrics, current)
    for name, kind in metrics.types.items():
        if kind == "histogram":
            check_histogram(metrics, name)
    return metrics


def _parse_sample(line, metrics, current):
    match = SAMPLE.fullmatch(line)
    assert match, f"not a sample: {line!r}"
    name, labels, number = match.group(1), match.group(2) or "", match.groups()[-1]
    assert family_of(name, metrics.types) == current, f"{name} stands below {current}"
    assert NUMBER.fullmatch(number) and math.isfinite(float(number)), line
    pairs = [(label, value) for label, value in re.findall(LABEL, labels)]
    assert len({label for label, _ in pairs}) == len(pairs), line
    key = (name, tuple(sorted(pairs)))
    assert key not in metrics, f"twice: {line}"
    metrics[key] = float(number)
    if metrics.types[current] == "counter":
        assert name.endswith("_total"), f"a counter's name must end in _total: {name}"


def check_histogram(metrics, name):
    """Buckets grow with their bounds, the last is +Inf and equals the count."""
    buckets = [(float(dict(labels)["le"]), value) for (key, labels), value in metrics.items() if key == name + "_bucket"]
    assert buckets and buckets == sorted(buckets), f"{name}: bounds are not in order: {buckets}"
    values = [value for _, value in buckets]
    assert values == sorted(values), f"{name}: buckets are not cumulative: {buckets}"
    assert buckets[-1][0] == math.inf and buckets[-1][1] == metrics.value(name + "_count")
    assert (metrics.value(name + "_sum") > 0) == (metrics.value(name + "_count") > 0)
