"""Describes a pretrained language model by its files, without loading it. Must not import TensorFlow or KerasHub."""

import math
import os

from kerastrain.errors import InputError
from kerastrain.presets import decoders, language_tokenizers
from kerastrain.presets.preset import read


def describe(handle: str | os.PathLike) -> dict | None:
    """The sizes of a language model, and what its tokenizer says.

    Args:
        handle: str or path, as for `preset.read`.

    Returns:
        dict of JSON values: "handle", "kind" ("language model"), "architecture", "parameters", "blocks", "width", "vocabulary",
        "positions" (the most tokens of a sequence), "chat_template" (whether there is one), "ends" (the tokens that end a
        reply), and "facts", sentences about what was assumed. None if the handle is of no language model that is built.

    Raises:
        InputError: it is a language model, and files are missing or damaged.
        MissingExtra: the extra `language` is not installed.
    """
    try:
        read(handle, kind="language", needs_weights=False)
    except InputError:
        return None  # which other descriptions explain
    preset = read(handle, kind="language")
    network, tokens = decoders.network(preset), language_tokenizers.read(preset)
    return {
        "handle": preset.handle,
        "kind": "language model",
        "architecture": preset.architecture,
        "parameters": sum(math.prod(shape) for shape in decoders.shapes(network).values()),
        "blocks": len(network.blocks),
        "width": network.width,
        "vocabulary": network.vocabulary_size,
        "positions": network.positions,
        "chat_template": tokens.template is not None,
        "ends": [tokens.text([stop], special=True) for stop in tokens.stops],
        "facts": list(preset.notes),
    }
