"""What the commands for new inputs of a finished run share: how the inputs are found, and what is said about them.

Takes arguments of commands; returns inputs, and writes to stderr. Must not import TensorFlow.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from kerastrain import config as configs
from kerastrain import report
from kerastrain.errors import InputError, counted
from kerastrain.system.terminal import printable

_SECONDS_BETWEEN_COUNTS = 10.0

NewInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT... [data.KEY=VALUE]...",
        help="Image files, folders, tables and quoted patterns such as 'photos/**/*.jpg'; for a text model texts, text files and "
        "tables. - reads the lines of standard input. Keys such as data.columns.input=title say how tables are read.",
    ),
]


class Faults:
    """Names each fault on stderr, and counts them."""

    def __init__(self):
        self.count = 0

    def __call__(self, sentence: str) -> None:
        """Names a fault."""
        print(f"kerastrain: {printable(sentence)}", file=sys.stderr)
        self.count += 1

    def exit(self, done: int) -> None:
        """Exits with 1 after some faults, and with 2 if nothing was done."""
        if self.count:
            raise typer.Exit(1 if done else 2)


def run_config(run: Path) -> configs.Config:
    """Reads the config of a finished run of one model."""
    config = configs.load(report.run_folder(run) / "config.yaml")
    configs.folds.require_one_model(config, run)
    return config


def found_inputs(
    own: configs.Config,
    arguments: Sequence[str] | None,
    faults: Faults,
    *,
    texts: Sequence[str] = (),
    seconds: Sequence[str] = (),
) -> tuple[configs.Config, tuple]:
    """Finds the inputs before TensorFlow starts, and says on stderr how tables, files and folders were read.

    Returns the config with the overrides among the arguments, and the inputs.
    """
    from kerastrain.recipe import inputs

    given, overrides = inputs.divide(arguments or [])
    if not given and not texts and not seconds:
        raise InputError("give at least one input, such as an image file, a text, a table, or - for standard input.")
    config = inputs.override(own, overrides)
    found = inputs.find(config, given, texts=texts, seconds=seconds, stdin=sys.stdin, own=own)
    for note in found.notes:
        print(printable(note), file=sys.stderr)
    for fault in found.faults:
        faults(fault)
    if not found.found:
        raise typer.Exit(2)
    return config, found.found


class Progress:
    """Counts what is done; every ten seconds, says on stderr how much that is."""

    def __init__(self, total: int, verb: str):
        self.done, self.total, self.verb = 0, total, verb

    def counted(self, items: Iterable) -> Iterator:
        """Passes items on."""
        said = time.monotonic()
        for item in items:
            yield item
            self.done += 1
            if time.monotonic() - said > _SECONDS_BETWEEN_COUNTS:
                said = time.monotonic()
                print(f"{self.verb} {self}", file=sys.stderr)

    def __str__(self) -> str:
        return f"{self.done:,} of {counted(self.total, 'inputs')}"
