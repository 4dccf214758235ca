"""The measures of a data set as a page shows them: a headline, scores with intervals, curves, classes and slices.

Takes the measures of a set from `metrics.json`, also of versions that wrote fewer; returns plain values and charts. Must not
read files.
"""

from collections.abc import Callable, Mapping, Sequence

from kerastrain.report import charts, confusion
from kerastrain.report.formats import count, interval, number, percent, score

MOST_CLASSES = 25
"""The largest number of classes in a table that is shown at once; of more, those with the lowest scores come first."""

_MOST_LINES = 6  # classes with a line of their own among the curves, beside two averages
_MOST_SLICES = 12

CLASS_SCORES = {
    "single_label": {
        "precision": "Precision",
        "recall": "Recall",
        "f1": "F1",
        "average_precision": "Average precision",
        "roc_auc": "ROC AUC",
    },
    "multi_label": {
        "precision": "Precision",
        "recall": "Recall",
        "f1": "F1",
        "average_precision": "Average precision",
        "roc_auc": "ROC AUC",
    },
    "regression": {
        "mae": "Mean absolute error",
        "rmse": "Root mean squared error",
        "r2": "R²",
        "spearman": "Spearman's ρ",
        "bias": "Bias",
        "mean": "True mean",
        "stddev": "True deviation",
    },
    "language": {"loss": "Loss, nats a token", "perplexity": "Perplexity", "accuracy": "Accuracy of the next token"},
}

# The path of each measure of a whole set, its name, its form, and the direction in which it is better.
_SCORES: tuple[tuple[str, str, Callable], ...] = (
    ("accuracy", "Accuracy", percent),
    ("exact", "Exact match", percent),
    ("balanced_accuracy", "Balanced accuracy", percent),
    ("top_3", "Top-3 accuracy", percent),
    ("top_5", "Top-5 accuracy", percent),
    ("macro.f1", "F1, macro", score),
    ("macro.precision", "Precision, macro", score),
    ("macro.recall", "Recall, macro", score),
    ("macro.specificity", "Specificity, macro", score),
    ("macro.average_precision", "Average precision, macro", score),
    ("macro.roc_auc", "ROC AUC, macro", score),
    ("weighted.f1", "F1, weighted", score),
    ("weighted.average_precision", "Average precision, weighted", score),
    ("weighted.roc_auc", "ROC AUC, weighted", score),
    ("micro.average_precision", "Average precision, micro", score),
    ("micro.roc_auc", "ROC AUC, micro", score),
    ("kappa", "Cohen's kappa", score),
    ("matthews", "Matthews' coefficient", score),
    ("macro.matthews", "Matthews' coefficient, macro", score),
    ("loss", "Log loss, nats", score),
    ("brier", "Brier score", score),
    ("calibration.error", "Calibration error", score),
    ("r2", "R²", score),
    ("spearman", "Spearman's ρ", score),
    ("mae", "Mean absolute error", number),
    ("rmse", "Root mean squared error", number),
)
_HEADLINES = {"single_label": "accuracy", "multi_label": "macro.average_precision", "regression": "r2"}
_BESIDE = {
    "single_label": {"macro.f1": "macro F1", "loss": "loss"},
    "multi_label": {"macro.f1": "macro F1", "exact": "exact match"},
    "regression": {},
}


def view(measures: Mapping) -> dict:
    """Prepares the measures of a data set.

    Args:
        measures: mapping with "task" and the measures of that task.

    Returns:
        dict with all of `measures` and "tile", "columns", "class_rows", "other_rows", "scores", "charts", "matrix" and
        "slice_rows".
    """
    task = measures["task"]
    columns = {
        key: title
        for key, title in CLASS_SCORES[task].items()
        if task == "language" or any(row.get(key) is not None for row in _rows(measures))
    }
    if task == "language":
        return {**measures, "columns": columns, "charts": [], "matrix": None, "slice_rows": []}
    first, others = _split_classes(_rows(measures))
    return {
        **measures,
        "tile": _tile(measures),
        "columns": columns,
        "class_rows": first,
        "other_rows": others,
        "scores": scores(measures),
        "charts": _charts(measures),
        "matrix": _matrix(measures),
        "slice_rows": _slices(measures),
    }


def scores(measures: Mapping) -> list[dict]:
    """The measures of a whole set that exist.

    Args:
        measures: as for `view`.

    Returns:
        list of dict with "key", "name", "value" (float), "text" and "interval" (str, empty without one).
    """
    rows = []
    for key, name, form in _SCORES:
        value = _lookup(measures, key)
        if isinstance(value, int | float):
            ends = interval(measures.get("intervals", {}).get(key), form)
            rows.append({"key": key, "name": name, "value": value, "text": form(value), "interval": ends})
    return rows


def _lookup(measures: Mapping, key: str) -> object:
    """The value at a path such as "macro.f1"; None if there is none."""
    value = measures
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def _tile(measures: Mapping) -> dict:
    task = measures["task"]
    rows = {row["key"]: row for row in scores(measures)}
    main = rows.get(_HEADLINES[task], {"name": "R²" if task == "regression" else "", "text": "–", "interval": ""})
    title = {"multi_label": "mean average precision", "single_label": "accuracy"}.get(task, main["name"])
    beside = [f"{name} {rows[key]['text']}" for key, name in _BESIDE[task].items() if key in rows]
    beside += [
        f"{row['label']}: mean absolute error {number(row['mae'])}"
        for row in measures.get("outputs", [])[:3]
        if task == "regression"
    ]
    if task == "multi_label" and "text" in main and isinstance(main.get("value"), float):
        main = {**main, "text": percent(main["value"])}
        main["interval"] = interval(measures.get("intervals", {}).get(_HEADLINES[task]), percent)
    return {"name": title, "text": main["text"], "interval": main["interval"], "beside": beside}


