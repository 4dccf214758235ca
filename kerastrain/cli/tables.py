"""Tables that several verbs print."""

from pathlib import Path

from rich.table import Table

from kerastrain.cli.program import console, plain


def print_measures(measures: dict) -> None:
    """Prints the measures of each data set."""
    from kerastrain import evaluation

    for name, measured in measures.items():
        console.print(evaluation.table(measured, title=name))


def print_exports(parities: dict, directory: Path) -> None:
    """Prints how each exported file compares with the model, its path relative to `directory`."""
    table = Table(
        title="Files, each re-opened and compared with predict: same answers, largest difference",
        title_justify="left",
    )
    table.add_column("file", overflow="fold")
    for column in ("kB", "agreement", "difference", "samples"):
        table.add_column(column, justify="right")
    for path, parity in parities.items():
        table.add_row(
            plain(path.relative_to(directory)),
            f"{parity.size_bytes / 1000:,.1f}",
            f"{parity.agreement:.2%}",
            f"{parity.largest_difference:.2g}",
            str(parity.sample_count),
        )
    console.print(table)
