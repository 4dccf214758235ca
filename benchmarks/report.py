"""Times the charts of a report against Matplotlib's, and the page of a run with many classes.

    python benchmarks/report.py

Prints the milliseconds and bytes of one chart of two lines, the median of 20, and the seconds and bytes of the whole page of
three sets of 10 and of 100 classes.
"""

import io
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import numpy as np
import results
from matplotlib.figure import Figure

from kerastrain import report
from kerastrain.evaluation import single_label
from kerastrain.report import charts

POINTS, REPEATS = 200, 20


def own(xs, lines):
    """The chart as a report draws it."""
    series = [
        charts.Line(name, xs, ys, colour) for (name, ys), colour in zip(lines.items(), charts.COLOURS, strict=False)
    ]
    return str(charts.lines(series, x_title="false positive rate", y_title="true positive rate"))


def matplotlib_svg(xs, lines):
    """The same chart, drawn by Matplotlib without its layout engine and with texts as texts."""
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure = Figure(figsize=(3.4, 2.1))
        axes = figure.subplots()
        for name, ys in lines.items():
            axes.plot(xs, ys, label=name)
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        axes.legend()
        text = io.StringIO()
        figure.savefig(text, format="svg", transparent=True)
    return text.getvalue()


def timed(function, *arguments):
    """(result, median milliseconds) of some calls."""
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        result = function(*arguments)
        times.append(1000 * (time.perf_counter() - start))
    return result, statistics.median(times)


def page(class_count):
    """(bytes, seconds) of the page of a run with three sets."""
    random = np.random.default_rng(0)
    names = [f"class {number}" for number in range(class_count)]
    with tempfile.TemporaryDirectory() as folder:
        sets = {}
        for name in ("validation", "test", "field"):
            targets = random.integers(0, class_count, 2000)
            logits = random.normal(size=(2000, class_count)) + 4 * np.eye(class_count)[targets]
            sets[name] = single_label.measure(targets, np.exp(logits) / np.exp(logits).sum(1, keepdims=True), names)
        Path(folder, "config.yaml").write_text("{}\n", encoding="utf-8")
        Path(folder, "metrics.json").write_text(json.dumps(sets), encoding="utf-8")
        start = time.perf_counter()
        path = report.write(folder)
        return path.stat().st_size, time.perf_counter() - start


def main():
    """Prints the table."""
    xs = np.linspace(0, 1, POINTS)
    lines = {"macro": (xs**0.2).tolist(), "micro": (xs**0.3).tolist()}
    times = {}
    for title, function in (("report.charts", own), ("Matplotlib", matplotlib_svg)):
        text, milliseconds = timed(function, xs.tolist(), lines)
        times[title] = milliseconds
        print(f"{title:14} {milliseconds:8.1f} ms {len(text):9,} bytes a chart")
    results.record("a chart, of Matplotlib's time", times["report.charts"] / times["Matplotlib"])
    for class_count in (10, 100):
        page(class_count)  # imports what it needs
        size, seconds = page(class_count)
        results.record(f"page of {class_count} classes, bytes", size)
        print(f"{class_count:4} classes    {seconds:8.2f} s  {size:9,} bytes a page of three sets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
