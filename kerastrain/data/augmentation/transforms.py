"""The kinds of transforms that an augmentation consists of, and checks of their arguments.

Takes functions of a batch and of random numbers in [0, 1), returns frozen records. A transform draws nothing: its result
depends only on the example and on the numbers that it receives.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number


@dataclasses.dataclass(frozen=True, eq=False)
class GeometricTransform:
    """A transform of positions.

    Attributes:
        num_draws: int >= 1, random numbers per example.
        matrices: callable (draws float32 (b, num_draws) in [0, 1), height and width as float32 scalars in pixels) ->
            float32 (b, 3, 3), which map the position (x, y, 1) in pixels of the result to the position in the image from
            which its value is read.
        stays_inside: bool, whether all these positions are inside the image, and rows remain rows.
    """

    num_draws: int
    matrices: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
    stays_inside: bool


@dataclasses.dataclass(frozen=True, eq=False)
class PhotometricTransform:
    """A transform of pixel values.

    Attributes:
        num_draws: int >= 1, random numbers per example.
        change: callable (images float32 (b, h, w, 3) in [0, 255], draws float32 (b, num_draws) in [0, 1)) -> images of
            the same shape and range.
    """

    num_draws: int
    change: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Mix:
    """A blend of each example with a partner.

    Attributes:
        num_draws: int >= 1, random numbers per example.
        patches: callable (draws float32 (b, num_draws) in [0, 1)) -> float32 (b, 5) in [0, 1]: the weight of the partner,
            and the rectangle (top, left, height, width) in which it is visible, as fractions of the sides.
    """

    num_draws: int
    patches: Callable[[tf.Tensor], tf.Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class TextTransform:
    """A transform of texts.

    Attributes:
        change: callable (texts string (b,), seeds int64 (b, 2), stream int) -> texts string (b,); see `philox.words`.
    """

    change: Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]


Transform = GeometricTransform | PhotometricTransform | Mix | TextTransform


def check_fraction(name: str, value: float, *, positive: bool = False) -> None:
    """Checks that an argument is a fraction.

    Args:
        name: str, the argument in the message, such as "flip.probability".
        value: float in [0, 1], the value to check.
        positive: bool, whether 0 is invalid.

    Raises:
        InputError: `value` is not a number or outside the range.
    """
    if not _is_number(value) or not 0 <= value <= 1 or (positive and value == 0):
        raise InputError(f"`{name}` must lie in {'(' if positive else '['}0, 1]. Received: {value!r}.")


def check_range(name: str, value: float, low: float, high: float = float("inf")) -> None:
    """Checks that an argument is a finite number in a range.

    Args:
        name: str, the argument in the message, such as "rotation.degrees".
        value: float in [low, high], the value to check.
        low: float, the smallest valid value.
        high: float, the largest valid value; infinity for no limit.

    Raises:
        InputError: `value` is not a finite number or outside the range.
    """
    if not _is_number(value) or not low <= value <= high or value == float("inf"):
        rule = f"be >= {low:g} and finite" if high == float("inf") else f"lie in [{low:g}, {high:g}]"
        raise InputError(f"`{name}` must {rule}. Received: {value!r}.")


def check_count(name: str, value: int) -> None:
    """Checks that an argument is a positive integer.

    Args:
        name: str, the argument in the message, such as "randaugment.count".
        value: int >= 1, the value to check.

    Raises:
        InputError: `value` is not an int, is a bool, or is less than 1.
    """
    if not is_whole_number(value) or value < 1:
        raise InputError(f"`{name}` must be a whole number >= 1. Received: {value!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
