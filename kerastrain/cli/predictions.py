"""Prints predictions as a table or as JSON, and writes them to a CSV file.

Takes an iterable of `predicting.Prediction`, of which JSON and CSV keep none in memory; returns how many there were.
"""

import csv
import itertools
import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from kerastrain.cli.program import console, plain
from kerastrain.data.sources import text_pairs
from kerastrain.system import files

_LONGEST_SHOWN = 200  # characters of a text in the table


def print_predictions(predictions: Iterable, task: str) -> int:
    """Prints a table with a row for each prediction; returns their number."""
    is_number = task == "regression"
    template = "{} {:.4g}" if is_number else "{} {:.1%}"
    rows = list(predictions)
    with_row = any(item.row for item in rows)
    if not rows:
        return 0
    table = Table(*(["row"] if with_row else []), "input", "numbers" if is_number else "labels")
    for item in rows:
        shown = text_pairs.shown(item.input)
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
        scores = ", ".join(template.format(*pair) for pair in item.scores)
        table.add_row(*([plain(item.row)] if with_row else []), plain(shown), plain(scores))
    console.print(table)
    return len(rows)


def print_json(predictions: Iterable, task: str) -> int:
    """Prints a JSON list with an object for each prediction; returns their number."""
    key, count = "numbers" if task == "regression" else "labels", 0
    print("[", end="")
    for item in predictions:
        record = {**_inputs(item), **({"row": item.row} if item.row else {}), key: dict(item.scores)}
        lines = json.dumps(record, indent=2).replace("\n", "\n  ")
        print(f"{',' if count else ''}\n  {lines}", end="")
        count += 1
    print("\n]" if count else "]")
    return count


def write_predictions(predictions: Iterable, path: Path, labels: Sequence[str], task: str) -> int:
    """Writes a CSV file with a row for each prediction; returns their number.

    Its columns are input (then pair, the second text, for pairs of texts), row (where the input was found), prediction (of
    several labels, those with a probability of at least a half, joined by |), and a probability for each label; for
    regression a number for each name. Without
    predictions, no file is written.
    """
    predictions = iter(predictions)
    first = next(predictions, None)
    if first is None:
        return 0
    names = [f"{'predicted' if task == 'regression' else 'probability'}_{label}" for label in labels]
    is_number, count = task == "regression", 0
    with files.atomic(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*_inputs(first), "row", *([] if is_number else ["prediction"]), *names])
        for item in itertools.chain([first], predictions):
            scores = dict(item.scores)
            likely = [label for label, score in item.scores if score >= 0.5] if task == "multi_label" else []
            predicted = [] if is_number else ["|".join(likely) if task == "multi_label" else item.scores[0][0]]
            numbers = [format(scores[label], ".9g") for label in labels]
            writer.writerow([*_inputs(item).values(), item.row, *predicted, *numbers])
            count += 1
    return count


def _inputs(item) -> dict[str, str]:
    """The input of a prediction, or both texts of a pair, by the name of its column."""
    return (
        {"input": item.input} if isinstance(item.input, str) else dict(zip(("input", "pair"), item.input, strict=True))
    )