def _rows(measures: Mapping) -> list[Mapping]:
    return measures.get("classes") or measures.get("outputs") or []


def _split_classes(rows: Sequence[Mapping]) -> tuple[list, list]:
    """The rows of a table that are shown at once, and the others: all, or those with the lowest F1 first."""
    if len(rows) <= MOST_CLASSES:
        return list(rows), []
    ordered = sorted(rows, key=lambda row: (row.get("f1") is None, row.get("f1") or 0.0))
    return ordered[:MOST_CLASSES], ordered[MOST_CLASSES:]


def _charts(measures: Mapping) -> list[tuple[str, str, str]]:
    """The charts of a set, each as (title, markup, caption)."""
    drawn = []
    if measures["task"] == "regression":
        for row, pairs in zip(measures["outputs"], measures["scatter"], strict=True):
            drawn_pairs = charts.Line("", *zip(*pairs, strict=True), joined=False)
            ends = min(map(min, pairs)), max(map(max, pairs))
            margin = (ends[1] - ends[0]) * 0.05 or 1.0
            range_ = {"x_range": (ends[0] - margin, ends[1] + margin), "y_range": (ends[0] - margin, ends[1] + margin)}
            about = f"Predicted over true {row['label']}"
            axes = {"x_title": "true", "y_title": "predicted"}
            markup = charts.lines([drawn_pairs], **axes, **range_, diagonal=True, description=about)
            drawn.append((row["label"], markup, "Predictions on the dashed line are exact."))
    for kind, title, axes, titles, caption in (
        ("roc", "ROC", ("fpr", "tpr"), ("false positive rate", "true positive rate"), "The dashed line is a guess."),
        ("precision_recall", "Precision and recall", ("recall", "precision"), ("recall", "precision"), ""),
    ):
        curves = measures.get("curves", {}).get(kind)
        series = _curves(curves, axes, is_exclusive=measures["task"] == "single_label")
        range_ = {"x_range": (0, 1), "y_range": (0, 1.02)}
        markup = charts.lines(series, x_title=titles[0], y_title=titles[1], **range_, diagonal=kind == "roc")
        drawn.append((title, markup, _caption(measures, series, caption)))
    if bins := [entry for entry in measures.get("calibration", {}).get("bins", []) if entry["count"]]:
        titles = [
            f"{entry['count']} examples from {entry['from']:.0%} to {entry['to']:.0%}: confidence {entry['confidence']:.0%}, "
            f"accuracy {entry['accuracy']:.0%}"
            for entry in bins
        ]
        confidence, accuracy = ([entry[key] for entry in bins] for key in ("confidence", "accuracy"))
        line = charts.Line("", confidence, accuracy, titles=titles)
        markup = charts.lines(
            [line], x_title="confidence", y_title="accuracy", x_range=(0, 1), y_range=(0, 1.02), diagonal=True
        )
        error = number(measures["calibration"].get("error"))
        caption = f"Expected error {error}. Points below the dashed line are overconfident."
        drawn.append(("Calibration", markup, caption))
    return [chart for chart in drawn if chart[1]]


def _curves(curves: Mapping | None, axes: tuple[str, str], *, is_exclusive: bool) -> list[charts.Line]:
    """The lines of the averages and of some classes, those with the smallest area first."""
    if not curves:
        return []
    named = [(row["label"], row) for row in curves["classes"] if row[axes[0]]]
    # Of two classes that exclude each other, one curve says the same as the other and as their averages.
    named = named[-1:] if is_exclusive and len(curves["classes"]) == 2 else named
    averages = [name for name in ("macro", "micro") if curves.get(name) and len(named) > 1]
    named.sort(key=lambda pair: _area(*(pair[1][axis] for axis in axes)))
    lines = [(name, curves[name], False) for name in averages] + [
        (*pair, bool(averages)) for pair in named[:_MOST_LINES]
    ]
    return [
        charts.Line(name, *(row[axis] for axis in axes), colour, thin=thin)
        for (name, row, thin), colour in zip(lines, charts.COLOURS, strict=False)
    ]


def _area(xs: Sequence[float], ys: Sequence[float]) -> float:
    pairs = sorted(zip(xs, ys, strict=True))
    return sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(pairs, pairs[1:], strict=False))


def _caption(measures: Mapping, series: Sequence[charts.Line], caption: str) -> str:
    count = len(_rows(measures))
    if count > _MOST_LINES and len(series) > 1:
        caption += f" Of {count} classes the {_MOST_LINES} with the smallest area are shown."
    elif len(series) == 1:
        caption += f" Of {series[0].name} against the rest."
    return caption.strip()


def _matrix(measures: Mapping) -> dict | None:
    if measures["task"] != "single_label":
        return None
    return confusion.view(measures["confusion"], [row["label"] for row in measures["classes"]])


def _slices(measures: Mapping) -> list[dict]:
    """The slices of a set, those that are worse first."""
    rows = []
    for row in measures.get("slices") or []:
        key = "accuracy" if row.get("accuracy") is not None else "error"
        form = percent if key == "accuracy" else number
        rows.append(
            {
                "by": row.get("by", ""),
                "value": row.get("value", ""),
                "count": count(row.get("count")),
                "score": form(row.get(key)),
                "interval": interval(row.get("interval"), form),
                "rest": form(row.get("rest")),
                "p": number(row.get("p")),
                "worse": bool(row.get("worse")),
                "order": (not row.get("worse"), row.get("p") if row.get("p") is not None else 1.0),
            }
        )
    return sorted(rows, key=lambda row: row["order"])[:_MOST_SLICES]
