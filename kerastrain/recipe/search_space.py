"""Turns the settings of a search into its space, and refuses what cannot be searched before anything trains.

Takes a `Config` and a `SearchConfig`; returns a `tuning.space.Space`. Must not import TensorFlow, and must not choose points.
"""

import itertools
import json
import random
from collections.abc import Iterator, Mapping
from typing import Any

from kerastrain import config as configs
from kerastrain.config import keys, typed
from kerastrain.config.expectations import shown
from kerastrain.errors import ConfigError, InputError
from kerastrain.recipe import search_objectives, user_function
from kerastrain.tuning import constraints as constraint_texts
from kerastrain.tuning.parameters import Choices, Interval
from kerastrain.tuning.space import Space

_SOURCE = "the search space"
_MOST_POINTS = 1000  # that are validated, about a millisecond each; a larger grid is sampled
_SAMPLES = 300
_MOST_CHOICES = 50  # of a key that are tried to find the condition that a wrong point lacks

_OTHER_DATA = "trials that differ in it are measured on different examples"
_OTHER_MEASURE = "trials that differ in it are measured in different ways"
_NO_CHANGE = "it does not change what is trained"
_WORKERS = "`kerastrain tune --workers` divides the devices among the trials"
_OF_DATA = {  # key below data -> why it is not searched
    **dict.fromkeys(("path", "exclude", "exclude_classes", "unreadable_fraction", "largest_megapixels"), _OTHER_DATA),
    **dict.fromkeys(("validation_fraction", "test_fraction", "split_seed", "folds", "fold"), _OTHER_DATA),
    **dict.fromkeys(("columns.targets", "columns.split", "columns.group", "columns.folder"), _OTHER_DATA),
    **dict.fromkeys(("kind", "task", "learn", "train_on_validation", "columns.slices"), _OTHER_MEASURE),
    "cache": _NO_CHANGE,
}
_NOT_SEARCHED = {  # key or section -> why
    **{f"data.{key}": reason for key, reason in _OF_DATA.items()},
    "fit.objective": _OTHER_MEASURE,
    "fit.stop_epoch": "it belongs to the training of a winner",
    "fit.head_stop_epoch": "it belongs to the training of a winner",
    "fit.checkpoint_every": _NO_CHANGE,
    "fit.checkpoints_kept": _NO_CHANGE,
    "evaluation": _OTHER_MEASURE,
    "tracking": _NO_CHANGE,
    "runtime.strategy": _WORKERS,
    "runtime.devices": _WORKERS,
    "runtime.all_reduce": _WORKERS,
    "runtime.profile": _NO_CHANGE,
    "runtime.start_timeout_seconds": _NO_CHANGE,
}
_OF_A_FUNCTION = (
    *("model", "optimizer", "schedule", "fine_tune", "memory"),
    *("fit.head_epochs", "fit.head_views", "fit.label_smoothing", "fit.dpo_beta"),
)


def check(config: configs.Config, search: configs.SearchConfig, *, build_space: Space | None = None) -> Space:
    """Returns the space of a search whose every key, value and combination can be trained.

    All points of a small grid are validated, and a sample of any other space.

    Args:
        config: Config that every trial changes.
        search: SearchConfig.
        build_space: Space of the hyperparameters that a user's function registers, under names that begin with `hp.`; None
            if the models are those of the config.

    Returns:
        Space with the keys of both, whose defaults are the values of `config` in the constraints.

    Raises:
        ConfigError: a key is unknown, or takes none of its values; the error lists every fault.
        InputError: there is nothing to search, a key must not be searched, a condition or constraint has no meaning or
            excludes everything, a combination cannot be trained, or the objectives do not fit the data or the algorithm.
    """
    parameters = {**search.parameters, **({} if build_space is None else build_space.parameters)}
    if not parameters:
        raise InputError(
            "the space must contain at least one key. Received: none. Write one, such as 'space.model.dropout=[0, 0.2, 0.5]'."
        )
    for key in search.space:
        _require_searchable(key, search, has_function=build_space is not None)
    nested = config.model_dump(mode="json")
    _check_values(nested, search.parameters)
    search_objectives.check(config, search, has_function=build_space is not None)
    space = Space(parameters, search.constraints, _defaults(nested, search, parameters))
    if search.algorithm == "grid":
        _require_grid(space)
    for point in _validated_points(space):
        if reason := _fault(nested, point):
            raise InputError(_invalid(nested, space, point, reason))
    return space


def _require_searchable(key: str, search: configs.SearchConfig, *, has_function: bool) -> None:
    reason = next((why for name, why in _NOT_SEARCHED.items() if key == name or key.startswith(f"{name}.")), None)
    is_of_export = any(objective.measure.startswith("export.") for objective in search.objectives)
    if key.startswith("export.") and (key == "export.formats" or not is_of_export):
        reason = "files are exported only for an objective such as export.tflite_int8.bytes, which names its format"
    if key == "runtime.seed" and search.seeds > 1:
        reason = f"seeds: {search.seeds} trains the best points with several seeds"
    if has_function and key.startswith(tuple(f"{name}." for name in _OF_A_FUNCTION) + _OF_A_FUNCTION):
        reason = "the function of --build makes and compiles the model"
    if key in configs.Config.model_fields:
        raise InputError(f"space.{key}: keys must be written whole, such as space.model.dropout. Received: {key}.")
    if reason is not None:
        raise InputError(f"space.{key} cannot be searched: {reason}. Remove it from the space.")


