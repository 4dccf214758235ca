"""Reports each epoch to a function, which decides whether the training continues.

Takes the function and the history file of the run; gives `Checkpoints` the epoch to pause after. Must not save anything.
"""

import csv
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import keras

from kerastrain.distribute import collectives
from kerastrain.errors import InputError, unknown
from kerastrain.system import signals

ANSWERS = ("continue", "pause", "stop")
"""What the function of `EpochReport` may return."""

OnEpoch = Callable[[int, Mapping[str, float]], Literal["continue", "pause", "stop"]]
"""Gets the number of an epoch, counted from 1 over all phases of the run, and what was logged; returns one of `ANSWERS`."""


class Paused(Exception):
    """The training was ended after an epoch because `on_epoch` said so.

    Args:
        epoch: int >= 1, the last epoch that was trained, counted over all phases of the run.
        is_saved: bool, whether the state is saved, so that the training can resume ("pause", not "stop").
    """

    def __init__(self, epoch: int, *, is_saved: bool):
        super().__init__(epoch)
        self.epoch = epoch
        self.is_saved = is_saved

    def __str__(self) -> str:
        return f"{'paused' if self.is_saved else 'stopped'} after epoch {self.epoch}"


class EpochReport(keras.callbacks.Callback):
    """Calls a function after each epoch, when all other callbacks have run and the history has the epoch's row.

    Give it to `Checkpoints` as `report`, which places it last and pauses for it. One object reports all phases of a run: a
    pause after the last epoch of a phase takes effect when the next phase has saved its first state, and after the last epoch
    of the run it has none. A resumed training reports the epochs that it trains, also those that an earlier process had
    reported after its last checkpoint, under the same numbers. With several workers the chief's function is asked.

    Args:
        on_epoch: callable that gets the number of the epoch, counted from 1 over all phases, and the logs, a mapping from str
            to float; it returns "continue", "pause" (save the state, then raise `Paused`) or "stop" (raise `Paused` at once).
        history: path of the file of `HistoryFile`, by whose rows the epochs are counted; None for the epochs of `fit`, if the
            training has one phase.

    Raises:
        InputError: in `fit`: `on_epoch` returned something else.
        Paused: in `fit`: it returned "pause" or "stop".

    Example:
        >>> report = EpochReport(lambda epoch, logs: "pause" if epoch == 3 else "continue", "run/history.csv")
        >>> saving = callbacks.Checkpoints("run/checkpoints", report=report)  # doctest: +SKIP
    """

    def __init__(self, on_epoch: OnEpoch, history: str | os.PathLike | None = None):
        super().__init__()
        self.on_epoch = on_epoch
        self.history = None if history is None else Path(history)
        self.pause_epoch: int | None = None

    def on_epoch_end(self, epoch, logs=None):
        """Asks whether the training continues; raises `Paused` for "stop"."""
        strategy, answer = self.model.distribute_strategy, "continue"
        number = epoch + 1 if self.history is None else self._row_count()
        if collectives.worker_index(strategy) == 0:
            answer = self.on_epoch(number, dict(logs or {}))
            if answer not in ANSWERS:
                raise InputError(unknown("answer of `on_epoch`", answer, ANSWERS))
        [place] = collectives.all_reduce_max(strategy, [ANSWERS.index(answer)])
        if ANSWERS[place] == "stop":
            signals.release()
            raise Paused(number, is_saved=False)
        self.pause_epoch = number if ANSWERS[place] == "pause" else None

    def _row_count(self) -> int:
        with self.history.open(newline="", encoding="utf-8") as file:
            return sum(1 for _ in csv.DictReader(file))
