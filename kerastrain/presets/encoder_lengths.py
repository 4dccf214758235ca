"""How many tokens of a text a pretrained encoder reads, chosen from the data and said.

Takes an encoder and texts; returns numbers and lines of text. Must not import TensorFlow.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from kerastrain.errors import InputError, is_whole_number
from kerastrain.presets import sentence_transformers
from kerastrain.presets.encoders import EncoderNetwork
from kerastrain.presets.preset import Preset
from kerastrain.tokenization import encoder_tokens
from kerastrain.tokenization.encoder_tokens import EncoderTokens

_FEWEST = 3  # the start, one token, the end
_NOTABLE_FRACTION = 0.05
_PROBED = 1000  # texts


def counts(tokens: EncoderTokens, texts: Iterable[str]) -> np.ndarray:
    """How many tokens texts have, with those at their start and end.

    Args:
        tokens: EncoderTokens.
        texts: iterable of n str.

    Returns:
        int array (n,).
    """
    return np.array([len(ids) for ids in tokens.ids([str(text) for text in texts])], int)


def chosen(
    preset: Preset, network: EncoderNetwork, counts: Sequence[int] | None, sequence_length: int | None = None
) -> int:
    """The number of tokens that texts are cut to.

    Args:
        preset: Preset, fetched.
        network: EncoderNetwork.
        counts: sequence of int, the tokens of the training texts; None for the longest that the folder's makers used.
        sequence_length: int, the number that the user asks for, or None.

    Returns:
        int.

    Raises:
        InputError: `sequence_length` lies outside [3, the number of the network's places].
    """
    if sequence_length is not None:
        if not is_whole_number(sequence_length) or not _FEWEST <= sequence_length <= network.positions:
            raise InputError(
                f"`sequence_length` must lie in [{_FEWEST}, {network.positions}], because {preset.handle!r} has "
                f"{network.positions} places for tokens. Received: {sequence_length!r}."
            )
        return sequence_length
    most = min(network.positions, sentence_transformers.most_tokens(Path(preset.location)) or network.positions)
    return most if counts is None else encoder_tokens.sequence_length(counts, most)


def lines(tokens: EncoderTokens, texts: Sequence[str], counts: Sequence[int], length: int) -> list[str]:
    """Describes how an encoder reads the training texts.

    Args:
        tokens: EncoderTokens.
        texts: sequence of n str.
        counts: sequence of n int, the tokens of each text.
        length: int, the number of tokens that texts are cut to.

    Returns:
        list of str, lines without line ends.
    """
    cut, median = sum(count > length for count in counts), int(np.median(counts))
    described = [
        f"length: a text has {min(counts):,} to {max(counts):,} tokens of the encoder, half of the texts at most {median:,}; "
        f"model.sequence_length is {length}"
    ]
    if cut:
        texts_are = f"training {'text' if len(counts) == 1 else 'texts'} {'is' if cut == 1 else 'are'}"
        described[0] += f", and {cut:,} of {len(counts):,} {texts_are} cut ({cut / len(counts):.1%})"
    inner = [token for ids in tokens.ids([str(text) for text in texts[:_PROBED]]) for token in ids[1:-1]]
    unknown = sum(token == tokens.unknown for token in inner)
    if unknown > _NOTABLE_FRACTION * len(inner):
        described.append(
            f"unknown: {unknown:,} of {len(inner):,} tokens ({unknown / len(inner):.1%}) are not in the encoder's vocabulary of "
            f"{tokens.size:,}, and say nothing of their text: is it made for this language?"
        )
    return described
