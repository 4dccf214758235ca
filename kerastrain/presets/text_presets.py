"""A pretrained text encoder with its tokenizer, as far as it can be known before TensorFlow starts.

Takes a handle; returns a `TextPreset`, or refuses it in one sentence. Must not import TensorFlow or KerasHub.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kerastrain.presets import encoder_lengths, encoder_tokenizers, encoders, sentence_transformers
from kerastrain.presets.preset import Preset, fetch, read, require_kerashub
from kerastrain.tokenization.encoder_tokens import EncoderTokens


@dataclass(frozen=True)
class TextPreset:
    """A pretrained text encoder.

    Args:
        preset: Preset.
        network: EncoderNetwork.
        tokens: EncoderTokens; None if they must be downloaded first.
        pooling: Pooling.
    """

    preset: Preset
    network: encoders.EncoderNetwork
    tokens: EncoderTokens | None
    pooling: sentence_transformers.Pooling

    def facts(self) -> list[str]:
        """Describes what was read from the files of the encoder.

        Returns:
            list of str, lines without line ends.
        """
        name = f"{self.preset.architecture} network of {self.network.num_layers} blocks, {self.network.width} wide"
        described = [f"backbone: a {name}; a text's vector is {self.pooling.described}"]
        if self.tokens is not None and self.tokens.prefix:
            described.append(f"prefix: {self.tokens.prefix!r} is put before every text, as the folder says")
        return described

    def lines(self, texts: Sequence[str], sequence_length: int | None) -> list[str]:
        """Describes what the encoder will see of the training texts.

        Args:
            texts: sequence of str.
            sequence_length: int that the user asks for, or None.

        Returns:
            list of str, lines without line ends.

        Raises:
            InputError: the network has fewer places than `sequence_length`.
        """
        if self.tokens is None:
            return self.facts()
        counts = encoder_lengths.counts(self.tokens, texts)
        length = encoder_lengths.chosen(self.preset, self.network, counts, sequence_length)
        return self.facts() + encoder_lengths.lines(self.tokens, texts, counts, length)


def read_text(handle: str | os.PathLike, *, fetched: bool = False) -> TextPreset:
    """Reads a pretrained text encoder.

    Args:
        handle: str or path, as for `presets.read`.
        fetched: bool, whether what must be downloaded is downloaded.

    Returns:
        TextPreset.

    Raises:
        InputError: the files are incomplete, or of a network or tokenizer that is not read here.
        MissingExtra: KerasHub is not installed.
        FileNotFoundError: a folder does not exist.
        ConnectionError: something must be downloaded and the server does not answer.
    """
    preset = read(handle, kind="text")
    preset = fetch(preset) if fetched else preset
    network = encoders.network(preset)
    require_kerashub()  # Its extra brings the libraries of the tokenizers.
    tokens = None
    if preset.is_fetched or preset.origin == "transformers":  # KerasHub's vocabularies come with the weights.
        tokens = encoder_tokenizers.read(preset)
        encoder_tokenizers.check_fits(preset, tokens, network.vocabulary_size)
    return TextPreset(preset, network, tokens, sentence_transformers.pooling(Path(preset.location)))
