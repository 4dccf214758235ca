"""Writes the page of a run and its model card, from the files in the run's directory.

Takes a run directory; writes `report.html` and `model_card.md`. Every value is escaped by jinja2, pictures are embedded as
data, and the page's content security policy blocks scripts and everything from other addresses.
"""

import os
import traceback
from pathlib import Path

import jinja2

import kerastrain
from kerastrain.errors import InputError
from kerastrain.report import (
    data_views,
    explained_texts,
    finding_views,
    fold_views,
    measure_views,
    model_card,
    run_files,
    search_page,
    templates,
    time_parts,
    training_views,
)
from kerastrain.system import files, stopwatch

FILES = ("report.html", "model_card.md")
_UNEXPECTED = (TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError, OSError)
_VERSIONS = ("kerastrain", "python", "tensorflow", "keras", "tensorflow-hub", "numpy")


@stopwatch.timed("report")
def write(run_directory: str | os.PathLike) -> Path:
    """Writes `report.html` and `model_card.md` into a run directory, or `search.html` into that of a search, from its files.

    The page has the verdict, the measures with intervals, the training data with samples, the training curves, the measures
    of each set and class with their curves, confusion and slices, the errors, explanations, findings in the data, exported
    files with their checks, the compression, and how to reproduce the run, as far as the run has them. It reads on a
    screen, a phone and paper, light and dark, and runs and loads nothing. The card has the metadata of Hugging Face's model
    cards. Of a search, `search_page.write` writes the page.

    Args:
        run_directory: path of the run or search. It must contain `config.yaml`; all other files may be missing.

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
    if search_page.is_search(directory):
        return search_page.write(directory)
    run = run_files.read(directory)
    try:
        page = templates.environment().get_template("page.html").render(**_content(run, directory))
        card = model_card.text(run)
    except InputError:
        raise
    except (*_UNEXPECTED, jinja2.UndefinedError) as error:
        templates_of = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
        section = next((path.stem for path in reversed(templates_of) if path.suffix in (".html", ".md")), "model card")
        raise InputError(
            f"a file of {str(directory)!r} has content that a report cannot show: {error}, for its section {section!r}. Write "
            "the file again with this version of kerastrain, or remove it."
        ) from error
    if not run.folds:  # There is no single model.
        files.write_text(directory / FILES[1], card)
    return files.write_text(directory / FILES[0], page)


def _content(run: run_files.RunFiles, directory: Path) -> dict:
    """What the templates show."""
    views = {
        "verdict": ("verdict.json", lambda: finding_views.verdict(run.verdict)),
        "sets": ("metrics.json", lambda: {name: measure_views.view(record) for name, record in run.measures.items()}),
        "data": ("training_data.json", lambda: data_views.training_data(run.training_data, run.training_samples)),
        "curves": ("history.csv", lambda: training_views.panels(run.history)),
        "training": ("history.csv", lambda: training_views.summary(run.history) if run.history else None),
        "time_rows": (time_parts.FILE, lambda: time_parts.rows(run.profile)),
        "time_sentences": (time_parts.FILE, lambda: time_parts.sentences(run.profile)),
        "operating_point": ("operating_point.json", lambda: finding_views.operating_point(run.operating_point)),
        "folds": ("folds.json", lambda: fold_views.view(run.folds)),
        "errors": ("errors.json", lambda: finding_views.errors(run.errors, run.thumbnails)),
        "data_check": ("data_check/findings.json", lambda: finding_views.data_check(run.data_check, run.thumbnails)),
        "skipped": ("quarantine.csv", lambda: data_views.skipped(run.quarantine)),
        "times": ("exports/latency.json", lambda: _times(run.latency)),
        "heatmaps": (
            "explanations/index.json",
            lambda: finding_views.heatmaps(run.explanations, run.explanation_index),
        ),
        "methods": (
            "explanations/index.json",
            lambda: finding_views.methods(run.explanation_methods, run.explanation_index),
        ),
        "explained_texts": ("explanations/texts.jsonl", lambda: list(map(explained_texts.shown, run.explained_texts))),
    }
    content = {
        "run": run,
        "version": kerastrain.__version__,
        "pareto": data_views.as_data(run.pareto) if run.pareto else None,
        "versions": [(name, run.environment[name]) for name in _VERSIONS if name in run.environment],
        "seed": model_card.settings(run.config, "runtime").get("seed"),
        "backbone": model_card.settings(run.config, "model").get("backbone"),
    }
    for key, (name, view) in views.items():
        try:
            content[key] = view()
        except _UNEXPECTED as error:
            raise InputError(
                f"`{directory / name}` has content that a report cannot show: {error!r}. Write the file again with this "
                "version of kerastrain, or remove it."
            ) from error
    return {**content, "contents": _contents(run, content)}


def _times(latency: dict) -> dict[str, float]:
    """The seconds of one example in each exported file, by its path in the run."""
    return {f"exports/{name}": float(value) for name, value in (latency.get("seconds") or {}).items()}


def _contents(run: run_files.RunFiles, content: dict) -> list[tuple[str, str]]:
    """The sections of the page, as (anchor, title)."""
    measures = [(f"measures-{number}", f"Measures: {name}") for number, name in enumerate(content["sets"], start=1)]
    entries = [
        ("folds", "Folds", content["folds"]),
        ("data", "Training data", content["data"]),
        ("training", "Training", content["curves"]),
        *((anchor, title, True) for anchor, title in measures),
        ("operating-point", "Operating point", content["operating_point"]),
        ("errors", "Where it fails", content["errors"]),
        ("explanations", "Explanations", content["heatmaps"] or content["explained_texts"]),
        ("answers", "Answers before and after", run.samples),
        ("data-check", "What is wrong with the data", content["data_check"]),
        ("skipped", "Skipped files", content["skipped"]["count"]),
        ("exports", "Exported files", run.parities),
        ("compression", "Compression", run.compression),
        ("time", "Where the time went", content["time_rows"]),
        ("reproduce", "How to reproduce", True),
    ]
    return [(anchor, title) for anchor, title, shown in entries if shown]
