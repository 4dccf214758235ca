"""The charts of a search as SVG: parallel coordinates, the score against each key, history, curves and Pareto set.

Takes trials as `search_views.Trial` and axes; returns markup. Must not read files or know how a search works.
"""

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup

from kerastrain.report import charts
from kerastrain.report.search_axes import Axis, short
from kerastrain.report.search_trials import Trial

GRADES = ("g0", "g1", "g2", "g3", "g4")
"""Colours of completed trials from the worst fifth to the best."""

_TOP, _BOTTOM, _LEFT, _RIGHT, _HEIGHT = 44, 16, 52, 64, 330
_LINE_LENGTH = 13  # characters of a line of a key's name
_MOST_TITLES = 150  # of trials; of more, a chart with a text for each point would be large


def score_range(scores: Sequence[float]) -> tuple[float, float]:
    """The scores that a chart shows: all, without those far worse or better than the rest.

    Args:
        scores: sequence of float, at least one.

    Returns:
        tuple of the lowest and the highest score of the chart; different numbers.
    """
    ordered = sorted(scores)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    reach = 3 * (high - low)
    inside = [score for score in ordered if not reach or low - reach <= score <= high + reach]
    margin = (inside[-1] - inside[0]) * 0.06 or abs(inside[0]) * 0.1 or 1.0
    return inside[0] - margin, inside[-1] + margin


def history(trials: Sequence[Trial], best_so_far: Sequence[float | None], *, title: str) -> Markup:
    """Draws the score of each trial in their order, with the best so far.

    Args:
        trials: sequence of Trial, in the order of their start.
        best_so_far: sequence of float or None, the best score up to each trial.
        title: str, the name of the score.

    Returns:
        Markup; empty without a score.
    """
    scores = [trial.score for trial in trials if trial.score is not None]
    if not scores:
        return Markup("")
    low, high = score_range(scores)
    steps = [(number + end, value) for number, value in enumerate(best_so_far, start=1) for end in (-0.5, 0.5)]
    series = [charts.Line("best so far", [x for x, _ in steps], [y for _, y in steps], "c1", thin=True)]
    for status, colour, marker in (("completed", "c0", "dot"), ("pruned", "quiet", "ring"), ("failed", "bad", "cross")):
        chosen = [(number, trial) for number, trial in enumerate(trials, start=1) if trial.kind == status]
        if not chosen:
            continue
        ys = [low if status == "failed" else trial.score for _, trial in chosen]
        titles = [trial.title for _, trial in chosen]
        xs = [number for number, _ in chosen]
        series.append(charts.Line(status, xs, ys, colour, joined=False, titles=titles, marker=marker))
    return charts.lines(
        series,
        x_title="trial, in the order of their start",
        y_title=title,
        x_range=(0.5, len(trials) + 0.5),
        y_range=(low, high),
        whole_x=True,
        description=f"{title} of {len(trials)} trials in their order",
    )


def curves(trials: Sequence[Trial], best: int | None, *, title: str) -> Markup:
    """Draws the learning curves of all trials, the best last.

    Args:
        trials: sequence of Trial.
        best: int, the number of the best trial, or None.
        title: str, the name of the measure.

    Returns:
        Markup; empty without a curve.
    """
    drawn = [trial for trial in _by_grade(trials, best) if trial.curve]
    if not drawn:
        return Markup("")
    series = []
    for trial in drawn:
        xs, ys = zip(*trial.curve, strict=True)
        is_best = trial.number == best
        name, colour = (f"trial {best}, the best", "c1") if is_best else (trial.title, _colour(trial))
        series.append(
            charts.Line(name, xs, ys, colour, thin=not is_best, dashed=trial.kind != "completed", in_legend=is_best)
        )
    values = [y for trial in drawn for _, y in trial.curve]
    longest = max(at for trial in drawn for at, _ in trial.curve)
    low, high = score_range(values)
    return charts.lines(
        series,
        x_title="epoch",
        y_title=title,
        x_range=(0.5, longest + 0.5),
        y_range=(low, high),
        whole_x=True,
        description=f"{title} of {len(drawn)} trials over the epochs",
    )


