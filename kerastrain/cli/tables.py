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
    """Prints how each exported file compares with the model; `directory` is the run's."""
    if not parities:
        return
    folder = next(iter(parities)).parent.relative_to(directory)
    table = Table(
        title=f"Files in {plain(folder)}, each opened again and compared with the model: same answers, largest difference",
        title_justify="left",
    )
    table.add_column("file", overflow="fold")
    scored = next((parity.measure for parity in parities.values() if parity.measure), None)
    for column in ("kB", "same", "difference", *([scored, "model's"] if scored else []), "samples"):
        table.add_column(column, justify="right")
    for path, parity in parities.items():
        table.add_row(
            plain(path.name),
            f"{parity.size_bytes / 1000:,.1f}",
            f"{parity.agreement:.2%}",
            f"{parity.largest_difference:.2g}",
            *([f"{parity.score:.4f}", f"{parity.model_score:.4f}"] if scored else []),
            str(parity.sample_count),
        )
    console.print(table)
