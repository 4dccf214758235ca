"""The training as charts: each metric over the epochs of all phases, and the learning rate.

Takes the rows of `history.csv`; returns titled charts. Must not read files.
"""

import math
from collections.abc import Mapping, Sequence

from kerastrain.report import charts
from kerastrain.report.formats import seconds

_NO_METRICS = ("phase", "epoch", "seconds")
_SMALLEST_PENALTY = 5e-4  # of a loss that is shown with four digits, as a share of it
_TITLES = {"f1": "F1", "mae": "MAE", "rmse": "RMSE", "r2": "R²", "roc_auc": "ROC AUC", "learning_rate": "learning rate"}


def panels(history: Sequence[Mapping[str, str]]) -> list[tuple[str, str]]:
    """Draws a chart of each metric.

    The loss is that of the examples; where penalties on weights make the optimized loss larger, that one is dashed.

    Args:
        history: sequence of rows of `history.csv`: mappings with "phase" and columns such as "loss" and "val_loss", whose
            values are numbers as text, or empty.

    Returns:
        list of (title, markup), the loss first and the learning rate last.
    """
    columns = dict.fromkeys(column for row in history for column in row if column not in _NO_METRICS)
    names = [name for name in dict.fromkeys(c.removeprefix("val_") for c in columns) if name != "data_loss"]
    names.sort(key=lambda name: (name == "learning_rate", name != "loss"))
    return [panel for name in names if (panel := _panel(history, name))[1]]


def summary(history: Sequence[Mapping[str, str]]) -> dict:
    """Describes a training in numbers.

    Args:
        history: as for `panels`.

    Returns:
        dict of "epochs" (int), "phases" (list of (name, epochs)), "time" (str), "validates" (bool), whether a validation part was
        measured after each epoch, and "penalty" (float or None): how much larger the optimized loss of the last epoch is than
        the loss of the examples.
    """
    phases: dict[str, int] = {}
    for row in history:
        phases[row.get("phase", "")] = phases.get(row.get("phase", ""), 0) + 1
    times = [_number(row.get("seconds")) for row in history]
    penalty = [loss - data for loss, data in _penalized(history, "") if None not in (loss, data)]
    return {
        "epochs": len(history),
        "phases": [(name.replace("_", " "), count) for name, count in phases.items()],
        "time": seconds(sum(time for time in times if time is not None)) if any(times) else "",
        "validates": any(value for row in history for name, value in row.items() if str(name).startswith("val_")),
        "penalty": penalty[-1] if penalty else None,
    }


def _number(text: str | None) -> float | None:
    """A number of a history; None if it is empty or not finite."""
    value = float(text or "nan")
    return value if math.isfinite(value) else None


def _penalized(history: Sequence[Mapping[str, str]], prefix: str) -> list[tuple]:
    """The loss and the loss of the examples of each epoch; empty if no epoch has penalties on weights."""
    pairs = [(_number(row.get(f"{prefix}loss")), _number(row.get(f"{prefix}data_loss"))) for row in history]
    known = [(loss, data) for loss, data in pairs if loss is not None and data is not None]
    differs = any(abs(loss - data) > _SMALLEST_PENALTY * abs(loss) for loss, data in known)
    return pairs if differs else []


def _panel(history: Sequence[Mapping[str, str]], name: str) -> tuple[str, str]:
    epochs = range(1, len(history) + 1)
    series = []
    for prefix, colour, title in (("", "train", "training"), ("val_", "c0", "validation")):
        values = [_number(row.get(prefix + name)) for row in history]
        if name == "loss" and (pairs := _penalized(history, prefix)):
            data = [pair[1] for pair in pairs]
            series.append(_line(title, epochs, data, colour, history))
            series.append(_line(f"{title}, with penalties on weights", epochs, values, colour, history, dashed=True))
        elif any(value is not None for value in values):
            series.append(_line(title, epochs, values, colour, history))
    title = _TITLES.get(name, name.replace("_", " "))
    if name == "learning_rate":
        series = [_line("", epochs, series[0].ys, "c0", history)] if series else []
    drawn = charts.lines(
        series,
        x_title="epoch",
        y_title="",  # above the chart
        x_range=(0.5, len(history) + 0.5),
        whole_x=True,
        marks=_phases(history),
        description=f"{title} over the epochs",
    )
    return title, drawn


def _line(name, epochs, values, colour, history, *, dashed=False) -> charts.Line:
    titles = [
        f"{name} {row.get('phase', '')} epoch {row.get('epoch', '')}: {'' if value is None else f'{value:.4g}'}".strip()
        for row, value in zip(history, values, strict=True)
    ]
    return charts.Line(name, list(epochs), values, colour, dashed=dashed, titles=titles)


def _phases(history: Sequence[Mapping[str, str]]) -> list[tuple[float, str]]:
    """The places where phases begin, with their names; none if there is a single phase."""
    names = [row.get("phase", "") for row in history]
    starts = [index for index in range(len(names)) if index == 0 or names[index] != names[index - 1]]
    return [(start + 0.5, names[start].replace("_", " ")) for start in starts] if len(starts) > 1 else []
