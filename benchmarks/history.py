"""The figures of earlier runs of `benchmarks/all.py`, and what has become worse since.

Takes and returns rows: dicts with "date", "machine" (str, its kind), "versions" (dict), "figures" (dict from name to figure, as
`results.record` writes them) and "failed" (dict from benchmark to reason). Must not run a benchmark.
"""

import json
import os

_SPREAD_OF_ONE = 0.1  # of a figure that was measured once


def read(path):
    """The rows of a history file, the oldest first; none if there is no file.

    Raises:
        ValueError: a line is no JSON.
    """
    rows = []
    for number, line in enumerate(path.read_text().splitlines() if path.exists() else [], start=1):
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise ValueError(
                f"every line of {path} must be JSON. Received: line {number}, {line[:60]!r}. Remove it."
            ) from error
    return rows


def write(path, rows):
    """Writes a history file; the one before is kept until it is whole."""
    temporary = path.with_name(f"{path.name}.part")
    temporary.write_text("".join(json.dumps(row, sort_keys=True) + "\n" for row in rows))
    os.replace(temporary, path)


def by_name(benchmark, lines):
    """The figures in lines of JSON as {"BENCHMARK: NAME": figure}.

    Raises:
        ValueError: a benchmark recorded two figures under one name.
    """
    figures = {}
    for figure in map(json.loads, lines):
        name = f"{benchmark}: {figure.pop('name')}"
        if name in figures:
            raise ValueError(f"a figure's name must be unique in its benchmark. Received: {name!r} twice.")
        figures[name] = figure
    return figures


def last_figures(rows, machine):
    """The newest figure of each name on a kind of machine; not every run measures all of them."""
    newest = {}
    for row in rows:
        if row["machine"] == machine:
            newest |= row["figures"]
    return newest


def spread(figure):
    """How far apart the repeats of a figure lie; a tenth of it if it was measured once."""
    if figure["low"] is None or figure["high"] is None:
        return _SPREAD_OF_ONE * abs(figure["value"])
    return figure["high"] - figure["low"]


def change(before, now):
    """Whether a figure became "worse" or "better" by more than its spread, the larger of the two, or stayed the "same"."""
    risen = now["value"] - before["value"]
    if abs(risen) <= max(spread(before), spread(now)):
        return "same"
    return "better" if (risen > 0) == (now["better"] == "higher") else "worse"


def worse(before, now):
    """The names of figures that got worse by more than their spread; those without an earlier figure did not."""
    return [name for name in now if name in before and change(before[name], now[name]) == "worse"]


def shown(figure):
    """A figure with the range of its repeats as text."""
    if figure["low"] is None or figure["high"] is None:
        return f"{figure['value']:.4g}"
    return f"{figure['value']:.4g} ({figure['low']:.4g} to {figure['high']:.4g})"


def table(rows):
    """Markdown of a history: a line for each run, and its newest figures beside those before them."""
    lines = ["| date | machine | versions | figures | worse | failed |", "|---|---|---|---|---|---|"]
    for number, row in enumerate(rows):
        names = worse(last_figures(rows[:number], row["machine"]), row["figures"])
        versions = ", ".join(f"{name} {version}" for name, version in sorted(row["versions"].items()))
        cells = (row["date"], row["machine"], versions, len(row["figures"]), "; ".join(names) or "–")
        lines.append(f"| {' | '.join(map(str, cells))} | {'; '.join(row['failed']) or '–'} |")
    if rows:
        lines += ["", f"The run of {rows[-1]['date']}:", "", *_newest(rows)]
    return "\n".join(lines)


def _newest(rows):
    """The figures of the newest run beside the last ones of the same kind of machine, and those that it did not measure."""
    newest, before = rows[-1]["figures"], last_figures(rows[:-1], rows[-1]["machine"])
    yield "| figure | better | last | now | |"
    yield "|---|---|---|---|---|"
    for name, figure in sorted((before | newest).items()):
        last = shown(before[name]) if name in before else "–"
        now = shown(figure) if name in newest else "–"
        moved = "not measured" if name not in newest else change(before[name], figure) if name in before else "new"
        yield f"| {name} | {figure['better']} | {last} | {now} | {moved} |"