def _check_values(nested: Mapping, parameters: Mapping[str, Interval | Choices]) -> None:
    """Raises an error for every unknown key, and for every value that its key never takes."""
    faults: dict[str, str] = {}
    for key, parameter in parameters.items():
        values = parameter.values if isinstance(parameter, Choices) else (parameter.min, parameter.max)
        is_known = typed.annotation_at(configs.Config, key) is not Any
        for value in values:
            try:
                configs.validate(configs.put(nested, key, value), source=_SOURCE)
            except ConfigError as error:
                for path, sentence in error.faults:
                    # What a whole section says may be right in combination with another key.
                    if not is_known or path == key or path.startswith(f"{key}."):
                        faults.setdefault(path, sentence)
    if faults:
        raise ConfigError(_SOURCE, faults.items())


def _defaults(nested: Mapping, search: configs.SearchConfig, parameters: Mapping) -> dict[str, Any]:
    """Returns the values of the config for the keys in the constraints, also for those that may be inactive."""
    defaults = {}
    for text in search.constraints:
        for key in sorted(constraint_texts.parse(text).keys):
            if key in parameters and key.startswith(user_function.PREFIX):
                continue
            value: Any = nested
            for name in key.split("."):
                value = value.get(name, nested) if isinstance(value, Mapping) else nested
            if value is nested or key in nested:
                near = keys.meant(configs.Config, key) or [name for name in parameters if name.endswith(f".{key}")]
                hint = f" Did you mean {' or '.join(near[:3])}?" if near else ""
                raise InputError(f"the constraint {text!r} has an unknown key. Received: {key}.{hint}")
            defaults[key] = value
    return defaults


def _require_grid(space: Space) -> None:
    infinite = [key for key in space.order if space.parameters[key].values is None]
    if infinite:
        raise InputError(
            f"algorithm: grid needs a step or a list of choices for every key. Received: space.{infinite[0]}, an interval "
            "without a step. Add one, or choose another algorithm."
        )


def _validated_points(space: Space) -> Iterator[dict[str, Any]]:
    """Yields all points of a small grid, or a sample of the space.

    Raises:
        InputError: no point meets the constraints.
    """
    size = space.size()
    if size is not None and size <= _MOST_POINTS:
        points = space.points()
        first = next(points, None)
        if first is None:
            space.sample(random.Random(0))  # raises the error
        yield from itertools.chain([first], points)
        return
    rng, seen = random.Random(0), set()
    for _ in range(_SAMPLES):
        point = space.sample(rng)
        name = json.dumps(point)
        if name not in seen:
            seen.add(name)
            yield point


def _fault(nested: Mapping, point: Mapping[str, Any]) -> str | None:
    """Returns why the config of a point is invalid, or None."""
    for key, value in point.items():
        if not key.startswith(user_function.PREFIX):
            nested = configs.put(nested, key, value)
    try:
        configs.validate(nested, source=_SOURCE)
    except ConfigError as error:
        path, sentence = error.faults[0]
        return f"{path}: {sentence}"
    return None


def _invalid(nested: Mapping, space: Space, point: Mapping[str, Any], reason: str) -> str:
    """Returns the sentence for a point that cannot be trained, with the condition that would leave it out."""
    for key in reversed(list(point)):
        if _fault(nested, {name: value for name, value in point.items() if name != key}):
            continue
        for parent in point:
            values = space.parameters[parent].values
            if parent == key or values is None or len(values) > _MOST_CHOICES or _depends(space, parent, key):
                continue
            if valid := [value for value in values if not _fault(nested, {**point, parent: value})]:
                hint = f"Write `when: {{{parent}: {shown(valid[0] if len(valid) == 1 else valid)}}}` below space.{key}."
                return _sentence({parent: point[parent], key: point[key]}, reason, hint)
        return _sentence({key: point[key]}, reason, "Change its values, or those of the recipe.")
    return _sentence(point, reason, "Change the values, or write a constraint.")


def _sentence(point: Mapping[str, Any], reason: str, hint: str) -> str:
    values = {key: float(f"{value:.6g}") if isinstance(value, float) else value for key, value in point.items()}
    named = ", ".join(f"{key}={shown(value)}" for key, value in values.items())
    return f"the space has points that cannot be trained, such as {named}: {reason} {hint}"


def _depends(space: Space, key: str, other: str) -> bool:
    """Whether a key is set under a condition on another one, directly or through others."""
    return any(
        condition.key == other or _depends(space, condition.key, other) for condition in space.parameters[key].when
    )
