"""Turns a space into keras-tuner's HyperParameters and back, so that its oracles search keys of any kind.

Takes a `Space` and values; returns what keras-tuner holds and reads: one kind of number, texts and truth values. Must not
choose points, and takes the module keras_tuner as an argument, because importing it starts TensorFlow.

A quantised interval becomes the index of its value, because keras-tuner computes indices from values with `//`, where 0.3 // 0.1
is 2; and a list of other things than numbers or texts becomes a list of JSON texts.
"""

import json
from collections.abc import Mapping
from typing import Any

from kerastrain.errors import InputError
from kerastrain.tuning.parameters import Choices, Interval, has
from kerastrain.tuning.space import Space


def to_keras_tuner(keras_tuner, space: Space):
    """The space as keras-tuner's HyperParameters.

    Args:
        keras_tuner: the module keras_tuner.
        space: Space; constraints have no counterpart in keras-tuner.

    Returns:
        keras_tuner.HyperParameters with one hyperparameter for each key, under the name of the key. Choices of numbers are
        ordered, and in rising order.
    """
    entries, values = [], {}
    for key in space.order:
        parameter = space.parameters[key]
        class_name, config = _hyperparameter(parameter)
        conditions = [
            {
                "class_name": "Parent",
                "config": {
                    "name": condition.key,
                    "values": [_code(space.parameters[condition.key], value) for value in condition.values],
                },
            }
            for condition in parameter.when
        ]
        entries.append({"class_name": class_name, "config": {"name": key, "conditions": conditions, **config}})
        first = config["value"] if class_name == "Fixed" else config.get("default", config.get("min_value"))
        if space.is_active(key, decode(space, values)):
            values[key] = first
    return keras_tuner.HyperParameters.from_config({"space": entries, "values": values})


def decode(space: Space, hp_values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a point, in their own types.

    Args:
        space: Space.
        hp_values: mapping, `HyperParameters.values` of keras-tuner; names outside the space are ignored.

    Returns:
        dict from the active keys to values.
    """
    values: dict[str, Any] = {}
    for key in space.order:
        if key in hp_values and space.is_active(key, values):
            values[key] = _value(space.parameters[key], hp_values[key])
    return values


def encode(space: Space, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of keras-tuner for a point: the inverse of `decode`.

    Args:
        space: Space.
        values: mapping from keys to values; keys that are not active are dropped.

    Returns:
        dict, for `HyperParameters.values`.

    Raises:
        InputError: a value is not one of its key.
    """
    return {key: _code(space.parameters[key], value) for key, value in space.active(values).items()}


def _hyperparameter(parameter: Interval | Choices) -> tuple[str, dict[str, Any]]:
    """The class and the arguments of keras-tuner's hyperparameter."""
    if isinstance(parameter, Interval):
        if parameter.step is not None:
            last = len(parameter.values) - 1
            return "Int", {"min_value": 0, "max_value": last, "step": 1, "sampling": "linear", "default": 0}
        limits = {"min_value": parameter.min, "max_value": parameter.max, "sampling": parameter.sampling}
        step = 1 if parameter.integer and parameter.sampling == "linear" else None
        return ("Int" if parameter.integer else "Float"), {**limits, "step": step, "default": parameter.min}
    codes = _codes(parameter)
    if len(codes) == 1:
        return "Fixed", {"value": codes[0]}
    if isinstance(codes[0], bool):
        return "Boolean", {"default": codes[0]}
    is_numeric = isinstance(codes[0], int | float)
    return "Choice", {
        "values": sorted(codes) if is_numeric else codes,
        "ordered": is_numeric,
        "default": codes[0],
    }


def _codes(parameter: Choices) -> list:
    """What keras-tuner has for each of the choices: one kind of number, texts, or truth values."""
    kinds = {type(value) for value in parameter.values}
    if kinds in ({str}, {int}, {float}) or (kinds == {bool} and len(parameter.values) == 2):
        return list(parameter.values)
    if kinds == {int, float}:
        return [float(value) for value in parameter.values]
    return [json.dumps(value, sort_keys=True) for value in parameter.values]


def _code(parameter: Interval | Choices, value: Any) -> Any:
    """What keras-tuner has for a value."""
    if isinstance(parameter, Interval) and parameter.step is None:
        return int(value) if parameter.integer else float(value)
    for index, other in enumerate(parameter.values):
        if has((other,), value):
            return index if isinstance(parameter, Interval) else _codes(parameter)[index]
    known = ", ".join(map(repr, parameter.values[:20]))
    raise InputError(f"a value must be one of those that are searched. Received: {value!r}. Known: {known}.")


def _value(parameter: Interval | Choices, code: Any) -> Any:
    """The value that keras-tuner's stands for."""
    if isinstance(parameter, Interval):
        if parameter.step is not None:
            return parameter.values[int(code)]
        return int(code) if parameter.integer else float(code)
    return parameter.values[_codes(parameter).index(code)]
