"""Proposes what to search where the user has not said it: the space, and the objective.

Takes a config and the keys that the user has set; returns values as in a search file. Must not import TensorFlow.
"""

from collections.abc import Mapping

from kerastrain.config import Config
from kerastrain.errors import InputError

_LORA_RATE, _SMALL_RATE = 2e-3, 2e-4  # the centres for language models whose width is not known yet
_FINE_TUNE_FRACTIONS = {"min": 0.003, "max": 0.1, "sampling": "log"}
_ENCODER_FRACTIONS = {"min": 0.001, "max": 0.01, "sampling": "log"}


_OBJECTIVES = {
    "regression": "validation.mae",
    "language": "validation.loss",
    "preference": "validation.preference.accuracy",
}


def objective(config: Config) -> str:
    """Proposes the measure that a search makes as good as it can.

    Args:
        config: Config.

    Returns:
        str, "validation.accuracy" for classifiers.
    """
    return _OBJECTIVES.get(config.measured_kind, "validation.accuracy")


def propose(config: Config, written: Mapping) -> dict[str, dict | list]:
    """Proposes a space around the defaults of a config.

    The learning rate is searched from a tenth of its default to ten times it. Keys that the user has set stay as they are.

    Args:
        config: Config, validated, in which every default is resolved.
        written: nested mapping, only the keys that the user has set.

    Returns:
        dict from a dotted key to a mapping with min and max, or to a list of choices, as in a search file.

    Raises:
        InputError: the user has set all of the keys.

    Example:
        >>> from kerastrain.config import load
        >>> [*propose(load(overrides=["model.dropout=0.5"]), {"model": {"dropout": 0.5}})]
        ['optimizer.learning_rate', 'optimizer.fine_tune_fraction', 'optimizer.weight_decay']
    """
    candidates = _language(config) if config.is_language else _supervised(config)
    space = {key: values for key, values in candidates.items() if not _is_written(key, written)}
    if not space:
        raise InputError(
            f"there is nothing to search: without a space, {', '.join(candidates)} are searched unless they are set. Received: "
            "all of them. Leave one out, or write space.KEY=[VALUE,VALUE] for the keys to search."
        )
    return space


def _supervised(config: Config) -> dict[str, dict | list]:
    space: dict[str, dict | list] = {"optimizer.learning_rate": _around(config.optimizer.learning_rate or 1e-2)}
    if config.fit.trains_whole and not config.from_scratch:
        is_encoder = config.optimizer.fine_tune_fraction == 0.003
        space["optimizer.fine_tune_fraction"] = dict(_ENCODER_FRACTIONS if is_encoder else _FINE_TUNE_FRACTIONS)
    if config.optimizer.name == "adamw":
        space["optimizer.weight_decay"] = _around(config.optimizer.weight_decay or 1e-2)
    space["model.dropout"] = [0.0, 0.2, 0.5]
    return space


def _language(config: Config) -> dict[str, dict | list]:
    is_lora = config.fine_tune.lora_rank is not None and config.fit.objective != "dpo"
    return {"optimizer.learning_rate": _around(_LORA_RATE if is_lora else _SMALL_RATE)}


def _around(centre: float) -> dict:
    """Returns the interval from a tenth of a number to ten times it."""
    return {"min": float(f"{centre / 10:.3g}"), "max": float(f"{centre * 10:.3g}"), "sampling": "log"}


def _is_written(key: str, written: Mapping) -> bool:
    values: object = written
    for name in key.split("."):
        if not isinstance(values, Mapping) or name not in values:
            return False
        values = values[name]
    return True
