"""What `kerastrain tune` prints at the end: the trials best first, the winner, and where to go on.

Takes the content of `trials.json`; prints. Must not choose the winner or write files.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Column, Table

from kerastrain.cli.program import console, plain
from kerastrain.cli.search_texts import first_sentence, number, short_settings
from kerastrain.errors import counted
from kerastrain.recipe import search_winner
from kerastrain.tuning import assignments

_MOST_ROWS = 20
_FILE_WIDTH = 200  # of a table in a file or a pipe
_FILES = {
    "settings": "best.yaml",
    "page": "search.html",
    "all trials": "trials.csv",
    "log": "log.txt",
}


def print_trials(view: Mapping) -> None:
    """Prints a table of the trials, best first, and the reasons of those that failed.

    Args:
        view: mapping, the content of `trials.json`.
    """
    objectives, trials = view["objectives"], view["trials"]
    measures = [objective["measure"] for objective in objectives]
    columns = [Column(plain(name), justify="right", overflow="fold") for name in measures]
    table = Table(
        Column("trial", justify="right"),
        *columns,
        Column("epochs", justify="right"),
        Column("seconds", justify="right"),
        Column("values", overflow="fold"),
        "",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
    )
    marks = {point: "Pareto" for point in view.get("pareto") or []} or {view["best"]: "best"}
    listed = [*_ranked(view), *_with_status(trials, "pruned", "paused", "running")]
    for trial in listed[:_MOST_ROWS]:
        table.add_row(
            str(trial["point"]),
            *(_measure(trial, index, measures) for index in range(len(measures))),
            str(trial["epochs"]),
            f"{trial['seconds']:.0f}",
            plain(short_settings(trial["values"])),
            marks.get(trial["point"], "" if trial["status"] == "completed" else trial["status"]),
        )
    console.print()
    if listed:
        # A file and a pipe have no width, for which rich takes that of a small terminal.
        wide = console if console.is_terminal else Console(file=console.file, width=_FILE_WIDTH, highlight=False)
        wide.print(table)
    if len(listed) > _MOST_ROWS:
        console.print(f"and {counted(len(listed) - _MOST_ROWS, 'more trials')}")
    for reason, points in _failures(trials):
        names = f"trial {points[0]}" if len(points) == 1 else f"trials {', '.join(map(str, points))}"
        console.print(plain(f"failed  {names}: {reason}"))


def print_winner(winner, command: str) -> None:
    """Prints what is known about the best trial, and the command that trains it.

    Args:
        winner: tuning.winner.Winner.
        command: str, a `kerastrain train` command that works when it is pasted.
    """
    console.print(plain(f"\nbest        {winner.sentence}"))
    console.print(f"train it    {plain(command)}")


def print_model(winner, directory: Path) -> None:
    """Prints what is known about the best trial of a user's function, whose model no command of kerastrain trains.

    Args:
        winner: tuning.winner.Winner.
        directory: Path of the search.
    """
    console.print(plain(f"\nbest        {winner.sentence}"))
    model = directory / assignments.folder(winner.point) / "model.keras"
    for title, path in (("model", model), ("its values", directory / search_winner.HYPERPARAMETERS_FILE)):
        if path.is_file():
            console.print(plain(f"{title:<12}{path}"))


def print_pareto(view: Mapping, directory: Path) -> None:
    """Prints the points that no other point beats in every objective.

    Args:
        view: mapping, the content of `trials.json`.
        directory: Path of the search.
    """
    names = ", ".join(
        f"{row['measure']} ({'highest' if row['direction'] == 'max' else 'lowest'})" for row in view["objectives"]
    )
    points = ", ".join(map(str, view["pareto"]))
    console.print(plain(f"\nPareto  {_trials(view['pareto'])} {points}: no other is better in all of {names}"))
    console.print(plain(f"        their settings are in {directory}/trials/NUMBER/config.yaml"))


def print_files(directory: Path) -> None:
    """Prints the paths of the files of a search that exist.

    Args:
        directory: Path of the search.
    """
    for title, name in _FILES.items():
        if (directory / name).is_file():
            console.print(f"{title:<11} {plain(directory / name)}")


def _measure(trial: Mapping, index: int, measures: Sequence[str]) -> str:
    value = trial["score"] if index == 0 else trial["measures"].get(measures[index])
    return "" if value is None else number(value)


def _ranked(view: Mapping) -> list[Mapping]:
    """The completed trials; the winner comes first, whose mean over seeds may be below the score of a single training."""
    sign = -1 if view["objectives"][0]["direction"] == "max" else 1
    completed = _with_status(view["trials"], "completed")
    return sorted(completed, key=lambda trial: (trial["point"] != view["best"], sign * trial["score"]))


def _with_status(trials: Sequence[Mapping], *statuses: str) -> list[Mapping]:
    return [trial for trial in trials if trial["status"] in statuses]


def _failures(trials: Sequence[Mapping]) -> list[tuple[str, list[int]]]:
    """Returns each reason with the numbers of the trials that failed for it, the most frequent first."""
    failed = [(first_sentence(trial["reason"]), trial["point"]) for trial in _with_status(trials, "failed")]
    counts = Counter(reason for reason, _ in failed)
    return [(reason, [point for other, point in failed if other == reason]) for reason, _ in counts.most_common()]


def _trials(points: Sequence[int]) -> str:
    return "trial" if len(points) == 1 else "trials"
