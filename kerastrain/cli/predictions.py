"""Prints predictions as a table or as JSON, and writes them to files of CSV or JSON lines, or their embeddings to NumPy files.

Takes an iterable of `predicting.Prediction`, of which only the table keeps all in memory; returns how many inputs were predicted.
A file is complete, or not written.
"""

import contextlib
import csv
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from rich.table import Table

from kerastrain.cli.program import console, plain
from kerastrain.errors import InputError
from kerastrain.system import files

STDOUT = Path("-")
"""The path of --out that stands for standard output."""
ARRAYS = (".npz", ".npy")
"""The suffixes of files of embeddings alone."""

_LONGEST_SHOWN = 200  # characters of a text in the table
_LONGEST_NAMED = (
    500  # characters of a text beside its embedding: an array of str gives every text the room of the longest
)
_LINES = (".jsonl", ".ndjson")


def check_out(out: Path | None, *, embeddings: bool, replace: bool) -> None:
    """Checks the path of --out.

    Args:
        out: Path, or None.
        embeddings: bool, whether embeddings are wanted.
        replace: bool, whether an existing file may be replaced.

    Raises:
        InputError: its suffix is not that of a file to write, or there is none for embeddings.
        FileExistsError: it exists and `replace` is False.
    """
    suffix = "" if out is None else out.suffix.lower()
    if embeddings and suffix not in (*ARRAYS, *_LINES) and out != STDOUT:
        received = "no --out" if out is None else repr(str(out))
        raise InputError(f"--embeddings needs --out with a .npz, .npy or .jsonl file, or -. Received: {received}.")
    if out is None or out == STDOUT:
        return
    if suffix in ARRAYS and not embeddings:
        raise InputError(f"--out with a {suffix} file is for embeddings. Received: {str(out)!r}. Add --embeddings.")
    if suffix not in (".csv", *_LINES, *ARRAYS):
        raise InputError(f"--out must name a .csv or .jsonl file, or be -. Received: {str(out)!r}.")
    if out.is_dir():
        raise InputError(f"--out must name a file. Received: {str(out)!r}, a folder.")
    if out.exists() and not replace:
        raise FileExistsError(f"'{out}' exists already and is not overwritten. Choose another name, or use --replace.")


def print_predictions(predictions: Iterable, task: str, *, with_labels: bool = False) -> int:
    """Prints a table with a row for each prediction; returns their number.

    Args:
        predictions: iterable of Prediction.
        task: Task.
        with_labels: bool, whether the predicted labels have a column, as where they are not the most probable ones.

    Returns:
        int.
    """
    from kerastrain.data.sources import text_pairs

    is_number = task == "regression"
    template = "{} {:.4g}" if is_number else "{} {:.1%}"
    rows = list(predictions)
    with_row = any(item.row for item in rows)
    if not rows:
        return 0
    columns = [*(["row"] if with_row else []), "input", *(["prediction"] if with_labels else [])]
    table = Table(*columns, "numbers" if is_number else "labels")
    for item in rows:
        shown = text_pairs.shown(item.input)
        shown = shown if len(shown) <= _LONGEST_SHOWN else f"{shown[:_LONGEST_SHOWN]}…"
        labels = [", ".join(item.labels) or ("none" if task == "multi_label" else "rejected")] if with_labels else []
        scores = ", ".join(template.format(*pair) for pair in item.scores)
        table.add_row(*map(plain, [*([item.row] if with_row else []), shown, *labels, scores]))
    console.print(table)
    return len(rows)


def print_json(predictions: Iterable, task: str) -> int:
    """Prints a JSON list with an object for each prediction; returns their number."""
    count = 0
    print("[", end="")
    for item in predictions:
        lines = json.dumps(_record(item, task), indent=2).replace("\n", "\n  ")
        print(f"{',' if count else ''}\n  {lines}", end="")
        count += 1
    print("\n]" if count else "]")
    return count


