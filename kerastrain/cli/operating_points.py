"""Prints the operating point of a run, and what each part measures with and without it.

Takes the record of `operating_points.choose`. Must not compute anything.
"""

from collections.abc import Mapping

from rich.table import Table

from kerastrain import evaluation
from kerastrain.cli.program import console, plain

_MOST_LABELS = 30


def print_operating_point(record: Mapping) -> None:
    """Prints an operating point with the measures of each part."""
    point = evaluation.OperatingPoint(record["temperature"], record["thresholds"], record["reject_below"])
    objective = f" for {record['objective']}" if record["objective"] else ""
    console.print(plain(f"Operating point, chosen on {record['chosen_on']}{objective}: {point}"))
    for note in record["notes"]:
        console.print(plain(f"note: {note}"))
    print_compared(record["measures"])


def print_compared(compared: Mapping[str, Mapping[str, Mapping]]) -> None:
    """Prints what each data set measures at an operating point, and without it."""
    measures, without = ({name: each[key] for name, each in compared.items()} for key in ("with", "without"))
    table = Table("set", "measure", "with it", "without")
    for name, measured in measures.items():
        for key in ("loss", "calibration_error", "accuracy", *(["accepted"] if measured["accepted"] < 1 else [])):
            numbers = map(_shown, (measured[key], without[name][key]))
            table.add_row(plain(name), key.replace("_", " "), *numbers)
    console.print(table)
    if not any(measured["labels"] for measured in measures.values()):
        return
    table = Table("set", "label", "threshold", "precision", "recall", "F1", "without")
    for name, measured in measures.items():
        for label, values in list(measured["labels"].items())[:_MOST_LABELS]:
            before = without[name]["labels"].get(label, {}).get("f1")
            keys = ("threshold", "precision", "recall", "f1")
            table.add_row(plain(name), plain(label), *map(_shown, [*(values[key] for key in keys), before]))
        if len(measured["labels"]) > _MOST_LABELS:
            table.add_row(plain(name), f"and {len(measured['labels']) - _MOST_LABELS:,} more")
    console.print(table)


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