def against(trials: Sequence[Trial], axis: Axis, best: int | None, *, title: str) -> Markup:
    """Draws the scores of trials against the values of a key.

    Args:
        trials: sequence of Trial; those without a score or a value are left out.
        axis: Axis of the key.
        best: int, the number of the best trial, or None.
        title: str, the name of the score.

    Returns:
        Markup; empty if there are fewer than two such trials.
    """
    shown = [trial for trial in trials if trial.score is not None and axis.key.name in trial.values]
    if len(shown) < 2:
        return Markup("")
    low, high = score_range([trial.score for trial in shown])
    series = []
    for kind, colour, marker in (("pruned", "quiet", "ring"), ("completed", "c0", "dot"), ("best", "c1", "dot")):
        chosen = [trial for trial in shown if ("best" if trial.number == best else trial.kind) == kind]
        xs = [axis.place(trial.values[axis.key.name]) + _shift(axis, trial) for trial in chosen]
        titles = [trial.title for trial in chosen] if len(shown) <= _MOST_TITLES else [f"{t.number}" for t in chosen]
        series.append(
            charts.Line("", xs, [t.score for t in chosen], colour, joined=kind == "best", titles=titles, marker=marker)
        )
    return charts.lines(
        series,
        x_title="",
        y_title=title,
        x_range=(-0.04, 1.04),
        y_range=(low, high),
        x_ticks=_apart(axis.ticks),
        description=f"{title} against {axis.key.name}",
    )


def pareto(trials: Sequence[Trial], front: Sequence[int], first: Mapping, second: Mapping) -> Markup:
    """Draws trials by two objectives, those that no other beats joined.

    Args:
        trials: sequence of Trial.
        front: sequence of int, the numbers of the trials that no other beats.
        first: mapping, an objective with "measure" and "direction", below.
        second: mapping, another, at the left.

    Returns:
        Markup; empty if no trial has both measures.
    """
    pairs = [(trial, trial.measures.get(first["measure"]), trial.measures.get(second["measure"])) for trial in trials]
    pairs = [(trial, x, y) for trial, x, y in pairs if x is not None and y is not None]
    on = sorted((pair for pair in pairs if pair[0].number in set(front)), key=lambda pair: pair[1])
    off = [pair for pair in pairs if pair[0].number not in set(front)]
    series = [
        charts.Line("other trials", *_columns(off), "c0", joined=False, titles=[pair[0].title for pair in off]),
        charts.Line("Pareto set", *_columns(on), "c1", titles=[pair[0].title for pair in on]),
    ]
    names = [f"{goal['measure']} ({goal['direction']})" for goal in (first, second)]
    return charts.lines([line for line in series if line.xs], x_title=names[0], y_title=names[1])


def parallel(trials: Sequence[Trial], axes: Sequence[Axis], best: int | None, *, title: str) -> Markup:
    """Draws each trial as a line over the axes of all keys and of the score, the best last.

    A line has a gap where a key is not set. That of a failed trial ends before the score.

    Args:
        trials: sequence of Trial.
        axes: sequence of Axis, from left to right.
        best: int, the number of the best trial, or None.
        title: str, the name of the score.

    Returns:
        Markup of an SVG that may be wider than the page; empty with fewer than two scores.
    """
    scores = [trial.score for trial in trials if trial.score is not None]
    if len(scores) < 2 or not axes:
        return Markup("")
    low, high = score_range(scores)
    step = max(80, min(150, 950 / len(axes)))
    width = _LEFT + step * len(axes) + _RIGHT
    xs = [_LEFT + step * number for number in range(len(axes) + 1)]
    lines = [_polyline(trial, axes, xs, (low, high), best) for trial in _by_grade(trials, best)]
    frames = [_axis(x, axis.key.name, axis.ticks) for x, axis in zip(xs, axes, strict=False)]
    ticks = [((value - low) / (high - low), f"{value:.4g}") for value in charts.round_numbers(low, high)]
    frames.append(_axis(xs[-1], title, ticks))
    height = _TOP + _HEIGHT + _BOTTOM
    return Markup(
        '<svg class="chart wide" viewBox="0 0 {} {}" style="min-width:{}px;max-width:{}px" role="img" aria-label="{}">{}</svg>'
    ).format(
        *(round(width), height, round(width), round(width * 1.15)),
        f"parallel coordinates of {len(trials)} trials over {len(axes)} keys and {title}",
        Markup("").join([*lines, *frames]),
    )


