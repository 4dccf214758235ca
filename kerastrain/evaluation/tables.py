"""Measures as tables for the terminal.

Takes the dict of `evaluate`; returns rich renderables. Class names are printed literally, never read as markup. Must not
compute measures.
"""

from collections.abc import Callable, Mapping, Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from kerastrain.errors import counted
from kerastrain.evaluation import regression
from kerastrain.system.terminal import printable

WIDEST_CONFUSION_TABLE = 20

_COLUMNS = {
    "single_label": ("precision", "recall", "f1", "roc_auc"),
    "multi_label": ("precision", "recall", "f1", "average_precision", "roc_auc"),
    "regression": regression.SCORES,
}
_HEADLINES = ("balanced_accuracy", "top_3", "top_5", "kappa", "matthews", "brier", "calibration.error")
_TITLES = {
    "balanced_accuracy": "balanced accuracy",
    "top_3": "top-3 accuracy",
    "top_5": "top-5 accuracy",
    "kappa": "Cohen's kappa",
    "matthews": "Matthews' coefficient",
    "brier": "Brier score",
    "calibration.error": "calibration error",
    "spearman": "Spearman",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "average_precision": "average precision",
    "mae": "MAE",
    "rmse": "RMSE",
    "r2": "R²",
}


def table(measures: Mapping, *, title: str = "") -> Group:
    """Tables for the terminal: the scores of each class or output, averages, and the confusion matrix.

    Args:
        measures: dict from `evaluate`, for any task.
        title: str, printed above, such as the name of the dataset.

    Returns:
        rich.console.Group. With more than 20 classes, the most common mistakes replace the confusion matrix.

    Example:
        >>> import rich
        >>> rich.print(table(measures, title="test"))  # doctest: +SKIP
    """
    worse = [row for row in measures.get("slices", ()) if row["worse"]]
    slices = [_slices(worse)] if worse else []
    if measures["task"] == "regression":
        return Group(_numbers(measures, title), *slices)
    if measures["task"] == "language":
        return Group(_tokens(measures, title), *([_preferences(measures, title)] if "preference" in measures else []))
    if measures["task"] == "multi_label":
        return Group(_classes(measures, title), _headlines(measures), *slices)
    scores = Group(_classes(measures, title), _headlines(measures), *slices)
    labels = [row["label"] for row in measures["classes"]]
    if len(labels) > WIDEST_CONFUSION_TABLE:
        return Group(scores, _mistakes(measures["confusion"], labels))
    return Group(scores, _confusion(measures["confusion"], labels))


def _tokens(measures: Mapping, title: str) -> Table:
    """The measures of a language model, before and after its training."""
    head = f"{measures['tokens']:,} learned tokens of {counted(measures['sequences'], 'sequences')}"
    table = Table(title=Text(printable(f"{title}: {head}" if title else head)), title_justify="left")
    for column in ("", "loss", "perplexity", "95 % interval", "accuracy"):
        table.add_column(column, justify="right" if column else "left")
    rows = {"before": measures.get("before"), "after": measures} if "before" in measures else {"": measures}
    for name, row in rows.items():
        interval = "–" if row["perplexity_interval"] is None else "{:.4g} to {:.4g}".format(*row["perplexity_interval"])
        table.add_row(name, f"{row['loss']:.4f}", f"{row['perplexity']:.4g}", interval, f"{row['accuracy']:.4f}")
    return table


def _preferences(measures: Mapping, title: str) -> Table:
    """How clearly a language model prefers the chosen answers of pairs, before and after its training."""
    after = measures["preference"]
    head = f"{after['pairs']:,} pairs of answers, beta {after['beta']:g}"
    table = Table(title=Text(printable(f"{title}: {head}" if title else head)), title_justify="left")
    for column in ("", "loss", "margin", "accuracy", "95 %", "chosen likelier", "95 %"):
        table.add_column(column, justify="right" if column else "left")
    before = measures.get("before", {}).get("preference")
    rows = {"": after} if before is None else {"before": before, "after": after}
    for name, row in rows.items():
        shares = []
        for key in ("accuracy", "likelier"):
            low, high = row[f"{key}_interval"]
            shares += [f"{row[key]:.4f}", f"{low:.2f}–{high:.2f}"]
        table.add_row(name, f"{row['loss']:.4f}", f"{row['margin']:.4g}", *shares)
    return table


