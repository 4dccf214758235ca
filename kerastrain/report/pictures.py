"""Draws the pictures of a report as SVG text.

Takes rows of a history and measures; returns SVG without scripts, the same bytes for the same numbers. Must not draw class
names, which the page shows as text in any writing system.
"""

import io
import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_NO_CURVE = ("phase", "epoch", "seconds")
_TRAIN, _VALIDATION, _QUIET = "#8a94a6", "#1f5fbf", "#c9cfd8"


def curves(history: Sequence[Mapping[str, str]]) -> str:
    """Draws training and validation curves over the epochs of all phases, with a panel for each metric.

    Args:
        history: sequence of rows of `history.csv`, at least one: mappings with "phase" and columns such as "loss" and
            "val_loss", whose values are numbers as text, or empty.

    Returns:
        str, SVG.
    """
    columns = dict.fromkeys(column for row in history for column in row if column not in _NO_CURVE)
    names = list(dict.fromkeys(column.removeprefix("val_") for column in columns))
    names.sort(key=lambda name: (name == "learning_rate", name != "loss"))
    across = min(len(names), 3)
    down = math.ceil(len(names) / across)
    figure = Figure(figsize=(3.6 * across, 2.5 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes, name in zip(panels, names, strict=False):
        _curve(axes, history, name, _TRAIN, "training")
        _curve(axes, history, f"val_{name}", _VALIDATION, "validation")
        axes.set_xlim(0.5, len(history) + 0.5)
        axes.margins(y=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        _phases(axes, [row.get("phase", "") for row in history])
        axes.set_title(name.replace("_", " "), loc="left", fontsize=10, parse_math=False)
        if f"val_{name}" in columns:
            axes.legend(frameon=False, fontsize=8)
    for axes in panels[len(names) :]:
        axes.set_visible(False)
    return _svg(figure)


def reliability(calibration: Mapping) -> str:
    """Draws a reliability diagram: accuracy over confidence, with the number of examples in each bin below.

    Args:
        calibration: mapping with "bins", as from `evaluation.measure`.

    Returns:
        str, SVG.
    """
    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    bins = calibration["bins"]
    middles = [(entry["from"] + entry["to"]) / 2 for entry in bins]
    filled = [entry for entry in bins if entry["count"]]
    above.plot([0, 1], [0, 1], color=_QUIET, linestyle="--", linewidth=1)
    above.plot([e["confidence"] for e in filled], [e["accuracy"] for e in filled], color=_VALIDATION, marker="o")
    below.bar(middles, [entry["count"] for entry in bins], width=0.9 / len(bins), color=_TRAIN)
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="accuracy")
    below.set(xlabel="confidence", ylabel="examples")
    for axes in (above, below):
        _bare(axes)
    return _svg(figure)


def scatter(pairs: Sequence[Sequence[float]]) -> str:
    """Draws predicted numbers over true numbers, with the line of perfect predictions.

    Args:
        pairs: sequence of (truth, prediction) of the examples shown, at least one, as from `evaluation.regression.measure`.

    Returns:
        str, SVG.
    """
    truth, predictions = np.asarray(pairs, "float64").T
    figure = Figure(figsize=(3.6, 3.4), layout="constrained")
    axes = figure.subplots()
    ends = [min(truth.min(), predictions.min()), max(truth.max(), predictions.max())]
    axes.plot(ends, ends, color=_QUIET, linestyle="--", linewidth=1)
    axes.scatter(truth, predictions, s=12, alpha=0.5, color=_VALIDATION, linewidths=0)
    axes.set(xlabel="true", ylabel="predicted")
    _bare(axes)
    return _svg(figure)


def confusion(matrix: Sequence[Sequence[int]]) -> str:
    """Draws a confusion matrix whose rows are normalized to fractions of their true class.

    Args:
        matrix: sequence (classes, classes) of int >= 0, counts with a row for each true class.

    Returns:
        str, SVG.
    """
    counts = np.asarray(matrix, "float64")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(6, 5.4), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest")
    axes.set(xlabel="predicted class", ylabel="true class")
    figure.colorbar(drawn, ax=axes, label="fraction of the true class", shrink=0.8)
    return _svg(figure)


def _curve(axes: Axes, history: Sequence[Mapping[str, str]], column: str, colour: str, label: str) -> None:
    values = np.array([float(row.get(column) or "nan") for row in history])
    values[~np.isfinite(values)] = np.nan
    if not np.isnan(values).all():
        axes.plot(np.arange(1, len(values) + 1), values, color=colour, label=label, marker=".", linewidth=1.6)
    _bare(axes)


def _phases(axes: Axes, phases: Sequence[str]) -> None:
    starts = [0] + [index for index in range(1, len(phases)) if phases[index] != phases[index - 1]]
    if len(starts) == 1:
        return
    for start in starts:
        if start:
            axes.axvline(start + 0.5, color=_QUIET, linewidth=1)
        axes.annotate(
            phases[start],
            (start + 0.6, 1.0),
            xycoords=("data", "axes fraction"),
            va="top",
            fontsize=7,
            color=_TRAIN,
            parse_math=False,
        )


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="#eef0f3")
    axes.set_axisbelow(True)


def _svg(figure: Figure) -> str:
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "kerastrain"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()
