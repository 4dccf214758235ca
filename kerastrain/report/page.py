"""Renders the template `page.html` with the contents of a run's files.

Takes a run directory; writes `report.html`. Every value is escaped by jinja2, pictures are embedded as data, and the
page's content security policy blocks scripts and everything from other addresses.
"""

import base64
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import kerastrain
from kerastrain.data.image_files import quarantine
from kerastrain.report import explained_texts, pictures, run_files, templates
from kerastrain.system import files

LARGEST_CONFUSION_TABLE = 30
LARGEST_QUARANTINE_TABLE = 200
SCORES = {
    "language": {"loss": "Loss, nats a token", "perplexity": "Perplexity", "accuracy": "Accuracy of the next token"},
    "single_label": {"precision": "Precision", "recall": "Recall", "f1": "F1", "roc_auc": "ROC AUC"},
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
        "bias": "Bias",
        "mean": "True mean",
        "stddev": "True deviation",
    },
}


def write(run_directory: str | os.PathLike) -> Path:
    """Writes `report.html` into a run directory, from the files in it.

    The page shows the training curves, the measures of each class, confusion and calibration on each data set, the
    exported files with their checks, the compression, heatmaps or explained texts, skipped files and the config, as far as
    the run has them.

    Args:
        run_directory: path of the run. It must contain `config.yaml`; all other files may be missing.

    Returns:
        Path of the page, which replaces an earlier one.

    Raises:
        FileNotFoundError: `run_directory` does not exist or has no `config.yaml`.
        InputError: a file of the run has invalid content; the message names the file.
        OSError: the directory is not writable.

    Example:
        >>> kt.report.write("runs/flowers")  # doctest: +SKIP
    """
    directory = run_files.run_folder(run_directory)
    run = run_files.read(directory)
    environment = templates.environment()
    environment.filters |= {"number": _number, "score": _score, "percent": _percent, "size": _size}
    page = environment.get_template("page.html").render(
        run=run,
        version=kerastrain.__version__,
        scores=SCORES,
        curves=_picture(pictures.curves(run.history)) if run.history else None,
        sets={name: _set(measures) for name, measures in run.measures.items()},
        skipped=_skipped(run.quarantine),
        pareto=_data(run.pareto, "image/png") if run.pareto else None,
        explained_texts=[explained_texts.shown(record) for record in run.explained_texts],
        explanations={name: _data(content, "image/png") for name, content in run.explanations.items()},
    )
    return files.write_text(directory / "report.html", page)


def _set(measures: Mapping) -> dict:
    """Returns the measures of a data set with their pictures and the most frequent mistakes."""
    if measures["task"] == "regression":
        drawn = zip(measures["outputs"], measures["scatter"], strict=True)
        return {**measures, "pictures": [(row["label"], _picture(pictures.scatter(pairs))) for row, pairs in drawn]}
    if measures["task"] == "language":
        return dict(measures)
    if measures["task"] == "multi_label":
        return {**measures, "mistakes": [], "shares": None}
    confusion = measures["confusion"]
    is_small = len(confusion) <= LARGEST_CONFUSION_TABLE
    return {
        **measures,
        "shares": [[count / max(sum(row), 1) for count in row] for row in confusion] if is_small else None,
        "confusion_picture": None if is_small else _picture(pictures.confusion(confusion)),
        "mistakes": _mistakes(confusion, [row["label"] for row in measures["classes"]]),
        "reliability": _picture(pictures.reliability(measures["calibration"])),
    }


def _mistakes(confusion: Sequence[Sequence[int]], names: Sequence[str], most: int = 8) -> list[tuple[int, str, str]]:
    mistakes = [
        (count, names[truth], names[predicted])
        for truth, row in enumerate(confusion)
        for predicted, count in enumerate(row)
        if truth != predicted and count
    ]
    return sorted(mistakes, key=lambda mistake: -mistake[0])[:most]


def _skipped(rows: Sequence[Mapping[str, str]]) -> dict:
    """Returns the number of skipped files, their kinds with counts and meanings, and the first rows."""
    counts = Counter(row["kind"] for row in rows)
    # Duplicates come first, because they can make the measures misleading.
    order = sorted(counts, key=lambda kind: (kind not in quarantine.ALARMING, kind not in quarantine.REPEATS, kind))
    kinds = [(kind, counts[kind], quarantine.KINDS.get(kind, ""), kind in quarantine.ALARMING) for kind in order]
    return {"count": len(rows), "kinds": kinds, "rows": rows[:LARGEST_QUARANTINE_TABLE]}


def _picture(svg: str) -> str:
    return _data(svg.encode(), "image/svg+xml")


def _data(content: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return "–"
    for unit in ("B", "kB", "MB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} GB"
