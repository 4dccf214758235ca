"""Plots the results of a compression: size on the x axis, score on the y axis, the kept files with their names.

Takes results and the choice among them; writes an image file. Must not import Matplotlib before it draws.
"""

import math
import os
from collections.abc import Sequence
from pathlib import Path

from kerastrain.compression_search.label_places import free_places
from kerastrain.compression_search.measurement import CandidateResult
from kerastrain.compression_search.selection import Choice, size_of
from kerastrain.config import BudgetConfig
from kerastrain.system import figures

_REMOVED, _KEPT, _WINNER = "#8a94a6", "#1f5fbf", "#c2410c"


def draw(results: Sequence[CandidateResult], choice: Choice, budget: BudgetConfig, path: str | os.PathLike) -> Path:
    """Draws the results of a compression.

    The y axis spans the kept files and the budget. A removed file below it is an arrow at the lower edge, with its score.

    Args:
        results: sequence of CandidateResult, at least one; the first is the float file.
        choice: Choice among the results.
        budget: BudgetConfig, drawn as a dashed line.
        path: path of the file, such as pareto.png; its suffix selects the format.

    Returns:
        Path of the file.
    """
    from matplotlib.figure import Figure

    kept = sorted((result for result in results if result.name in choice.pareto), key=lambda one: size_of(one, budget))
    removed = [result for result in results if result.name not in choice.pareto]
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axes = figure.subplots()
    _set_axes(axes, results, kept, budget)
    bottom, points, labels = axes.get_ylim()[0], [], []
    for result in removed:
        x, score = size_of(result, budget) / 1000, result.validation.value
        is_below = score < bottom
        y = bottom if is_below else score
        style = {"marker": "v" if is_below else "o", "markersize": 4 + 2 * is_below, "clip_on": False}
        axes.plot(x, y, color=_REMOVED, label=result.name, zorder=2, linestyle="", **style)
        points.append((x, y))
        if is_below:
            labels.append((x, y, f"{result.name} {score:.3f}", _REMOVED))
    for result in kept:
        x, y, score = size_of(result, budget) / 1000, result.validation.value, result.validation
        color = _WINNER if result.name == choice.winner else _KEPT
        axes.errorbar(x, y, [[max(y - score.low, 0)], [max(score.high - y, 0)]], color=color, alpha=0.35, linewidth=1)
        axes.plot(x, y, "o", color=color, markersize=7, label=result.name, zorder=4)
        points.append((x, y))
        labels.append((x, y, result.name, color))
    axes.plot(
        [size_of(result, budget) / 1000 for result in kept],
        [result.validation.value for result in kept],
        color=_KEPT,
        linewidth=1,
        drawstyle="steps-post",
        zorder=0,
    )
    if budget.kilobytes is not None:
        axes.axvline(budget.kilobytes, color=_WINNER, linestyle="--", linewidth=1)
    else:
        axes.axhline(_lowest_score(results, budget), color=_WINNER, linestyle="--", linewidth=1)
    _write_labels(figure, axes, points, labels)
    return figures.write(figure, path)


def _set_axes(axes, results: Sequence[CandidateResult], kept: Sequence[CandidateResult], budget: BudgetConfig) -> None:
    """Sets scales, limits, ticks and texts, so that the kept files fill the picture."""
    sizes = [size_of(result, budget) / 1000 for result in results]
    axes.set_xscale("log")
    axes.set_xlim(min([*sizes, budget.kilobytes or sizes[0]]) / 1.5, max([*sizes, budget.kilobytes or 0]) * 1.8)
    ticks = _round_ticks(*axes.get_xlim())
    axes.set_xticks(ticks, [f"{tick:,g}" for tick in ticks])
    axes.minorticks_off()
    scores = [bound for result in kept for bound in (result.validation.low, result.validation.high)]
    if budget.kilobytes is None:
        scores.append(_lowest_score(results, budget))
    low, high = min(scores), max(scores)
    margin = 0.1 * (high - low) or 0.01
    axes.set_ylim(low - margin, high + 2 * margin)  # more room above, for the names
    axes.set_yticks([tick for tick in axes.get_yticks() if low - margin <= tick <= max(high, 1.0)])
    axes.set(
        xlabel="kB after gzip" if budget.size == "gzip" else "kB",
        ylabel=f"validation {results[0].measure}, 95 % interval",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#eef0f3")
    axes.set_axisbelow(True)
    axes.set_title("blue: kept · orange: the winner and the budget · grey: removed", loc="left", fontsize=9)


def _write_labels(figure, axes, points: Sequence[tuple], labels: Sequence[tuple]) -> None:
    """Writes each label at the nearest place where it covers no point and no other label."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()  # sets the positions of the axes
    texts = [axes.text(0, 0, text, fontsize=8) for _, _, text, _ in labels]
    sizes = [(extent.width, extent.height) for text in texts for extent in [text.get_window_extent(renderer)]]
    for text in texts:
        text.remove()
    inside = axes.get_window_extent(renderer)
    places = free_places(
        axes.transData.transform([label[:2] for label in labels]),
        sizes,
        axes.transData.transform(points),
        (inside.x0, inside.y0, inside.x1, inside.y1),
    )
    to_points = 72 / figure.dpi
    for (x, y, text, color), (right, up, is_far) in zip(labels, places, strict=True):
        arrow = {"arrowstyle": "-", "color": color, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 3} if is_far else None
        offset = (right * to_points, up * to_points)
        options = {"fontsize": 8, "color": color, "ha": "center", "va": "center", "zorder": 5, "arrowprops": arrow}
        axes.annotate(text, (x, y), offset, textcoords="offset points", annotation_clip=False, **options)


def _lowest_score(results: Sequence[CandidateResult], budget: BudgetConfig) -> float:
    return results[0].validation.value - budget.accuracy_points / 100


def _round_ticks(low: float, high: float) -> list[float]:
    """Numbers 1, 2, 5, 10, … between `low` and `high`."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
    return [tick for tick in ticks if low <= tick <= high]
