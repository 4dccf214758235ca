"""Chooses the phase whose best epoch ships, so that fine-tuning cannot make a model worse than its head alone.

Takes the history of a run and the whole model; keeps its weights of the best phase so far in one file. Must not train.
"""

import csv
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import keras

from kerastrain import distribute, run_directory
from kerastrain.distribute import collectives
from kerastrain.system import files

logger = logging.getLogger("kerastrain")

MONITOR = "val_data_loss"
"""The logged value that epochs are compared by: penalties on weights, which only count in phases that train those weights,
are not part of it."""


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


def take_best(model: keras.Model, directory: Path, phases: Sequence[str]) -> BestEpoch:
    """Gives the model the weights of an earlier phase if the last one did not improve on them, and logs the choice.

    Args:
        model: keras.Model with the weights of the best epoch of the last phase, without LoRA matrices.
        directory: Path of the run.
        phases: sequence of str, the names of all phases in their order.

    Returns:
        BestEpoch whose weights the model has.
    """
    bests = [epoch for phase in phases if (epoch := best_epoch(directory, [phase]))]
    best = min(reversed(bests), key=lambda epoch: epoch.value)  # The last of equal ones: its weights are in place.
    if distribute.is_chief():
        logger.info(
            "best: epoch %d of phase %s, among %s",
            *(best.epoch, best.phase),
            ", ".join(f"{MONITOR} {epoch.value:.4g} in phase {epoch.phase}" for epoch in bests),
        )
    if best.phase != phases[-1]:
        collectives.barrier(model.distribute_strategy)  # The chief may still be writing the file.
        _without_optimizer(model).load_weights(_path(directory))
    return best


def _without_optimizer(model: keras.Model) -> keras.Model:
    """The same layers; a phase has an optimizer of its own, which another phase's weights do not fit."""
    return keras.Model(model.inputs, model.outputs)


def _path(directory: Path) -> Path:
    return run_directory.resume_folder(directory) / "best_before.weights.h5"  # removed with it when the run is finished
