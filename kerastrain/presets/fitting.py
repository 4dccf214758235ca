"""Whether the weights of a folder fit its config.json.

Takes a `Preset` and the tensors that its network has; refuses what differs in one sentence. Must not import TensorFlow.
"""

import math
from collections.abc import Callable, Mapping

from kerastrain.errors import InputError
from kerastrain.presets.preset import Preset


def unsupported(preset: Preset, key: str, value: object, reason: str) -> str:
    """The message about a value in config.json that is not built here.

    Args:
        preset: Preset.
        key: str.
        value: object, what was read.
        reason: str, the rule.

    Returns:
        str.
    """
    return f"config.json of {preset.handle!r} has {key}={value!r}: {reason}."


def missing(preset: Preset, name: str) -> str:
    """The message about a tensor that a network has and the weights do not.

    Args:
        preset: Preset.
        name: str.

    Returns:
        str.
    """
    return f"{preset.handle!r} does not fit its config.json: its weights hold no {name}. Download the folder again."


def check_tensors(preset: Preset, expected: Mapping[str, tuple[int, ...]], is_unused: Callable[[str], bool]) -> None:
    """Checks that a folder has the tensors of a network, and no others.

    Args:
        preset: Preset with its weights.
        expected: mapping from names to shapes; sides of 1 do not count, and a shape of one number counts as a product.
        is_unused: callable from the name of another tensor to bool, whether the network does not need it, as a classifier.

    Raises:
        InputError: a tensor is missing, has another shape, or is of a part that is not built here.
    """
    for name, shape in expected.items():
        found = preset.tensors.get(name)
        if found is None:
            raise InputError(missing(preset, name))
        if math.prod(found) != math.prod(shape) or (len(shape) > 1 and _sides(found) != _sides(shape)):
            raise InputError(
                f"{preset.handle!r} does not fit its config.json: {name} must have the shape {list(shape)}. Received: "
                f"{list(found)}."
            )
    for name in preset.tensors:
        if name not in expected and not is_unused(name):
            raise InputError(
                f"{preset.handle!r} is a variant of {preset.architecture} that is not built here: it also has the tensor {name}."
            )


def _sides(shape: tuple[int, ...]) -> list[int]:
    return [side for side in shape if side != 1]
