"""Prints the comparison of runs.

Takes the record of a `comparing.Comparison`. Must not compute anything.
"""

from collections.abc import Sequence

from rich import box
from rich.table import Column, Table

from kerastrain import report
from kerastrain.cli.program import console, plain
from kerastrain.errors import counted

_MARKS = {"better": "better, ", "worse": "worse, ", "not told apart": ""}
MOST_CLASSES = 20
"""The largest number of classes that the terminal shows for a run; of more, those that differ most."""


def print_comparison(record: dict) -> None:
    """Prints the tables of a comparison, and its notes."""
    if rows := report.comparison.overview(record):
        measure = report.comparison.title(record["comparisons"][0]["measures"][0]["measure"])
        title = f"on {record['part']}, {counted(record['examples'], 'examples')}, compared with the first"
        table = _table("run", (measure, "difference", "95 % interval"), title)
        table.add_column("p after Holm", justify="right")
        for row in rows:
            table.add_row(*map(plain, row))
        console.print(table)
    for other in record["comparisons"]:
        _print_other(record, other)
    for table in (_facts(record), _settings(record)):
        if table is not None:
            console.print(table)
    for note in record["notes"]:
        console.print(plain(f"note: {note}"))


def _print_other(record: dict, other: dict) -> None:
    first, second = other["compared_with"], other["run"]
    title = f"{second} compared with {first} on {record['part']}, {counted(record['examples'], 'examples')}"
    names = (f"{first}", f"{second}", "difference", "95 % interval")
    table = _table("measure", names, title)
    for row in other["measures"]:
        table.add_row(plain(report.comparison.title(row["measure"])), *_cells(row), row["verdict"])
    console.print(table)
    if (test := other["mcnemar"]) is not None:
        right = "right" if record["task"] == "single_label" else "wholly right"
        count = len(record["comparisons"])
        holm = f", and {test['p_holm']:.2g} after Holm for {count} comparisons" if count > 1 else ""
        console.print(
            plain(
                f"only {first} has {counted(test['only_first'], 'examples')} {right}, only {second} "
                f"{test['only_second']:,}: McNemar's exact test p = {test['p']:.2g}{holm}"
            )
        )
    console.print(plain(other["conclusion"]))
    rows = report.comparison.most_different(other["classes"], MOST_CLASSES)
    if not rows:
        return
    what = f"{report.comparison.title(rows[0]['measure'])} of each {'number' if record['task'] == 'regression' else 'class'}"
    total = len(other["classes"])
    shown = "" if len(rows) == total else f", the {len(rows)} of {total} that differ most"
    table = _table("class" if record["task"] != "regression" else "number", names, f"{what}{shown}")
    for row in rows:
        p = row.get("p_holm")
        table.add_row(
            plain(row["label"]), *_cells(row), row["verdict"] if p is None else f"{_MARKS[row['verdict']]}p {p:.2g}"
        )
    console.print(table)


def _table(first: str, names: Sequence[str], title: str) -> Table:
    columns = (Column(plain(name), justify="right", overflow="fold") for name in names)
    style = {"title": plain(title), "title_justify": "left", "box": box.SIMPLE_HEAD, "pad_edge": False}
    return Table(Column(first, overflow="fold"), *columns, "", **style)


def _cells(row: dict) -> list[str]:
    low, high = row["interval"]
    interval = (
        "–" if low is None or high is None else f"{report.comparison.signed(low)} to {report.comparison.signed(high)}"
    )
    return [
        *("–" if row[name] is None else f"{row[name]:.4g}" for name in ("first", "second")),
        report.comparison.signed(row["difference"]),
        interval,
    ]


def _facts(record: dict) -> Table | None:
    rows = report.comparison.fact_rows(record)
    if not rows:
        return None
    columns = (Column(plain(name), justify="right", overflow="fold") for name in record["runs"])
    table = Table(Column("", overflow="fold"), *columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for name, values in rows:
        table.add_row(plain(name), *map(plain, values))
    return table


def _settings(record: dict) -> Table | None:
    if not record["settings"]:
        console.print("the settings of the runs are the same")
        return None
    columns = (Column(plain(name), overflow="fold") for name in record["runs"])
    table = Table(Column("setting", overflow="fold"), *columns, box=box.SIMPLE_HEAD, pad_edge=False)
    for key, values in record["settings"].items():
        table.add_row(plain(key), *(plain(report.comparison.shown(value)) for value in values))
    return table
