"""Tables that several commands print."""

from collections.abc import Mapping
from pathlib import Path

from rich import box
from rich.table import Table

from kerastrain.cli.program import console, plain

_BAR_WIDTH = 30  # characters of a part that takes the whole time


def print_measures(measures: dict) -> None:
    """Prints the measures of each data set."""
    from kerastrain import evaluation

    for name, measured in measures.items():
        console.print(evaluation.table(measured, title=name))


def print_verdict(verdict: dict | None) -> None:
    """Prints what is wrong with a run, and what to try: the content of its `verdict.json`, or None."""
    from kerastrain import diagnosis

    for line in diagnosis.verdict.lines(verdict or {}):
        console.print(plain(line), highlight=False)


def print_exports(parities: dict, directory: Path) -> None:
    """Prints how each exported file in the run `directory` compares with the model."""
    if not parities:
        return
    folder = next(iter(parities)).parent.relative_to(directory)
    table = Table(
        title=f"Files in {plain(folder)}, re-opened and compared with the model: same predictions, largest difference",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        show_edge=False,
    )
    table.add_column("file", overflow="fold", min_width=22)  # the longest name that kerastrain gives a file
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


def print_times(record: Mapping) -> None:
    """Prints where the time of a run went: the content of its `profile.json`."""
    from kerastrain.report import time_parts

    table = Table(
        title="Where the time went", title_justify="left", box=box.SIMPLE_HEAD, collapse_padding=True, show_edge=False
    )
    table.add_column("part")
    for column in ("seconds", "share"):
        table.add_column(column, justify="right")
    table.add_column("", no_wrap=True)
    for row in time_parts.rows(record):
        bar = "█" * round(row.fraction * _BAR_WIDTH)
        table.add_row(row.name, f"{row.seconds:,.1f}", f"{row.fraction:.1%}", bar)
    table.add_section()
    table.add_row("all", f"{record['seconds']:,.1f}", "", "")
    console.print(table)
    for sentence in time_parts.sentences(record):
        console.print(plain(sentence), highlight=False)


def print_compression(done, directory: Path) -> None:
    """Prints every file of a `compressing.Compression`, the winner, and the skipped candidates."""
    from kerastrain import compression_search

    kept = done.choice.pareto if done.choice else ()
    measure = done.results[0].measure
    title = f"Validation {measure} with its 95 % confidence interval; time relative to the first file"
    table = Table(
        *("candidate", measure, "test", "zeros", "kB", "gzip", "time", ""),
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
    for result in done.results:
        validation, test = result.validation, result.test
        table.add_row(
            plain(result.name),
            f"{validation.value:.3f} {validation.low:.3f}–{validation.high:.3f}",
            "–" if test is None else f"{test.value:.3f}",
            f"{result.zeros_fraction:.0%}",
            _kilobytes(result.size_bytes),
            _kilobytes(result.gzip_bytes),
            f"{result.time_ratio:.2f}",
            "wins" if done.choice and result.name == done.choice.winner else "kept" if result.name in kept else "",
        )
    console.print(table)
    for names, reason in compression_search.grouped(done.skipped):
        console.print(plain(f"skipped  {', '.join(names)}: {reason}"))
    if done.calibration:
        table = Table(
            "calibration examples",
            f"validation {measure}",
            "same prediction",
            title="int8 after training",
            box=box.SIMPLE_HEAD,
        )
        for row in done.calibration:
            validation = row["validation"]
            table.add_row(str(row["count"]), f"{validation['value']:.4f}", f"{row['agreement']:.2%}")
        console.print(table)
    if done.choice:
        for names, reason in compression_search.grouped(done.choice.removed):
            console.print(plain(f"removed  {', '.join(names)}: {reason}"))
        console.print(plain(done.choice.reason))
    console.print(f"written to {plain(directory)}")


def _kilobytes(size: int) -> str:
    """Formats a size with three digits or more, short enough for eight columns in a terminal of 80 characters."""
    return f"{size / 1000:,.0f}" if size >= 100_000 else f"{size / 1000:.1f}"
