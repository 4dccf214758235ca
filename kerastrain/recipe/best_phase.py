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
from kerastrain.evaluation import catalog
from kerastrain.recipe.monitors import LOSS, Monitor
from kerastrain.system import files, stopwatch

logger = logging.getLogger("kerastrain")

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
        monitor: Monitor that epochs are compared by.
    """

    phase: str
    epoch: int
    logs: Mapping[str, float]
    monitor: Monitor = LOSS

    @property
    def value(self) -> float:
        """The monitored value after that epoch; for NaN the infinity that is worse than every number."""
        value = self.logs[self.monitor.column]
        return value if value == value else math.inf if self.monitor.mode == "min" else -math.inf

    def is_better_than(self, value: float) -> bool:
        """Whether the monitored value is better than a number.

        Args:
            value: float.

        Returns:
            bool.
        """
        return self.value < value if self.monitor.mode == "min" else self.value > value


def best_epoch(directory: Path, phases: Sequence[str], monitor: Monitor = LOSS) -> BestEpoch | None:
    """Finds the best epoch of some phases in the history of a run; among equal ones the first.

    Args:
        directory: Path of the run, with `history.csv`.
        phases: sequence of str, the names of the phases.
        monitor: Monitor that epochs are compared by.

    Returns:
        BestEpoch, or None if these phases have no epochs. If the monitored value is undefined after each epoch, it is the last
        one, whose weights the model keeps.
    """
    epochs = [epoch for epoch in _epochs(directory, monitor) if epoch.phase in phases]
    if all(math.isinf(epoch.value) for epoch in epochs):
        return epochs[-1] if epochs else None
    sign = 1 if monitor.mode == "min" else -1
    return min(epochs, key=lambda epoch: sign * epoch.value)


def phases(directory: Path) -> list[str]:
    """The phases of a run that have epochs.

    Args:
        directory: Path of the run, with `history.csv`.

    Returns:
        list of str, their names in order.
    """
    return list(dict.fromkeys(epoch.phase for epoch in _epochs(directory)))


def last_epoch(directory: Path) -> BestEpoch:
    """Finds the last epoch in the history of a run, the one that ships if nothing is held out to compare epochs by.

    Args:
        directory: Path of the run, with `history.csv` of at least one epoch.

    Returns:
        BestEpoch.
    """
    return _epochs(directory)[-1]


@stopwatch.timed("best phase")
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
    """The value that a later phase must beat to count as better: the earlier one by its standard error.

        loss * (1 - 0.5 / sqrt(n))                    of losses and errors
        share + sqrt(share * (1 - share) / n)         of shares of examples, such as accuracy, recall and F1
        1 - (1 - value) * (1 - 0.5 / sqrt(n))         of what is at most 1, such as R² and kappa

    With twenty validation examples the loss of a worse model is lower often enough.

    Args:
        earlier: BestEpoch of an earlier phase.
        examples: int >= 1, number of validation examples; of a measure of one class, of those of the class.

    Returns:
        float.
    """
    value, scale = earlier.value, catalog.scale(earlier.monitor.measure)
    spread = _SPREAD / math.sqrt(examples)
    if scale == "share" and math.isfinite(value):
        return value + math.sqrt(value * (1 - value) / examples)
    if scale == "at_most_one":
        return 1 - (1 - value) * (1 - spread)
    return value * (1 - spread)


def choose(
    directory: Path, phases: Sequence[str], *, examples: int, monitor: Monitor = LOSS
) -> tuple[BestEpoch, list[BestEpoch], str]:
    """Decides which phase of a run ships: the first one, unless a later one is better beyond chance.

    Args:
        directory: Path of the run, with `history.csv`.
        phases: sequence of str, the names of all phases in their order.
        examples: int >= 1, as for `value_to_beat`.
        monitor: Monitor that epochs are compared by.

    Returns:
        (BestEpoch that ships, list of the BestEpoch of each phase, str with the rule for the log, empty for one phase).
    """
    bests = [epoch for phase in phases if (epoch := best_epoch(directory, [phase], monitor))]
    best, rule = bests[0], ""
    side = "below" if monitor.mode == "min" else "above"
    for later in bests[1:]:
        bound = value_to_beat(best, examples)
        rule = f"; with {examples:,} validation examples, phase {later.phase} counts as better {side} {bound:.4g}"
        best = later if later.is_better_than(bound) else best
    return best, bests, rule


@stopwatch.timed("best phase")
def take_best(
    model: keras.Model, directory: Path, phases: Sequence[str], *, examples: int, monitor: Monitor = LOSS
) -> BestEpoch:
    """Gives the model the weights of an earlier phase if the last one is not better beyond chance, and logs the choice.

    Args:
        model: keras.Model with the weights of the best epoch of the last phase, without LoRA matrices.
        directory: Path of the run.
        phases: sequence of str, the names of all phases in their order.
        examples: int >= 1, number of validation examples; with few of them a later phase must be better by more.
        monitor: Monitor that epochs are compared by.

    Returns:
        BestEpoch whose weights the model has.
    """
    best, bests, rule = choose(directory, phases, examples=examples, monitor=monitor)
    if distribute.is_chief():
        values = ", ".join(f"{monitor.column} {epoch.value:.4g} in phase {epoch.phase}" for epoch in bests)
        logger.info("best: epoch %d of phase %s, among %s%s", best.epoch, best.phase, values, rule)
    if best.phase != phases[-1]:
        collectives.barrier(model.distribute_strategy)  # The chief may still be writing the file.
        saving.load_weights(_without_optimizer(model), _path(directory))
    return best


def _epochs(directory: Path, monitor: Monitor = LOSS) -> list[BestEpoch]:
    with (directory / "history.csv").open(newline="", encoding="utf-8") as file:
        return [
            BestEpoch(
                row["phase"],
                int(row["epoch"]),
                {name: float(row[name]) for name in row if name != "phase" and row[name]},
                monitor,
            )
            for row in csv.DictReader(file)
        ]


def _without_optimizer(model: keras.Model) -> keras.Model:
    """The same layers; a phase has an optimizer of its own, which another phase's weights do not fit."""
    return keras.Model(model.inputs, model.outputs)


def _path(directory: Path) -> Path:
    return run_directory.resume_folder(directory) / "best_before.weights.h5"  # removed with it when the run is finished
