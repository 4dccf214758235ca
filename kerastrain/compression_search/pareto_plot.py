"""The picture of a compression: size across, score up, each file a number. Must not import Matplotlib before it draws."""

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.compression_search.selection import Choice, size_of
from kerastrain.config import BudgetConfig
from kerastrain.system import figures

_NEAR = (24, 14)  # pixels across and up
_QUIET, _KEPT, _WINNER = "#8a94a6", "#1f5fbf", "#c2410c"


def draw(path: str | os.PathLike, rungs: Sequence[CandidateResult], choice: Choice, budget: BudgetConfig) -> Path:
    """Writes the picture; its suffix says in which format.

    Args:
        path: path of the file, such as pareto.png.
        rungs: the files.
        choice: Choice among them.
        budget: BudgetConfig, drawn as a dashed line.

    Returns:
        Path of the file.
    """
    from matplotlib.figure import Figure

    ordered = sorted(rungs, key=lambda rung: (size_of(rung, budget), rung.name))
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes, points = figure.subplots(), []
    for number, rung in enumerate(ordered, start=1):
        x, y, score = size_of(rung, budget) / 1000, rung.validation.value, rung.validation
        colour, above = _QUIET, 2
        if rung.name in choice.pareto:
            colour, above = (_WINNER, 4) if rung.name == choice.winner else (_KEPT, 3)
        axes.errorbar(x, y, [[y - score.low], [score.high - y]], color=colour, alpha=0.35, linewidth=1)
        label = f"{number}  {rung.name}"
        axes.plot(x, y, "o", color=colour, markersize=6, label=label, zorder=above)
        points.append((x, y))
    by_name = {rung.name: rung for rung in rungs}
    front = [by_name[name] for name in choice.pareto]
    axes.plot(
        [size_of(rung, budget) / 1000 for rung in front],
        [rung.validation.value for rung in front],
        color=_KEPT,
        linewidth=1,
        drawstyle="steps-post",
        zorder=0,
    )
    if budget.kilobytes is not None:
        axes.axvline(budget.kilobytes, color=_WINNER, linestyle="--", linewidth=1)
    else:
        axes.axhline(
            rungs[0].validation.value - budget.accuracy_points / 100, color=_WINNER, linestyle="--", linewidth=1
        )
    axes.set_xscale("log")
    sizes = [size_of(rung, budget) / 1000 for rung in rungs]
    marks = _marks(min(sizes), max(sizes))
    axes.set_xticks(marks, [f"{mark:,g}" for mark in marks])
    axes.minorticks_off()
    axes.set(
        xlabel="kB after gzip" if budget.size == "gzip" else "kB",
        ylabel=f"validation {rungs[0].measure}, 95 % interval",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eef0f3")
    axes.set_axisbelow(True)
    axes.set_title(
        "blue: kept, no other is smaller and better · orange: the winner, the budget", loc="left", fontsize=9
    )
    for (x, y), numbers in _together(points, axes.transData.transform(points)).items():
        text = ", ".join(map(str, numbers))
        axes.annotate(text, (x, y), (0, 6), textcoords="offset points", ha="center", fontsize=8, zorder=5)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper", frameon=False, fontsize=8)
    return figures.write(figure, path)


def _together(points: Sequence[tuple[float, float]], pixels: np.ndarray) -> dict[tuple[float, float], list[int]]:
    """The numbers of the points, from 1, by the first point that each lies on or near."""
    found, places = {}, {}
    for number, (point, place) in enumerate(zip(points, pixels, strict=True), start=1):
        near = (first for first in places if np.all(np.abs(place - places[first]) < _NEAR))
        first = next(near, point)
        places.setdefault(first, place)
        found.setdefault(first, []).append(number)
    return found


def _marks(low: float, high: float) -> list[float]:
    """Round numbers 1, 2, 5, 10, … from just below `low` to just above `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [mark for mark in marks if low / 2 <= mark <= high * 2]
