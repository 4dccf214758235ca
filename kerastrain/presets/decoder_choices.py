"""Which parts of a language model a setting means, before the model is built.

Takes names and settings; returns names. Must not import TensorFlow.
"""

import re
from collections.abc import Sequence

from kerastrain.errors import InputError
from kerastrain.presets.decoders import DecoderNetwork, names


def kernels(network: DecoderNetwork) -> list[str]:
    """The paths of the kernels of a network's blocks, to which low-rank pairs can be added.

    Args:
        network: DecoderNetwork.

    Returns:
        list of str, such as "block_0/query/kernel".
    """
    return [path for path in names(network) if path.endswith("/kernel")]


def layers(network: DecoderNetwork) -> list[str]:
    """The names of the layers of a network that can end a block of rematerialization.

    Args:
        network: DecoderNetwork.

    Returns:
        list of str, such as "block_0".
    """
    return ["embedding", *(f"block_{index}" for index in range(len(network.blocks))), "norm"]


def matching(known: Sequence[str], expressions: Sequence[str] | None, *, name: str = "layers") -> list[str]:
    """The paths in which one of some regular expressions is found.

    Args:
        known: sequence of str, paths of kernels.
        expressions: sequence of str; None for all paths.
        name: str, the argument or key, for messages.

    Returns:
        list of str, in the order of `known`.

    Raises:
        InputError: an expression is invalid, or is found in no path.
    """
    if expressions is None:
        return list(known)
    found = set()
    for text in expressions:
        try:
            matches = {path for path in known if re.search(text, path)}
        except re.error as error:
            raise InputError(f"`{name}` must hold regular expressions. Received: {text!r} ({error}).") from None
        if not matches:
            layers = dict.fromkeys(path.split("/")[1] for path in known)
            raise InputError(
                f"`{name}` must be found in paths of kernels such as {known[0]!r}. Received: {text!r}, which is in none. A "
                f"block has {', '.join(layers)}."
            )
        found |= matches
    return [path for path in known if path in found]


def check_last(last: int | None, block_count: int) -> None:
    """Checks how many of the last blocks shall train.

    Args:
        last: int; None for the whole model.
        block_count: int >= 1, the blocks of the model.

    Raises:
        InputError: it is not in [1, block_count].
    """
    if last is not None and not 1 <= last <= block_count:
        raise InputError(
            f"`fine_tune.last` must lie in [1, {block_count}], the blocks of the model. Received: {last}. Leave it out to train "
            "all."
        )
