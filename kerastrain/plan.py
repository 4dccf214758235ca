"""What a config would run, before anything runs: the parts of the data, phases, steps and learning rates.

Takes a `Config`, gives numbers and frozen records. Must not import TensorFlow: `kerastrain
check` answers without it, and `recipe` trains by the same numbers.
"""

import math
from dataclasses import dataclass

from kerastrain import data, durations
from kerastrain.config import Config
from kerastrain.errors import InputError


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
    """

    name: str
    epochs: int
    steps_per_epoch: int
    warmup_steps: int
    learning_rate: float

    @property
    def steps(self) -> int:
        """Optimizer steps of the whole phase."""
        return self.epochs * self.steps_per_epoch


def part_sizes(config: Config) -> dict[str, int]:
    """How many examples "train", "validation" and "test" would have; counts files and decodes none.

    Raises:
        InputError: the folder holds no classes, or too few examples to split.
        FileNotFoundError: there is no such folder.
    """
    fractions = {
        "validation_fraction": config.data.validation_fraction,
        "test_fraction": config.data.test_fraction,
    }
    if config.data.kind == "text":
        return data.text_part_sizes(config.data.path, **fractions)
    if config.data.path != "digits":
        return data.part_sizes(config.data.path, **fractions)
    return {name: len(part) for name, part in data.digits(image_size=(8, 8), **fractions).parts.items()}


def phases(config: Config, example_count: int) -> list[Phase]:
    """The phases that `config` asks for, in order; one with 0 epochs is left out.

    Args:
        config: Config.
        example_count: int > 0, training examples.

    Returns:
        list of one or two `Phase`.

    Raises:
        InputError: the warm-up is not shorter than a phase.
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
    total = epochs * steps_per_epoch
    warmup = durations.parse(config.schedule.warmup).steps(steps_per_epoch=steps_per_epoch, total_steps=total)
    if warmup >= total:
        raise InputError(
            f"`schedule.warmup` must be shorter than each phase. Received: {config.schedule.warmup!r} ({warmup} steps), "
            f"phase {name!r} has {total} steps. Lower `schedule.warmup` or raise the epochs of `fit`."
        )
    return Phase(name, epochs, steps_per_epoch, warmup, peak)
