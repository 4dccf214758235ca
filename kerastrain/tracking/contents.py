"""What a tracker is sent, from the files of a run: parameters, rows of the history, measures and files.

Takes mappings and paths; returns plain values. Must not know any tracker.
"""

import csv
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

PAGES = (
    "report.html",
    "model_card.md",
    "config.yaml",
    "environment.json",
    "history.csv",
    "labels.txt",
    "metrics.json",
    "operating_point.json",
    "quarantine.csv",
    "samples.json",
    "training_samples.png",
    "verdict.json",
)
"""The files of a run that a tracker keeps, where they exist."""

# Without the measures of each class and their curves, of which a run with 100 classes has thousands.
_PAGES_ONLY = ("classes", "confusion", "curves", "intervals", "labels", "slices", "data", "calibration")
_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")


def parameters(config: Mapping) -> dict[str, str]:
    """The values of a config under dotted keys.

    Args:
        config: mapping from sections to mappings.

    Returns:
        dict from keys such as "fit.epochs" to text.

    Example:
        >>> parameters({"fit": {"epochs": 5, "trackers": None}})
        {'fit.epochs': '5', 'fit.trackers': 'null'}
    """
    return {
        f"{section}.{key}": "null" if value is None else str(value)
        for section, values in config.items()
        for key, value in values.items()
    }


def history(path: Path) -> list[dict[str, float]]:
    """The epochs of a run, over all its phases.

    Args:
        path: Path of `history.csv`; it may not exist.

    Returns:
        list of dict from names to numbers, with "epoch" from 1 over all phases, and "phase" from 1.
    """
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    phases = list(dict.fromkeys(row["phase"] for row in rows))
    return [
        {
            **{name: float(text) for name, text in row.items() if text and name not in ("phase", "epoch")},
            "epoch": float(number),
            "phase": float(1 + phases.index(row["phase"])),
        }
        for number, row in enumerate(rows, start=1)
    ]


def phase_names(path: Path) -> str:
    """The phases of a run with their epochs.

    Args:
        path: Path of `history.csv`; it may not exist.

    Returns:
        str, such as "head: epochs 1 to 5, fine_tune: epochs 6 to 8".
    """
    if not path.is_file():
        return ""
    with path.open(newline="", encoding="utf-8") as file:
        names = [row["phase"] for row in csv.DictReader(file)]
    ranges = {name: (names.index(name) + 1, len(names) - names[::-1].index(name)) for name in dict.fromkeys(names)}
    return ", ".join(f"{name}: epochs {first} to {last}" for name, (first, last) in ranges.items())


def measures(parts: Mapping[str, Mapping]) -> dict[str, float]:
    """The numbers of the measures of a run, without those of single classes.

    Args:
        parts: mapping from parts of the data to measures, as in `metrics.json`.

    Returns:
        dict from names such as "test/macro.f1" to finite numbers.

    Example:
        >>> measures({"test": {"count": 10, "macro": {"f1": 0.5}, "classes": {"a": {"f1": 0.4}}}})
        {'test/count': 10.0, 'test/macro.f1': 0.5}
    """
    return {
        f"{_name(part)}/{_name(key)}": value
        for part, values in parts.items()
        for key, value in _numbers({key: value for key, value in values.items() if key not in _PAGES_ONLY})
    }


def _numbers(values: Mapping, before: str = "") -> Iterator[tuple[str, float]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{before}{key}.")
        elif isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield f"{before}{key}", float(value)


def _name(text: str) -> str:
    """A name that every tracker takes."""
    return _NOT_IN_NAMES.sub("_", text)


def exported(directory: Path) -> dict[Path, int]:
    """The exported files of a run.

    Args:
        directory: Path of the run.

    Returns:
        dict from the Path of each file or folder in `exports` to its size in bytes.
    """
    folder = directory / "exports"
    if not folder.is_dir():
        return {}
    sizes = {}
    for path in sorted(folder.iterdir()):
        inside = path.rglob("*") if path.is_dir() else [path]
        sizes[path] = sum(file.stat().st_size for file in inside if file.is_file())
    return sizes
