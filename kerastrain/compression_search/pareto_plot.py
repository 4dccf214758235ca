"""Plots the results of a compression: size on the x axis, score on the y axis, one numbered point per file.

Takes results and the choice among them; writes an image file. Must not import Matplotlib before it draws.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.compression_search.selection import Choice, size_of
from kerastrain.config import BudgetConfig
from kerastrain.system import figures

_LABEL_SIZE = (24, 14)  # pixels, width and height
_DISCARDED, _KEPT, _WINNER = "#8a94a6", "#1f5fbf", "#c2410c"


def draw(results: Sequence[CandidateResult], choice: Choice, budget: BudgetConfig, path: str | os.PathLike) -> Path:
    """Draws the results of a compression.

    Args:
        results: sequence of CandidateResult, at least one; the first is the float file.
        choice: Choice among the results.
        budget: BudgetConfig, drawn as a dashed line.
        path: path of the file, such as pareto.png; its suffix selects the format.

    Returns:
        Path of the file.
    """
    from matplotlib.figure import Figure

    ordered = sorted(results, key=lambda result: (size_of(result, budget), result.name))
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes, points = figure.subplots(), []
    for number, result in enumerate(ordered, start=1):
        x, y, score = size_of(result, budget) / 1000, result.validation.value, result.validation
        color, order = _DISCARDED, 2
        if result.name in choice.pareto:
            color, order = (_WINNER, 4) if result.name == choice.winner else (_KEPT, 3)
        axes.errorbar(x, y, [[y - score.low], [score.high - y]], color=color, alpha=0.35, linewidth=1)
        axes.plot(x, y, "o", color=color, markersize=6, label=f"{number}  {result.name}", zorder=order)
        points.append((x, y))
    by_name = {result.name: result for result in results}
    front = [by_name[name] for name in choice.pareto]
    axes.plot(
        [size_of(result, budget) / 1000 for result in front],
        [result.validation.value for result in front],
        color=_KEPT,
        linewidth=1,
        drawstyle="steps-post",
        zorder=0,
    )
    if budget.kilobytes is not None:
        axes.axvline(budget.kilobytes, color=_WINNER, linestyle="--", linewidth=1)
    else:
        lowest_score = results[0].validation.value - budget.accuracy_points / 100
        axes.axhline(lowest_score, color=_WINNER, linestyle="--", linewidth=1)
    axes.set_xscale("log")
    sizes = [size_of(result, budget) / 1000 for result in results]
    ticks = _round_ticks(min(sizes), max(sizes))
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()
    axes.set(
        xlabel="kB after gzip" if budget.size == "gzip" else "kB",
        ylabel=f"validation {results[0].measure}, 95 % interval",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eef0f3")
    axes.set_axisbelow(True)
    axes.set_title(
        "blue: kept, no other file is smaller and better · orange: the winner and the budget", loc="left", fontsize=9
    )
    for (x, y), numbers in _shared_labels(points, axes.transData.transform(points)).items():
        text = ", ".join(map(str, numbers))
        axes.annotate(text, (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8, zorder=5)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figures.write(figure, path)


def _shared_labels(points: Sequence[tuple[float, float]], pixels: np.ndarray) -> dict[tuple[float, float], list[int]]:
    """The numbers of the points, counted from 1; points whose labels would overlap share the label of the first."""
    labels, labeled_pixels = {}, {}
    for number, (point, pixel) in enumerate(zip(points, pixels, strict=True), start=1):
        overlapping = (each for each in labeled_pixels if np.all(np.abs(pixel - labeled_pixels[each]) < _LABEL_SIZE))
        labeled = next(overlapping, point)
        labeled_pixels.setdefault(labeled, pixel)
        labels.setdefault(labeled, []).append(number)
    return labels


def _round_ticks(low: float, high: float) -> list[float]:
    """Numbers 1, 2, 5, 10, … from just below `low` to just above `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if low / 2 <= tick <= high * 2]