def _polyline(trial: Trial, axes: Sequence[Axis], xs: Sequence[float], scores: tuple, best: int | None) -> Markup:
    low, high = scores
    fractions = [axis.place(trial.values[axis.key.name]) if axis.key.name in trial.values else None for axis in axes]
    fractions.append(None if trial.score is None else min(max((trial.score - low) / (high - low), 0.0), 1.0))
    runs, run = [], []
    for x, fraction in zip(xs, fractions, strict=True):
        if fraction is None:
            runs.append(run)
            run = []
        else:
            run.append(f"{x:.0f} {_y(fraction):.1f}")
    # A key that is set between two that are not is a short stroke.
    routes = ["M" + "L".join(points) + ("m-5 0h10" if len(points) == 1 else "") for points in [*runs, run] if points]
    classes = "line s-c1 best" if trial.number == best else f"line thin s-{_colour(trial)}"
    dashed = "" if trial.kind == "completed" else " dashed"
    return Markup('<path d="{}" class="{}"><title>{}</title></path>').format(
        "".join(routes), classes + dashed, trial.title
    )


def _axis(x: float, name: str, ticks: Sequence[tuple[float, str]]) -> Markup:
    parts = [Markup('<path d="M{:.0f} {:.0f}V{:.0f}" class="mark"/>').format(x, _y(0), _y(1))]
    for number, line in enumerate(_wrapped(name)):
        parts.append(
            Markup('<text x="{:.0f}" y="{}" text-anchor="middle" class="name">{}</text>').format(
                x, 11 + 11 * number, line
            )
        )
    for fraction, text in ticks:
        parts.append(
            Markup('<text x="{:.0f}" y="{:.1f}" dy=".35em" class="tick">{}</text>').format(x + 4, _y(fraction), text)
        )
    return Markup("<g><title>{}</title>{}</g>").format(name, Markup("").join(parts))


def _wrapped(name: str) -> list[str]:
    """A dotted key on up to three lines."""
    lines = [""]
    for part in name.replace(".", ".\0").replace("_", "_\0").split("\0"):
        if len(lines[-1]) + len(part) > _LINE_LENGTH and lines[-1]:
            lines.append("")
        lines[-1] += part
    lines = lines if len(lines) <= 3 else [*lines[:2], "".join(lines[2:])]
    return [short(line, _LINE_LENGTH) for line in lines]


def _y(fraction: float) -> float:
    return _TOP + _HEIGHT - (_HEIGHT - 14) * fraction - 4


def _by_grade(trials: Sequence[Trial], best: int | None) -> list[Trial]:
    """Failed and pruned trials first, then the others from the worst to the best."""
    return sorted(trials, key=lambda trial: (trial.number == best, trial.kind == "completed", trial.grade or 0))


def _colour(trial: Trial) -> str:
    if trial.kind == "failed":
        return "bad"
    return GRADES[trial.grade] if trial.kind == "completed" and trial.grade is not None else "train"


def _columns(pairs: Sequence[tuple]) -> tuple[list, list]:
    return [x for _, x, _ in pairs], [y for _, _, y in pairs]


def _shift(axis: Axis, trial: Trial) -> float:
    """Moves trials with the same choice apart, always in the same way."""
    if axis.key.choices is None:
        return 0.0
    return ((trial.number * 0.618) % 1 - 0.5) * 0.4 / len(axis.key.choices)


def _apart(ticks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Shortens the texts below a chart so that they do not touch."""
    if not ticks:
        return []
    most = max(3, math.floor(46 / len(ticks)))
    return [(place, short(text, most)) for place, text in ticks]
