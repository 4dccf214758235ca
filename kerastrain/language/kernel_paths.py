"""The kernels of a language model that can have an adapter, and which of them regular expressions choose.

Takes names; returns paths. Must not import TensorFlow.
"""

import re
from collections.abc import Sequence

from kerastrain.errors import InputError

DENSE = ("query", "key", "value", "attention_output", "gate", "up", "down")
"""The dense layers of a block."""


def paths(blocks: Sequence[str]) -> list[str]:
    """The paths of the kernels of blocks.

    Args:
        blocks: sequence of str, the names of the blocks.

    Returns:
        list of str, such as "block_0/query/kernel".
    """
    return [f"{block}/{name}/kernel" for block in blocks for name in DENSE]


def chosen(known: Sequence[str], expressions: Sequence[str] | None) -> list[str]:
    """The paths in which a regular expression is found.

    Args:
        known: sequence of str, paths.
        expressions: sequence of str; None for all paths.

    Returns:
        list of str, in the order of `known`.

    Raises:
        InputError: an expression is invalid, or found in no path.
    """
    if expressions is None:
        return list(known)
    found = set()
    for text in expressions:
        try:
            matches = {path for path in known if re.search(text, path)}
        except re.error as error:
            raise InputError(f"`layers` must hold regular expressions. Received: {text!r} ({error}).") from None
        if not matches:
            raise InputError(
                f"`layers` must be found in paths of kernels such as {known[0]!r}. Received: {text!r}, which is in none. A block "
                f"has {', '.join(DENSE)}."
            )
        found |= matches
    return [path for path in known if path in found]
