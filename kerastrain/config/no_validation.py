"""What a config cannot ask for that trains on its validation part. Must not import TensorFlow."""

import operator

from kerastrain.config.expectations import shown
from kerastrain.config.values import Section
from kerastrain.errors import InputError

CHOSEN_ON_VALIDATION = {
    "fit.monitor": "epochs are compared on the validation part",
    "fit.early_stopping_epochs": "a phase is stopped early by the validation part",
    "schedule.plateau_epochs": "the learning rate drops by the validation part",
    "evaluation.threshold": "thresholds are chosen on the validation part",
    "evaluation.temperature": "the temperature is chosen on the validation part",
}
"""The keys that need a validation part, each with why."""

REPLACED_BY_STOP_EPOCH = ("fit.early_stopping_epochs", "fit.monitor")
"""Those that only choose how long a run trains."""


def check(config: Section) -> None:
    """Raises an error if a setting needs the validation part of a config that trains on it.

    Args:
        config: Config.

    Raises:
        ValueError: it does.
    """
    if not config.data.train_on_validation:
        return
    for path, reason in CHOSEN_ON_VALIDATION.items():
        if value := operator.attrgetter(path)(config):
            raise ValueError(
                f"{path} needs a validation part, as {reason}. Received: {shown(value)}, and data.train_on_validation true. "
                "Remove one of them."
            )


def require_validation(config: Section, purpose: str) -> None:
    """Refuses a config that trains on its validation part, for what chooses something by that part.

    Args:
        config: Config.
        purpose: str, what needs the part, the start of a sentence such as "a search".

    Raises:
        InputError: the config trains on it.
    """
    if config.data.train_on_validation:
        raise InputError(
            f"{purpose} needs a validation part. Received: data.train_on_validation true, which trains on it. Set it to false."
        )


def forgotten(config: Section) -> Section:
    """Holds a validation part out again, for a training whose settings are not chosen yet.

    Args:
        config: Config.

    Returns:
        Config without `data.train_on_validation` and the epochs to stop at that belong to it; `config` itself if it has a
        validation part.
    """
    if not config.data.train_on_validation:
        return config
    changes = {
        "data": {"train_on_validation": False},
        "fit": {"stop_epoch": None, "head_stop_epoch": None},
        "evaluation": {"sets": type(config.evaluation).model_fields["sets"].default},
    }
    return config.model_copy(
        update={name: getattr(config, name).model_copy(update=update) for name, update in changes.items()}
    )
