"""Tables that several verbs print."""

from pathlib import Path

from rich import box
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
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        show_edge=False,
    )
    table.add_column("file", overflow="fold", min_width=22)  # the longest of our own names
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


def print_compression(done, directory: Path) -> None:
    """Prints every file of a `finished.Compression`, which of them wins, and what could not be done."""
    kept = done.choice.pareto if done.choice else ()
    measure = done.rungs[0].measure
    title = f"Validation {measure} with 95 % interval, and the time of one answer against the first file's"
    table = Table(
        *("way", measure, "test", "zeros", "kB", "gzip", "time", ""),
        title=title,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=0,
        show_edge=False,
        pad_edge=False,
    )
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.justify, column.no_wrap = "right", True
    for rung in done.rungs:
        found, test = rung.validation, rung.test
        table.add_row(
            plain(rung.name),
            f"{found.value:.3f} {found.low:.3f}–{found.high:.3f}",
            "–" if test is None else f"{test.value:.3f}",
            f"{rung.zeros_fraction:.0%}",
            _kilobytes(rung.size_bytes),
            _kilobytes(rung.gzip_bytes),
            f"{rung.time_ratio:.2f}",
            "wins" if done.choice and rung.name == done.choice.winner else "kept" if rung.name in kept else "",
        )
    console.print(table)
    for reason in dict.fromkeys(done.left_out.values()):
        names = ", ".join(name for name, found in done.left_out.items() if found == reason)
        console.print(plain(f"left out  {names}: {reason}"))
    if done.calibration:
        table = Table(
            "calibration examples",
            f"validation {measure}",
            "agreement",
            title="int8 after training",
            box=box.SIMPLE_HEAD,
        )
        for row in done.calibration:
            shown = row["validation"]
            table.add_row(str(row["count"]), f"{shown['value']:.4f}", f"{row['agreement']:.2%}")
        console.print(table)
    if done.choice:
        console.print(plain(done.choice.reason))
    console.print(f"written to {plain(directory)}")


def _kilobytes(size: int) -> str:
    """Three digits or more: short enough for a table of eight columns in a terminal of 80."""
    return f"{size / 1000:,.0f}" if size >= 100_000 else f"{size / 1000:.1f}"