def _classes(measures: Mapping, title: str) -> Table:
    columns, intervals = _COLUMNS[measures["task"]], measures.get("intervals", {})
    count = counted(measures["count"], "examples")
    head = f"{count}, accuracy {_number(measures['accuracy'])}{_within(intervals.get('accuracy'))}"
    head += f", loss {_number(measures['loss'])}"
    if measures["task"] == "multi_label":
        head += f", all labels right {_number(measures['exact'])}{_within(intervals.get('exact'))}"
    scores = Table(title=Text(printable(f"{title}: {head}" if title else head)), title_justify="left")
    scores.add_column("class", overflow="fold")
    for column in (*columns, "examples"):
        scores.add_column(_TITLES.get(column, column), justify="right")
    for row in measures["classes"]:
        scores.add_row(Text(printable(row["label"])), *(_number(row[score]) for score in columns), str(row["support"]))
    scores.add_section()
    for average in ("macro", "weighted"):
        values = (_number(measures[average][score]) for score in columns)
        scores.add_row(Text(f"{average} average", style="bold"), *values, str(measures["count"]))
        limits = [intervals.get(f"{average}.{score}") for score in columns]
        if average == "macro" and any(limits):
            scores.add_row(Text("  95 %", style="dim"), *(_limits(pair, _fraction) for pair in limits), "")
    return scores


def _headlines(measures: Mapping) -> Text:
    """The numbers of a whole data set, in a line."""
    intervals = measures.get("intervals", {})
    values = measures | {"calibration.error": measures.get("calibration", {}).get("error")}
    found = [name for name in _HEADLINES if values.get(name) is not None]
    return Text(", ".join(f"{_TITLES[name]} {_number(values[name])}{_within(intervals.get(name))}" for name in found))


def _slices(worse: Sequence[Mapping]) -> Table:
    """The slices in which the model is worse than elsewhere."""
    name = "error" if "error" in worse[0] else "accuracy"
    table = Table(title=Text("Worse than the rest, by more than chance"), title_justify="left")
    for column in ("by", "value", "examples", name, "95 %", "rest"):
        table.add_column(column, justify="left" if column in ("by", "value") else "right", overflow="fold")
    shown = "{:.2f}".format if name == "accuracy" else "{:.3g}".format
    for row in worse:
        numbers = (shown(row[name]), _limits(row["interval"], shown), shown(row["rest"]))
        table.add_row(Text(printable(row["by"])), Text(printable(row["value"])), str(row["count"]), *numbers)
    return table


def _numbers(measures: Mapping, title: str) -> Table:
    interval = measures.get("intervals", {}).get("r2")
    head = f"{counted(measures['count'], 'examples')}, R² {_number(measures['r2'])}{_within(interval)}"
    scores = Table(title=Text(printable(f"{title}: {head}" if title else head)), title_justify="left")
    scores.add_column("number", overflow="fold")
    columns = _COLUMNS["regression"]
    for column in (*columns, "truth"):
        scores.add_column(_TITLES.get(column, column), justify="right")
    for row in measures["outputs"]:
        truth = f"{row['mean']:.3g} ± {row['stddev']:.3g}"
        scores.add_row(Text(printable(row["label"])), *(_short(row.get(score)) for score in columns), truth)
        intervals = row.get("intervals", {})
        for index, side in enumerate(("95 %", "to") if intervals else ()):
            cells = (_short(intervals[score][index]) if score in intervals else "" for score in columns)
            scores.add_row(Text(f"  {side}", style="dim"), *cells)
    return scores


def _confusion(confusion: Sequence[Sequence[int]], labels: Sequence[str]) -> Table:
    matrix = Table(title=Text("Confusion"), title_justify="left")
    matrix.add_column("true \\ predicted")
    for label in labels:
        matrix.add_column(Text(printable(label)), justify="right", overflow="fold")
    for index, (label, row) in enumerate(zip(labels, confusion, strict=True)):
        cells = (Text(str(n) if n else "·", style="bold green" if index == j else "") for j, n in enumerate(row))
        matrix.add_row(Text(printable(label)), *cells)
    return matrix


def _mistakes(confusion: Sequence[Sequence[int]], labels: Sequence[str], limit: int = 10) -> Table:
    pairs = [
        (count, labels[i], labels[j])
        for i, row in enumerate(confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    mistakes = Table(title=Text("Most common mistakes"), title_justify="left")
    for column in ("true class", "predicted", "examples"):
        mistakes.add_column(column, justify="right" if column == "examples" else "left", overflow="fold")
    for count, target, predicted in sorted(pairs, key=lambda pair: -pair[0])[:limit]:
        mistakes.add_row(Text(printable(target)), Text(printable(predicted)), str(count))
    return mistakes


def _within(limits: Sequence[float] | None) -> str:
    return "" if limits is None else f" ({_limits(limits)})"


def _limits(limits: Sequence[float] | None, shown: Callable[[float], str] = "{:.2f}".format) -> str:
    return "" if limits is None else f"{shown(limits[0])}{' to ' if limits[0] < 0 else '–'}{shown(limits[1])}"


def _fraction(value: float) -> str:
    """A fraction in three characters, so that an interval fits under a heading."""
    return "1.0" if value >= 0.995 else f"{value:.2f}".removeprefix("0")


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
