"""Writes the page of a search from the files in its folder.

Takes the folder of a search; writes `search.html`, under the rules of the page of a run. Must not need a model or TensorFlow.
"""

import os
import shlex
from pathlib import Path

import jinja2
import yaml
from markupsafe import Markup, escape

import kerastrain
from kerastrain.errors import InputError
from kerastrain.report import reading, search_charts, search_trials, search_views, templates
from kerastrain.report.search_axes import Axis
from kerastrain.system import files
from kerastrain.tuning import recorded_space

FILE = "search.html"
_RECORDS = "trials.json"
_SETTINGS = "search.yaml"
_KEYS = ("objectives", "space", "state", "trials")
_TRIAL_KEYS = ("point", "status", "score", "values")
# The measure that chooses the epoch, and, if runtime.seed is searched, the seed that divides the data.
_ADDED = ("fit.monitor", "data.split_seed")
_STATUSES = ("completed", "pruned", "failed", "running", "paused")
_BREAK = "\N{ZERO WIDTH SPACE}"  # where a long key may be broken
_UNEXPECTED = (TypeError, ValueError, KeyError, AttributeError, IndexError, ArithmeticError)


def is_search(directory: str | os.PathLike) -> bool:
    """Whether a folder is that of a search.

    Args:
        directory: path.

    Returns:
        bool.
    """
    return (Path(directory) / _RECORDS).is_file() and (Path(directory) / _SETTINGS).is_file()


def write(search_directory: str | os.PathLike) -> Path:
    """Writes `search.html` into the folder of a search, from the files in it.

    The page has the winner as a command and as YAML, the scores of the trials in their order, their learning curves, parallel
    coordinates, the importance of each key with its interval, the score against each key, the Pareto set of several objectives, a
    table of all trials, the reasons of failures, and how to resume or repeat the search.

    Args:
        search_directory: path of the folder that `kerastrain tune` made, also while the search runs.

    Returns:
        Path of the page, which replaces an earlier one.

    Raises:
        FileNotFoundError: the folder has no `trials.json` or no `search.yaml`.
        InputError: a file of the search has invalid content; the message names the file.
        OSError: the folder is not writable.
    """
    directory = Path(search_directory).expanduser()
    if not is_search(directory):
        raise FileNotFoundError(
            f"{str(directory)!r} is not the folder of a search: it lacks {_RECORDS} or {_SETTINGS}. Give the folder that `tune` "
            "printed."
        )
    record = _record(directory / _RECORDS)
    try:
        environment = templates.environment()
        environment.filters |= {
            "sentence": _sentence,
            "wrapped": lambda key: key.replace(".", f".{_BREAK}").replace("_", f"_{_BREAK}"),
        }
        page = environment.get_template("search.html").render(**_content(record, directory))
    except (*_UNEXPECTED, jinja2.UndefinedError) as error:
        raise InputError(
            f"`{directory / _RECORDS}` has content that a page cannot show: {error!r}. Resume the search with this version of "
            "kerastrain, which writes it again."
        ) from error
    return files.write_text(directory / FILE, page)


def _record(path: Path) -> dict:
    record = reading.require(path, reading.json_object(path), _KEYS, "the record of a search")
    reading.records(path, record["trials"], _TRIAL_KEYS, "trials")
    if not reading.records(path, record["objectives"], ("measure", "direction"), "objectives"):
        raise InputError(
            f"`{path}` must contain an objective. Received: none. Resume the search, which writes it again."
        )
    if strange := {str(trial["status"]) for trial in record["trials"]} - {*_STATUSES}:
        raise InputError(f"`{path}` must have trials that are {', '.join(_STATUSES)}. Received: {min(strange)!r}.")
    return record


def _content(record: dict, directory: Path) -> dict:
    """What the template shows."""
    trials = search_trials.read(record)
    goals, best, folder = record["objectives"], record.get("best"), _short_path(directory)
    importances = search_views.importances(record)
    keys = recorded_space.read(record["space"], [trial.values for trial in trials])
    axes = [Axis(key) for key in keys if any(key.name in trial.values for trial in trials)]
    ranks = {row[0]: rank for rank, row in enumerate(importances[0]["rows"])}
    title = goals[0]["measure"].removeprefix("validation.").replace("_", " ")
    so_far = search_trials.best_so_far(trials, goals[0]["direction"])
    # The most important key is next to the score, where its lines can be followed.
    across = sorted(axes, key=lambda axis: -ranks.get(axis.key.name, 0)) if ranks else axes
    return {
        "name": directory.resolve().name,
        "version": kerastrain.__version__,
        "record": record,
        "goals": goals,
        "trials": trials,
        "outcome": search_views.outcome(record, trials),
        "best": search_views.best(record, trials, folder, _added(directory / "best.yaml")),
        "history": search_charts.history(trials, so_far, title=title),
        "curves": search_charts.curves(trials, best, title=title),
        "parallel": search_charts.parallel(trials, across, best, title=title),
        "grades": search_charts.GRADES,
        "importances": importances,
        "slices": [
            (axis.key.name, drawn)
            for axis in (reversed(across) if ranks else axes)
            if (drawn := search_charts.against(trials, axis, best, title=title))
        ],
        "paretos": [search_charts.pareto(trials, record.get("pareto") or (), goals[0], other) for other in goals[1:]],
        "front": [trial for trial in trials if trial.number in (record.get("pareto") or ())],
        "table": search_views.table(record, trials),
        "failures": search_views.failures(trials),
        "folder": shlex.quote(str(folder)),
        "has_best_file": (directory / "best.yaml").is_file(),
        "tested": search_views.tested(record),
        "build": _function(reading.json_object(directory / "build.json")),
        "settings": reading.text(directory / _SETTINGS),
        "config": reading.text(directory / "config.yaml"),
    }


def _sentence(text: str) -> Markup:
    """A sentence that begins with a capital letter, with what is between backticks as code."""
    parts = (text[:1].upper() + text[1:]).split("`")
    marked = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(parts)
    ]
    return Markup("").join(marked) + "."


def _added(path: Path) -> dict[str, object]:
    """What a search sets in the config of its winner besides the searched keys."""
    try:
        config = yaml.safe_load(reading.text(path)) or {}
        values = {key: (config.get(key.split(".")[0]) or {}).get(key.split(".")[1]) for key in _ADDED}
    except (yaml.YAMLError, AttributeError) as error:
        raise InputError(
            f"`{path}` must be a config. Received: {error}. Remove the file, and resume the search."
        ) from error
    return {key: value for key, value in values.items() if value is not None}


def _function(record: dict) -> str | None:
    """The function that makes the models, as the command line names it; None for models of the config."""
    return shlex.quote(f"{record['path']}:{record['name']}") if "path" in record and "name" in record else None


def _short_path(directory: Path) -> Path:
    """A path as a person in the present folder types it."""
    whole, here = directory.resolve(), Path.cwd()
    return whole.relative_to(here) if whole.is_relative_to(here) else whole
