"""The kinds of change that an augmentation is made of, and the checks that their strengths share.

Takes functions of a batch and of numbers in [0, 1); gives frozen records. A change draws nothing itself: what it does to
an example is a function of the example and of the numbers it is handed.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number


@dataclasses.dataclass(frozen=True, eq=False)
class GeometricTransform:
    """A change of where things are.

    Attributes:
        draws: int, numbers in [0, 1) that an example needs.
        matrices: callable (draws float32 (b, draws), height, width as float32 scalars) -> float32 (b, 3, 3), which take
            the place (x, y, 1) in pixels of the result to the place in the image where its value is found.
        stays_inside: bool, whether every such place lies in the image, and rows stay rows.
    """

    draws: int
    matrices: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    stays_inside: bool


@dataclasses.dataclass(frozen=True, eq=False)
class PhotometricTransform:
    """A change of values.

    Attributes:
        draws: int, numbers in [0, 1) that an example needs.
        change: callable (images float32 (b, h, w, 3) in [0, 255], draws float32 (b, draws)) -> images of the same kind.
    """

    draws: int
    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Mix:
    """A blend with a partner.

    Attributes:
        draws: int, numbers in [0, 1) that an example needs.
        patches: callable (draws float32 (b, draws)) -> float32 (b, 5): how much of the partner shows, in [0, 1], within
            the rectangle (top, left, height, width) given as shares of the sides.
    """

    draws: int
    patches: Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class TextTransform:
    """A change of texts.

    Attributes:
        change: callable (texts string (b,), seeds int64 (b, 2), stream int) -> texts.
    """

    change: Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]


Change = GeometricTransform | PhotometricTransform | Mix | TextTransform


def check_fraction(name: str, value: float, *, positive: bool = False) -> None:
    """Refuses what is not a number in [0, 1], or in (0, 1] where it must be `positive`."""
    if not _is_number(value) or not 0 <= value <= 1 or (positive and value == 0):
        raise InputError(f"`{name}` must lie in {'(' if positive else '['}0, 1]. Received: {value!r}.")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Refuses what is not a finite number in [low, high]."""
    if not _is_number(value) or not low <= value <= high or value == float("inf"):
        rule = f"be >= {low:g} and finite" if high == float("inf") else f"lie in [{low:g}, {high:g}]"
        raise InputError(f"`{name}` must {rule}. Received: {value!r}.")


def check_count(name: str, value: int) -> None:
    """Refuses what is not a whole number above 0."""
    if not is_whole_number(value) or value < 1:
        raise InputError(f"`{name}` must be a whole number >= 1. Received: {value!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
