"""The command that compares finished runs: `kerastrain compare`."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kerastrain import report
from kerastrain.cli.comparison_tables import print_comparison
from kerastrain.cli.program import app, console, dated, plain, start_tensorflow
from kerastrain.errors import InputError


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
        report.comparison.write(record, out)  # Before anything is printed, whose reader may end the command.
    if as_json:
        print(json.dumps(record, indent=2))
        return
    print_comparison(record)
    console.print(f"page    {plain(out)}")
