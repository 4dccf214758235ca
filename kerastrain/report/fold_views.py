"""The folds of a cross-validation as a page shows them.

Takes the contents of `folds.json`; returns texts. Must not read files.
"""

from collections.abc import Mapping

from kerastrain.report.comparison import title
from kerastrain.report.formats import UNDEFINED, count, interval, number, seconds


def view(record: Mapping) -> dict | None:
    """Prepares the measures over the folds.

    Args:
        record: mapping, the contents of `folds.json`.

    Returns:
        dict with "directories" (list of str), "parts" (list of (name, rows); a row is the name of a measure, its mean, standard
        deviation and interval, and a list of its value in each fold), "facts" (list of (name, texts)), "seen" (int) and "next"
        (str); None without a record.
    """
    folds, measures = record.get("folds"), record.get("measures")
    if not folds or not isinstance(measures, Mapping):
        return None
    parts = [
        (
            part,
            [
                (
                    title(name),
                    number(row["mean"]),
                    UNDEFINED if row["stddev"] is None else f"{row['stddev']:.2g}",
                    interval(row["interval"], number) or UNDEFINED,
                    list(map(number, row["values"])),
                )
                for name, row in rows.items()
            ],
        )
        for part, rows in measures.items()
    ]
    sizes = list(dict.fromkeys(name for fold in folds for name in fold["examples"]))
    facts = [(f"{name} examples", [count(fold["examples"].get(name)) for fold in folds]) for name in sizes]
    return {
        "directories": [fold["directory"] for fold in folds],
        "parts": parts,
        "facts": [*facts, ("time", [seconds(fold["seconds"]) for fold in folds])],
        "seen": record.get("seen", 0),
        "next": record.get("next", ""),
    }
