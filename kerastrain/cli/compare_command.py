"""The command that compares finished runs: `kerastrain compare`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Column, Table

from kerastrain.cli.program import app, console, dated, plain, start_tensorflow
from kerastrain.errors import InputError, counted
from kerastrain.report import comparison as page

_MARKS = {"better": "better, ", "worse": "worse, ", "not told apart": ""}
MOST_CLASSES = 20
"""The largest number of classes that the terminal shows for a run; of more, those that differ most."""


@app.command()
def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN...",
            help="Folders of finished runs or cross-validations. All are compared with the first one.",
        ),
    ],
    part: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Part or other data to compare on. Default: the first of test, out_of_fold (of cross-validations) and "
            "validation for which all runs have predictions.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Page to write. Default: comparisons/DATE_TIME.html; none with --json."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the bootstrap.")] = 0,
    timed: Annotated[
        bool, typer.Option("--time", help="Measure the time of the TFLite files of the runs, side by side.")
    ] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing page.")] = False,
) -> None:
    """Compare runs on the same examples: are the differences more than chance?

    Differences have a 95 % interval from a paired bootstrap, and accuracies McNemar's exact test, of several runs corrected
    after Holm. Examples are matched by their content, and runs on other examples are refused. The settings in which the runs
    differ, their sizes, times and exported files are printed beside.

    The predictions that `train` and `evaluate` wrote are read; no model is opened, except files by --time.
    """
    from kerastrain.recipe import comparing

    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise InputError(f"--out must name a .html file. Received: {str(out)!r}.")
    if out is not None and out.exists() and not replace:
        raise FileExistsError(f"'{out}' exists already and is not overwritten. Choose another name, or use --replace.")
    if timed:
        start_tensorflow(prints="results" if as_json else "text")
    record = comparing.compare(runs, part=part, seed=seed, timed=timed).record()
    if out is None and not as_json:
        out = dated("comparisons").with_suffix(".html")
    if out is not None:
        page.write(record, out)  # Before anything is printed, whose reader may end the command.
    if as_json:
        print(json.dumps(record, indent=2))
        return
    _print(record)
    console.print(f"page    {plain(out)}")


def _print(record: dict) -> None:
    if rows := page.overview(record):
        measure = page.title(record["comparisons"][0]["measures"][0]["measure"])
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
        table.add_row(plain(page.title(row["measure"])), *_cells(row), row["verdict"])
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
    rows = page.most_different(other["classes"], MOST_CLASSES)
    if not rows:
        return
    what = f"{page.title(rows[0]['measure'])} of each {'number' if record['task'] == 'regression' else 'class'}"
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
    interval = "–" if low is None or high is None else f"{page.signed(low)} to {page.signed(high)}"
    return [
        *("–" if row[name] is None else f"{row[name]:.4g}" for name in ("first", "second")),
        page.signed(row["difference"]),
        interval,
    ]


def _facts(record: dict) -> Table | None:
    rows = page.fact_rows(record)
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
        table.add_row(plain(key), *(plain(page.shown(value)) for value in values))
    return table
