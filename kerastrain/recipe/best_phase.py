"""Chooses the phase whose best epoch ships, so that fine-tuning does not make a model worse than its head alone.

Takes the history of a run and the whole model; keeps its weights of the best phase so far in one file. Must not train.
"""

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from kerastrain import distribute, run_directory, saving
from kerastrain.distribute import collectives
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

MONITOR = "val_data_loss"
"""The logged value that epochs are compared by: penalties on weights, which only count in phases that train those weights,
are not part of it."""

_SPREAD = 0.5
"""What the change of one example's loss by fine-tuning scatters by, as a fraction of the mean loss. An assumption: it depends
on the data, but a bound of it needs nothing except what every epoch logs, the same on one device and on many."""


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch of a phase.

    Args:
        phase: str, the name of the phase.
        epoch: int >= 1.
        logs: mapping from str to float, all that was logged after that epoch, NaN included.
    """

    phase: str
    epoch: int
    logs: Mapping[str, float]

    @property
    def value(self) -> float:
        """`MONITOR` after that epoch; infinity for NaN, which is worse than every number."""
        return self.logs[MONITOR] if self.logs[MONITOR] == self.logs[MONITOR] else math.inf


def best_epoch(directory: Path, phases: Sequence[str]) -> BestEpoch | None:
    """Finds the best epoch of some phases in the history of a run; among equal ones the first.

    Args:
        directory: Path of the run, with `history.csv`.
        phases: sequence of str, the names of the phases.

    Returns:
        BestEpoch, or None if these phases have no epochs.
    """
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] in phases]
    epochs = [
        BestEpoch(
            row["phase"], int(row["epoch"]), {name: float(row[name]) for name in row if name != "phase" and row[name]}
        )
        for row in rows
    ]
    return min(epochs, key=lambda epoch: epoch.value, default=None)


def keep(model: keras.Model, directory: Path) -> None:
    """Saves the weights of the whole model, the best so far, before a phase changes them.

    Args:
        model: keras.Model, without LoRA matrices.
        directory: Path of the run.
    """
    if distribute.is_chief():
        with files.atomic(_path(directory)) as temporary:
            _without_optimizer(model).save_weights(temporary)


def value_to_beat(earlier: BestEpoch, examples: int) -> float:
    """The value that a later phase must fall below to count as better: the earlier one less its standard error.

        value * (1 - 0.5 / sqrt(examples))

    With twenty validation examples the loss of a worse model is lower often enough.

    Args:
        earlier: BestEpoch of an earlier phase.
        examples: int >= 1, number of validation examples.

    Returns:
        float >= 0.
    """
    return earlier.value * (1 - _SPREAD / math.sqrt(examples))


def take_best(model: keras.Model, directory: Path, phases: Sequence[str], *, examples: int) -> BestEpoch:
    """Gives the model the weights of an earlier phase if the last one is not better beyond chance, and logs the choice.

    Args:
        model: keras.Model with the weights of the best epoch of the last phase, without LoRA matrices.
        directory: Path of the run.
        phases: sequence of str, the names of all phases in their order.
        examples: int >= 1, number of validation examples; with few of them a later phase must be better by more.

    Returns:
        BestEpoch whose weights the model has.
    """
    bests = [epoch for phase in phases if (epoch := best_epoch(directory, [phase]))]
    best, rule = bests[0], ""
    for later in bests[1:]:
        bound = value_to_beat(best, examples)
        rule = f"; with {examples:,} validation examples, phase {later.phase} counts as better below {bound:.4g}"
        best = later if later.value < bound else best
    if distribute.is_chief():
        values = ", ".join(f"{MONITOR} {epoch.value:.4g} in phase {epoch.phase}" for epoch in bests)
        logger.info("best: epoch %d of phase %s, among %s%s", best.epoch, best.phase, values, rule)
    if best.phase != phases[-1]:
        collectives.barrier(model.distribute_strategy)  # The chief may still be writing the file.
        saving.load_weights(_without_optimizer(model), _path(directory))
    return best


def _without_optimizer(model: keras.Model) -> keras.Model:
    """The same layers; a phase has an optimizer of its own, which another phase's weights do not fit."""
    return keras.Model(model.inputs, model.outputs)


def _path(directory: Path) -> Path:
    return run_directory.resume_folder(directory) / "best_before.weights.h5"  # removed with it when the run is finished
