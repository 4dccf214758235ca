"""Turns a space into keras-tuner's HyperParameters and back, so that its oracles search keys of any kind.

Takes a `Space` and values; returns what keras-tuner holds and reads: one kind of number, texts and truth values. Must not
choose points, and takes the module keras_tuner as an argument, because importing it starts TensorFlow.

A quantised interval becomes the index of its value, because keras-tuner computes indices from values with `//`, where 0.3 // 0.1
is 2; and a list of other things than numbers or texts becomes a list of JSON texts.
"""

import copy
import dataclasses
import json
from collections.abc import Callable, Mapping
from typing import Any

from kerastrain.errors import InputError
from kerastrain.tuning.parameters import Choices, Condition, Interval, has
from kerastrain.tuning.space import Space

_LAST = 1 - 1e-9  # the fraction of a hyperparameter's distribution at which it has its last value
_MOST_SCOPES = 100


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
        first = config["value"] if class_name == "Fixed" else config["default"]
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
    """The value of a parameter for what keras-tuner has: the inverse of `_code`."""
    if isinstance(parameter, Interval):
        if parameter.step is not None:
            return parameter.values[int(code)]
        return int(code) if parameter.integer else float(code)
    return parameter.values[_codes(parameter).index(code)]


def from_keras_tuner(hyperparameters, *, prefix: str = "") -> Space:
    """The space of keras-tuner's HyperParameters, such as those that a user's function has registered.

    Args:
        hyperparameters: keras_tuner.HyperParameters, or the dict that its `get_config()` returns.
        prefix: str before the name of each hyperparameter in the space, such as "hp.".

    Returns:
        Space with one key for each hyperparameter.

    Raises:
        InputError: a hyperparameter is registered twice with different values or conditions, or its conditions cannot be
            searched.
    """
    record = hyperparameters if isinstance(hyperparameters, Mapping) else hyperparameters.get_config()
    parameters: dict[str, Interval | Choices] = {}
    for entry in record["space"]:
        name = entry["config"]["name"]
        parameter, earlier = _parameter(entry["class_name"], entry["config"], prefix), parameters.get(f"{prefix}{name}")
        parameters[f"{prefix}{name}"] = parameter if earlier is None else _joined(name, earlier, parameter)
    return Space(parameters)


def in_keras_tuner(keras_tuner, record: Mapping[str, Any], values: Mapping[str, Any]):
    """The HyperParameters of a user's function at a point: the inverse of `from_keras_tuner`.

    Args:
        keras_tuner: the module keras_tuner.
        record: mapping, what `HyperParameters.get_config()` returned.
        values: mapping from the names of the active hyperparameters to their values.

    Returns:
        keras_tuner.HyperParameters, for the function.
    """
    return keras_tuner.HyperParameters.from_config(copy.deepcopy({"space": record["space"], "values": dict(values)}))


def discover(keras_tuner, build: Callable) -> dict[str, Any]:
    """Finds the hyperparameters that a function registers, also those under conditions.

    The function is called with the default of each hyperparameter, and then with the last value of each, such as the largest
    number of layers, under all conditions one after the other. What it registers only for other values is not found.

    Args:
        keras_tuner: the module keras_tuner.
        build: callable from keras_tuner.HyperParameters to anything; what it returns is ignored.

    Returns:
        dict, what `HyperParameters.get_config()` returns.
    """
    known, scopes = keras_tuner.HyperParameters(), [[]]
    build(known)
    for conditions in scopes:  # which grows
        current = known.copy()
        current.values.update({condition.name: condition.values[0] for condition in conditions})
        given = {condition.name for condition in conditions}
        for parameter in current.space:
            if parameter.name not in given and current.is_active(parameter):
                current.values[parameter.name] = parameter.prob_to_value(_LAST)
        build(current)
        for new in (known.active_scopes, known.inactive_scopes, current.active_scopes, current.inactive_scopes):
            scopes += [scope for scope in new if scope not in scopes and len(scopes) < _MOST_SCOPES]
        known.merge(current, overwrite=False)
    return known.get_config()


def _parameter(class_name: str, config: Mapping[str, Any], prefix: str) -> Interval | Choices:
    """One of keras-tuner's hyperparameters."""
    when = tuple(
        Condition(f"{prefix}{condition['config']['name']}", tuple(condition["config"]["values"]))
        for condition in config["conditions"]
    )
    if class_name == "Fixed":
        return Choices((config["value"],), when)
    if class_name == "Boolean":
        return Choices((config["default"], not config["default"]), when)
    if class_name == "Choice":
        first = [config["default"]] if has(config["values"], config["default"]) else []
        return Choices(tuple(dict.fromkeys([*first, *config["values"]])), when)
    low, high, sampling, integer = config["min_value"], config["max_value"], config["sampling"], class_name == "Int"
    step = None if integer and sampling == "linear" and config["step"] == 1 else config["step"]
    try:
        return Interval(low, high, sampling, integer, step, when)
    except InputError:
        if low == high or step is not None:  # keras-tuner takes an interval of one number
            return Choices((low,), when)
        raise


def _joined(name: str, first: Interval | Choices, second: Interval | Choices) -> Interval | Choices:
    """One hyperparameter that is registered twice, under other values of the same condition."""
    if first == second:
        return first
    others = [parameter.when[-1] for parameter in (first, second) if parameter.when]
    is_same = dataclasses.replace(first, when=()) == dataclasses.replace(second, when=())
    if is_same and len(others) == 2 and others[0].key == others[1].key and first.when[:-1] == second.when[:-1]:
        values = tuple(dict.fromkeys(others[0].values + others[1].values))
        return dataclasses.replace(first, when=(*first.when[:-1], Condition(others[0].key, values)))
    raise InputError(
        f"a hyperparameter must have the same values wherever it is registered. Received: {name!r} with different ones under "
        "different conditions. Give each its own name."
    )