def write_predictions(predictions: Iterable, out: Path, labels: Sequence[str], task: str) -> int:
    """Writes a row or a line for each prediction, also for inputs that cannot be used; returns the number of the others.

    The columns of a .csv file are input (then pair, the second text, for pairs of texts), row (where the input was found),
    prediction (the predicted labels, joined by |), a probability for each label (for regression instead of both a number for
    each name), and error. A .jsonl file has an object with the same content in each line. Without a prediction, no file is
    written.

    Args:
        predictions: iterable of Prediction with all labels.
        out: Path of a .csv or .jsonl file, or - for JSON lines on standard output.
        labels: sequence of str, the labels of the model.
        task: Task.

    Returns:
        int.
    """
    if out == STDOUT:
        return _write_lines(predictions, sys.stdout, task)
    is_table = out.suffix.lower() == ".csv"

    def write(temporary: Path) -> int:
        # A file name that is not UTF-8 keeps its bytes.
        with open(temporary, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            if is_table:
                return _write_csv(predictions, file, labels, task)
            return _write_lines(predictions, file, task)

    return _complete(out, write)


def write_embeddings(predictions: Iterable, out: Path, count: int, size: int) -> int:
    """Writes the embeddings of predictions to a NumPy file, row by row; returns the number of usable inputs.

    A .npy file is float32 (count, size), with NaN in the rows of inputs that cannot be used. A .npz file has it as `embeddings`,
    and arrays of str: `inputs`, the first 500 characters of each, `rows`, where they were found, and `errors`.

    Args:
        predictions: iterable of `count` Prediction.
        out: Path of the file.
        count: int, the number of inputs.
        size: int, the number of features.

    Returns:
        int.
    """
    import numpy as np

    from kerastrain.data.sources import text_pairs

    def write(temporary: Path) -> int:
        is_array = out.suffix.lower() == ".npy"
        array = temporary if is_array else temporary.with_name("embeddings.npy")
        rows = np.lib.format.open_memmap(array, mode="w+", dtype=np.float32, shape=(count, size))
        rows[:] = np.nan
        inputs, places, errors = [], [], []
        for index, item in enumerate(predictions):
            if item.embedding is not None:
                rows[index] = item.embedding
            inputs.append(text_pairs.shown(item.input)[:_LONGEST_NAMED])
            places.append(item.row)
            errors.append(item.error)
        rows.flush()
        if not is_array:
            names = {"inputs": np.array(inputs, str), "rows": np.array(places, str), "errors": np.array(errors, str)}
            with open(temporary, "wb") as file:
                np.savez(file, embeddings=rows, **names)
        return errors.count("")

    return _complete(out, write)


def _complete(out: Path, write: Callable[[Path], int]) -> int:
    """Writes a file atomically, unless nothing was predicted."""
    with contextlib.suppress(_NothingPredicted), files.atomic(out) as temporary:
        if count := write(temporary):
            return count
        raise _NothingPredicted
    return 0


class _NothingPredicted(Exception):
    """No input could be used, so that the file is discarded."""


def _write_csv(predictions: Iterable, file: TextIO, labels: Sequence[str], task: str) -> int:
    is_number, writer, count = task == "regression", csv.writer(file), 0
    names = [f"{'predicted' if is_number else 'probability'}_{label}" for label in labels]
    for number, item in enumerate(predictions):
        if number == 0:
            writer.writerow([*_inputs(item), "row", *([] if is_number else ["prediction"]), *names, "error"])
        scores = dict(item.scores)
        predicted = [] if is_number else ["|".join(item.labels)]
        numbers = [format(scores[label], ".9g") if scores else "" for label in labels]
        writer.writerow([*_inputs(item).values(), item.row, *predicted, *numbers, item.error])
        count += not item.error
    return count


def _write_lines(predictions: Iterable, file: TextIO, task: str) -> int:
    count = 0
    for item in predictions:
        print(json.dumps(_record(item, task)), file=file)
        count += not item.error
    return count


def _record(item, task: str) -> dict:
    """A prediction as plain values."""
    record = {**_inputs(item), **({"row": item.row} if item.row else {})}
    if item.error:
        return {**record, "error": item.error}
    if task == "regression":
        record["numbers"] = dict(item.scores)
    else:
        labels = list(item.labels)
        record["prediction"] = labels if task == "multi_label" else (labels[0] if labels else None)
        record["labels"] = dict(item.scores)
    if item.embedding is not None:
        record["embedding"] = item.embedding.tolist()
    return record


def _inputs(item) -> dict[str, str]:
    """The input of a prediction, or both texts of a pair, by the name of its column."""
    return (
        {"input": item.input} if isinstance(item.input, str) else dict(zip(("input", "pair"), item.input, strict=True))
    )
