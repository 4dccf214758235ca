"""What a config would run, before anything runs: the parts of the data, phases, steps and learning rates.

Takes a `Config`, gives numbers and frozen records. Must not import TensorFlow: `kerastrain
check` answers without it, and `recipe` trains by the same numbers.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kerastrain import data
from kerastrain.config import Config
from kerastrain.errors import InputError
from kerastrain.schedules import curves


@dataclass(frozen=True)
class Phase:
    """One stretch of training under one schedule.

    Args:
        name: "head" (the backbone frozen), "fine_tune" (what `fine_tune` says of it), or "fit" where the backbone has
            random weights and everything trains from the start.
        epochs: int > 0.
        steps_per_epoch: int > 0, optimizer steps; the last, smaller batch of an epoch counts.
        warmup_steps: int >= 0, optimizer steps of linear rise.
        learning_rate: float > 0, the peak of the schedule.
        schedule: str, a key of `schedules.CURVES`.
        arguments: mapping, further arguments of that curve, its lengths in steps.
    """

    name: str
    epochs: int
    steps_per_epoch: int
    warmup_steps: int
    learning_rate: float
    schedule: str
    arguments: Mapping[str, object]

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole phase."""
        return self.epochs * self.steps_per_epoch

    @property
    def learning_rates(self) -> np.ndarray:
        """float32 (steps,), the rate of each step."""
        return curves.rate(
            np.arange(self.steps),
            self.schedule,
            peak=self.learning_rate,
            steps=self.steps,
            warmup_steps=self.warmup_steps,
            arguments=self.arguments,
        )


def parts(config: Config) -> dict[str, data.Examples]:
    """The examples of "train", "validation" and "test", none of their images decoded.

    Raises:
        InputError: the folder holds no classes, or too few examples to split.
        FileNotFoundError: there is no such folder.
    """
    listed = listing(config)
    return {
        name: listed.examples.subset(indices) for name, indices in data.divide(listed, **split_options(config)).items()
    }


def listing(config: Config, *, path: str | None = None, image_size: tuple[int, int] | None = None) -> data.Listing:
    """The examples that `config` names, or those at another `path` under its settings; decodes none.

    Args:
        config: Config.
        path: str, what to read in place of `data.path`; None for that.
        image_size: (height, width) in pixels that images are stretched to; None where they are only counted.

    Raises:
        InputError, FileNotFoundError: as for `data.listing`.
    """
    options = {"kind": config.data.kind, "image_size": image_size, "task": config.data.task}
    columns = data.Columns(**config.data.columns.model_dump())
    if path is None:
        return data.listing(config.data.path, columns=columns, **options)
    # What the columns of the run's own table are called says nothing of a folder.
    return data.listing(path, columns=columns if data.has_columns(path) else None, **options)


def split_options(config: Config) -> dict[str, float | int | None]:
    """How `config` divides its examples: the arguments of `data.divide`."""
    return {
        "validation_fraction": config.data.validation_fraction,
        "test_fraction": config.data.test_fraction,
        "seed": config.runtime.seed,
        "folds": config.data.folds,
        "fold": config.data.fold,
    }


def phases(config: Config, example_count: int) -> list[Phase]:
    """The phases that `config` asks for, in order; one with 0 epochs is left out.

    Args:
        config: Config.
        example_count: int > 0, training examples.

    Returns:
        list of one or two `Phase`.

    Raises:
        InputError: the warm-up is not shorter than a phase, or the schedule does not fit into one.
    """
    fit, rate = config.fit, config.optimizer.learning_rate
    if config.from_scratch:
        if not fit.epochs:
            raise InputError(
                f"`fit.epochs` must be above 0 for a backbone with random weights ({config.model.backbone}), "
                "of which a head alone learns nothing. Received: 0."
            )
        return [_phase(config, "fit", fit.epochs, rate, example_count)]
    asked = [("head", fit.head_epochs, rate), ("fine_tune", fit.epochs, rate * config.optimizer.fine_tune_fraction)]
    return [_phase(config, name, epochs, peak, example_count) for name, epochs, peak in asked if epochs]


def _phase(config: Config, name: str, epochs: int, peak: float, example_count: int) -> Phase:
    steps_per_epoch = math.ceil(example_count / config.fit.global_batch_size)
    if steps_per_epoch % config.fit.steps_per_execution:
        raise InputError(
            f"`fit.steps_per_execution` must divide the steps of an epoch. Received: {config.fit.steps_per_execution}, and "
            f"an epoch has {steps_per_epoch} steps of {config.fit.global_batch_size}. Choose a divisor, or another "
            "`fit.global_batch_size`."
        )
    total = epochs * steps_per_epoch
    name_of_curve, wanted = config.schedule.name, config.schedule.curve_arguments
    arguments = curves.resolved(name_of_curve, wanted, steps=total, steps_per_epoch=steps_per_epoch)
    warmup = arguments.pop("warmup_steps")
    if warmup >= total:
        raise InputError(
            f"`schedule.warmup` must be shorter than each phase. Received: {config.schedule.warmup!r} ({warmup} steps), "
            f"phase {name!r} has {total} steps. Lower `schedule.warmup` or raise the epochs of `fit`."
        )
    try:
        curves.check(name_of_curve, peak=peak, steps=total, warmup_steps=warmup, arguments=arguments)
    except InputError as error:
        raise InputError(
            f"`schedule` does not fit phase {name!r} of {total} steps: {error} A length in percent fits every phase."
        ) from None
    return Phase(name, epochs, steps_per_epoch, warmup, peak, name_of_curve, arguments)
