"""The keys of a search and the values that they may take, as they are written in a search file.

Takes nested values as they were typed; returns frozen pydantic records. Must not import TensorFlow, and must not check the keys
against a config: `recipe.search_space` does.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_serializer, model_validator

from kerastrain.config import typed
from kerastrain.config.expectations import shown
from kerastrain.config.sections import Config
from kerastrain.config.values import Meaning, Section
from kerastrain.tuning import parameters

Value = Annotated[Any, Meaning("a value")]
Number = Annotated[int | float, Meaning("a number")]


class SearchedKey(Section):
    """What a key may be: a number of an interval, or one of some choices, perhaps only under a condition."""

    choices: Annotated[list[Value], Field(min_length=1)] | None = None
    """Values of any kind: numbers, texts, true and false, null, lists. A list without `choices:` is the same."""
    min: Number | None = None
    """Smallest number of an interval, included."""
    max: Number | None = None
    """Largest number of an interval, included."""
    sampling: Literal["linear", "log", "reverse_log"] = "linear"
    """Distribution of random numbers: uniform (linear), log-uniform (log, which needs min > 0), or its mirror image."""
    integer: bool = False
    """Whether only whole numbers are tried. The default is true for keys that take only whole numbers."""
    step: Number | None = None
    """Difference of neighbouring numbers, or their ratio under log sampling. Null means every number of the interval."""
    when: dict[str, Value] = {}
    """Searched keys, each with the values under which this key is set. Otherwise it keeps its value of the recipe."""

    @model_validator(mode="after")
    def _check_values(self):
        given = {name: value for name in ("min", "max", "step") if (value := getattr(self, name)) is not None}
        if self.choices is not None and given:
            raise ValueError(f"write either choices, or min and max. Received: choices, {', '.join(given)}.")
        if self.choices is None and (self.min is None or self.max is None):
            raise ValueError(f"needs min and max, or choices. Received: {shown(given)}.")
        self.parameter()
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, dump):
        values = dump(self)
        unused = ("min", "max", "sampling", "integer", "step") if self.choices is not None else ("choices",)
        return {name: value for name, value in values.items() if name not in unused}

    def parameter(self) -> parameters.Interval | parameters.Choices:
        """The same for an algorithm.

        Raises:
            InputError: the limits or the step do not fit together, or a choice occurs twice.
        """
        when = tuple(parameters.Condition(key, tuple(values)) for key, values in self.when.items())
        if self.choices is not None:
            return parameters.Choices(tuple(self.choices), when)
        return parameters.Interval(self.min, self.max, self.sampling, self.integer, self.step, when)


def read(space: Mapping) -> dict[str, Any]:
    """Reads a space as it was typed: the values of each key by the type of the key.

    Args:
        space: mapping from keys to lists or mappings.

    Returns:
        dict from str to lists or dicts of plain values, for the validation. Conditions list their values.

    Raises:
        ValueError: a whole section is given in place of a key, or there are no choices, or one of them twice.
    """
    entries = {str(key): _choices(str(key), entry) for key, entry in space.items()}
    return {key: _with_conditions(entry, entries) for key, entry in entries.items()}


def _choices(key: str, entry: Any) -> Any:
    """Returns choices in the type of their key, and an interval in numbers."""
    if isinstance(entry, Mapping) and key in Config.model_fields:
        raise ValueError(f"keys must be written whole, such as {key}.{next(iter(entry), 'KEY')}. Received: {key}.")
    annotation = typed.annotation_at(Config, key)
    if isinstance(entry, list | tuple):
        return _distinct(key, typed.resolve(entry, list[annotation], _ignored))
    if not isinstance(entry, Mapping):
        return typed.resolve(entry, SearchedKey, _ignored)
    own = {str(name): value for name, value in entry.items()}
    choices, when = own.pop("choices", None), own.pop("when", None)
    resolved = typed.resolve(own, SearchedKey, _ignored)
    if choices is not None:
        resolved["choices"] = typed.resolve(choices, list[annotation], _ignored)
        if isinstance(resolved["choices"], list):
            _distinct(key, resolved["choices"])
    elif _is_whole(annotation):
        resolved.setdefault("integer", True)
    if when is not None:
        resolved["when"] = when
    return resolved


def _distinct(key: str, choices: list) -> list:
    if not choices:
        raise ValueError(f"the choices of {key} must contain at least one value. Received: [].")
    if any(parameters.has(choices[:index], value) for index, value in enumerate(choices)):
        raise ValueError(f"the choices of {key} must differ. Received: {shown(choices)}.")
    return choices


def _with_conditions(entry: Any, entries: Mapping) -> Any:
    """Returns an entry whose conditions list the values of the other key."""
    if not isinstance(entry, dict) or not isinstance(entry.get("when"), Mapping):
        return entry
    when = {str(key): _condition(str(key), written, entries) for key, written in entry["when"].items()}
    return {**entry, "when": when}


def _condition(key: str, written: Any, entries: Mapping) -> list:
    """Returns the values under which a key is set; a list may be one of the choices, or several of them."""
    annotation, other = typed.annotation_at(Config, key), entries.get(key)
    choices = other.get("choices") if isinstance(other, dict) else other
    value = typed.resolve(written, annotation, _ignored)
    if not isinstance(value, list) or (isinstance(choices, list) and parameters.has(choices, value)):
        return [value]
    return typed.resolve(written, list[annotation], _ignored)


def _is_whole(annotation: Any) -> bool:
    """Whether a key takes whole numbers, and no others."""
    members = typed.types_in(annotation)
    return int in members and not {float, bool} & {*members}


def _ignored(path: str, sentence: str) -> None:
    """Leaves a fault to the validation."""
