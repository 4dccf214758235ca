"""What `check` and `train` print about a cross-validation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.table import Column, Table

from kerastrain import evaluation, report
from kerastrain.cli.program import console, plain


def print_plan(sizes: Sequence[Mapping[str, int]]) -> None:
    """Prints the sizes of the parts of each fold.

    Args:
        sizes: sequence of mappings from the name of a part to its number of examples.
    """
    table = Table("fold", *(Column(name, justify="right") for name in sizes[0]), box=box.SIMPLE_HEAD)
    for fold, counts in enumerate(sizes):
        table.add_row(str(fold), *(f"{count:,}" for count in counts.values()))
    console.print(table)
    console.print(
        f"data.fold=all trains {len(sizes)} runs, one after the other. None is exported unless export.formats names formats, "
        "because the model to ship is the one that is trained on all examples afterwards."
    )


def print_single(folds: int, fold: int) -> None:
    """Says that a run trains one of several folds, and how all of them are trained.

    Args:
        folds: int >= 2, `data.folds`.
        fold: int, `data.fold`.
    """
    console.print(
        f"one fold: fold {fold} of {folds} is the validation part; data.fold=all trains a model for each fold"
    )


def print_folds(summary: Mapping, measures: Mapping, directory: Path) -> None:
    """Prints the measures over all folds, and what to do next.

    Args:
        summary: mapping, the content of `folds.json`.
        measures: mapping, the measures of the pooled predictions.
        directory: Path of the cross-validation.
    """
    for part, rows in summary["measures"].items():
        names = (f"{part}, {len(summary['folds'])} folds", "mean", "stddev", "95 % interval", "lowest", "highest")
        table = Table(*(Column(name, justify="right" if index else "left") for index, name in enumerate(names)))
        for name, row in rows.items():
            ends = (f"{value:.4g}" for value in (min(row["values"]), max(row["values"])))
            table.add_row(
                plain(report.comparison.title(name)),
                f"{row['mean']:.4g}",
                _number(row["stddev"]),
                _interval(row["interval"]),
                *ends,
            )
        console.print(table)
    console.print(evaluation.table(measures, title="out of fold, each example by the model that it was held out from"))
    if summary["seen"]:
        console.print(
            f"note: {summary['seen']:,} of these {measures['count']:,} examples were training examples of the run to start from, "
            "so these measures are not those of held-out data"
        )
    console.print(f"\nrun     {plain(directory)}")
    console.print(f"report  {plain(directory / 'report.html')}")
    console.print(
        "\nEach fold has a model of its own. To train the final model on nine tenths of all these examples, with the rest to "
        f"choose the best epoch:\n{plain(summary['next'])}"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2g}"


def _interval(interval: Sequence[float] | None) -> str:
    return "–" if interval is None else "{:.4g} to {:.4g}".format(*interval)
