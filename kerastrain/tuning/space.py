"""The space of a hyperparameter search: which values each key may take, and under which conditions.

Takes intervals, choices, conditions and constraints; returns points, which are mappings from the active keys to values. Must
not import TensorFlow or keras_tuner, and must not know what the keys mean.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from kerastrain.errors import InputError, unknown
from kerastrain.tuning import constraints as constraint_texts
from kerastrain.tuning.parameters import Choices, Condition, Interval, described, from_description, has

_MOST_COUNTED = 100_000  # points that `Space.size` goes through to count those that meet the constraints
_MOST_DRAWS = 10_000  # of a sample that meets the constraints


@dataclass(frozen=True)
class Space:
    """The points of a search.

    Args:
        parameters: mapping from each key to its Interval or Choices.
        constraints: tuple of str, conditions between keys, as `constraints.parse` reads them.
        defaults: mapping from keys to the values that they have in a constraint while they are not searched or not active.

    Raises:
        InputError: there is no key, a condition names an unknown key or value or goes in a circle, or a constraint is not
            a condition or has an unknown key.
    """

    parameters: Mapping[str, Interval | Choices]
    constraints: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    order: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """The keys, each after those that its conditions name, and else in the order of `parameters`."""

    def __post_init__(self):
        if not self.parameters:
            raise InputError("the space must contain at least one key. Received: none.")
        object.__setattr__(self, "constraints", tuple(self.constraints))
        for key, parameter in self.parameters.items():
            for condition in parameter.when:
                self._check_condition(key, condition)
        for constraint in self._parsed:
            for key in sorted(constraint.keys - {*self.parameters, *self.defaults}):
                raise InputError(f"{unknown('key', key, self.parameters)} It is in the constraint {constraint.text!r}.")
        object.__setattr__(self, "order", _ordered(self.parameters))

    def _check_condition(self, key: str, condition: Condition) -> None:
        parent = self.parameters.get(condition.key)
        if parent is None:
            raise InputError(f"{key}: when must name a searched key. {unknown('key', condition.key, self.parameters)}")
        if parent.values is None:
            raise InputError(
                f"{key}: when must name a key with a list of values. Received: {condition.key}, an interval. Give it a "
                "step or a list."
            )
        if not condition.values:
            raise InputError(f"{key}: when must list a value of {condition.key}. Received: none.")
        for value in condition.values:
            if not has(parent.values, value):
                known = ", ".join(map(repr, parent.values[:20]))
                raise InputError(f"{key}: when has a value that {condition.key} never has: {value!r}. Known: {known}.")

    @cached_property
    def _parsed(self) -> tuple[constraint_texts.Constraint, ...]:
        return tuple(map(constraint_texts.parse, self.constraints))

    def is_active(self, key: str, values: Mapping[str, Any]) -> bool:
        """Whether all conditions of a key hold.

        Args:
            key: str.
            values: mapping from the active keys before it in `order` to their values.
        """
        return all(
            condition.key in values and has(condition.values, values[condition.key])
            for condition in self.parameters[key].when
        )

    def active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values of the active keys only.

        Args:
            values: mapping from keys to values; other keys than those of the space are dropped too.

        Returns:
            dict, in the order of `order`.
        """
        kept: dict[str, Any] = {}
        for key in self.order:
            if key in values and self.is_active(key, kept):
                kept[key] = values[key]
        return kept

    def allows(self, values: Mapping[str, Any]) -> bool:
        """Whether a point meets all constraints; one with a key that is neither active nor in `defaults` does not apply.

        Args:
            values: mapping from keys to values; keys that are not active count as not given.

        Raises:
            InputError: a constraint cannot be computed with these values.
        """
        if not self._parsed:
            return True
        known = {**self.defaults, **self.active(values)}
        return all(
            constraint.holds({key: known[key] for key in constraint.keys})
            for constraint in self._parsed
            if constraint.keys <= known.keys()
        )

    def sample(self, rng) -> dict[str, Any]:
        """Draws a point that meets the constraints.

        Args:
            rng: numpy.random.Generator or random.Random.

        Returns:
            dict from the active keys to values.

        Raises:
            InputError: no point that meets the constraints was found.
        """
        for _ in range(_MOST_DRAWS if self.constraints else 1):
            values: dict[str, Any] = {}
            for key in self.order:
                fraction = rng.random()  # also for keys that are not active: a draw takes the same numbers everywhere
                if self.is_active(key, values):
                    values[key] = self.parameters[key].at(fraction)
            if self.allows(values):
                return values
        if self._size() is not None and self._size() <= _MOST_COUNTED:
            points = list(self.points())
            if points:
                return points[min(int(rng.random() * len(points)), len(points) - 1)]
        raise InputError(
            f"no point of the space meets {', '.join(map(repr, self.constraints))}. Widen the space, or "
            "remove a constraint."
        )

    def points(self) -> Iterator[dict[str, Any]]:
        """Yields every point that meets the constraints; the last key changes fastest.

        Returns:
            iterator of dict from the active keys to values.

        Raises:
            InputError: a key has infinitely many values.
        """
        if infinite := [key for key in self.order if self.parameters[key].values is None]:
            raise InputError(
                f"a grid needs a step or a list of choices for every key. Received: {infinite[0]}, an interval without a step."
            )
        return (values for values in self._points({}, 0) if self.allows(values))

    def _points(self, values: dict[str, Any], index: int) -> Iterator[dict[str, Any]]:
        if index == len(self.order):
            yield dict(values)
        elif not self.is_active(key := self.order[index], values):
            yield from self._points(values, index + 1)
        else:
            for value in self.parameters[key].values:
                yield from self._points({**values, key: value}, index + 1)

    def size(self) -> int | None:
        """The number of points, or None if there are infinitely many.

        Of more than 100,000 points, those that do not meet the constraints count too.
        """
        every = self._size()
        if not self.constraints or every is None or every > _MOST_COUNTED:
            return every
        return sum(1 for _ in self.points())

    def _size(self) -> int | None:
        """The number of points without constraints."""
        if any(parameter.values is None for parameter in self.parameters.values()):
            return None
        named = {condition.key for parameter in self.parameters.values() for condition in parameter.when}
        parents = tuple(key for key in self.order if key in named)
        rest = [key for key in self.order if key not in named]
        if not parents:
            return math.prod(len(self.parameters[key].values) for key in rest)
        inner = Space({key: self.parameters[key] for key in parents})
        return sum(
            math.prod(len(self.parameters[key].values) for key in rest if self.is_active(key, values))
            for values in inner._points({}, 0)
        )

    def to_dict(self) -> dict[str, Any]:
        """The space as plain JSON values, in the form of a search file."""
        return {
            "parameters": {key: described(parameter) for key, parameter in self.parameters.items()},
            "constraints": list(self.constraints),
            "defaults": dict(self.defaults),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> "Space":
        """Returns the space that `to_dict` described.

        Args:
            record: mapping, as from `to_dict`.

        Returns:
            Space.
        """
        parameters = {key: from_description(entry) for key, entry in record["parameters"].items()}
        return cls(parameters, tuple(record["constraints"]), record["defaults"])


def _ordered(parameters: Mapping[str, Interval | Choices]) -> tuple[str, ...]:
    """The keys, each after those that its conditions name."""
    ordered: dict[str, None] = {}

    def visit(key: str, path: tuple[str, ...]) -> None:
        if key in path:
            circle = " -> ".join((*path[path.index(key) :], key))
            raise InputError(f"{key}: when must not go in a circle. Received: {circle}.")
        if key not in ordered:
            for condition in parameters[key].when:
                visit(condition.key, (*path, key))
            ordered[key] = None

    for key in parameters:
        visit(key, ())
    return tuple(ordered)


__all__ = ["Choices", "Condition", "Interval", "Space"]
