"""Opens a pretrained language model with its tokenizer.

Takes a handle; returns a `Pretrained`. Must not know of data.
"""

import logging
import os
from dataclasses import dataclass

import keras

from kerastrain import presets
from kerastrain.language import decoders, templates
from kerastrain.presets import decoders as networks
from kerastrain.presets import language_tokenizers
from kerastrain.tokenization.language_tokens import LanguageTokens

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True, eq=False)
class Pretrained:
    """A pretrained language model.

    Args:
        model: keras.Model from token ids to logits, see `decoders.build`.
        tokens: LanguageTokens, its tokenizer and chat template.
        preset: Preset, what its files say of it.
        network: DecoderNetwork, the sizes of its layers.
    """

    model: keras.Model
    tokens: LanguageTokens
    preset: presets.Preset
    network: networks.DecoderNetwork


def load(handle: str | os.PathLike, *, chat_template: str | None = None) -> Pretrained:
    """Loads a pretrained language model in the precision of Keras's global policy.

    Args:
        handle: str or path as in `model.backbone`: a folder of Hugging Face, "hf:OWNER/NAME" or "kerashub:NAME".
        chat_template: str, a file with a chat template in Jinja, or the template; None for the tokenizer's own, if it has one.

    Returns:
        Pretrained.

    Raises:
        InputError: the files are of no language model, or are incomplete.
        MissingExtra: the extra `language` is not installed.
        FileNotFoundError: the folder does not exist.
        ConnectionError: the model must be downloaded and the server does not answer.

    Example:
        >>> source = load("SmolLM2-135M-Instruct")  # doctest: +SKIP
        >>> source.model.count_params()  # doctest: +SKIP
        134515008
    """
    presets.require_language()
    preset = presets.fetch(presets.read(handle, kind="language"))
    network, tokens = networks.network(preset), language_tokenizers.read(preset)
    language_tokenizers.check_fits(preset, tokens, network.vocabulary_size)
    if chat_template is not None:
        tokens = templates.chosen(tokens, chat_template)
    logger.info("loading the model of %s", handle)
    return Pretrained(decoders.load(preset, network), tokens, preset, network)
