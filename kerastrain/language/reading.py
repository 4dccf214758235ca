"""Reads conversations or texts as token sequences, for a script that trains with `model.fit`.

Takes a path and a `Pretrained`; returns `Sequences`.
"""

import logging
from pathlib import Path

from kerastrain.data import Columns
from kerastrain.language import conversations, corpus, sequences, token_texts
from kerastrain.language.batches import Sequences
from kerastrain.language.corpus import Kind
from kerastrain.language.opening import Pretrained

logger = logging.getLogger("kerastrain")


def examples(
    path: str | Path,
    source: Pretrained,
    *,
    kind: Kind = "chat",
    columns: Columns | None = None,
    learn: token_texts.Learn = "answers",
    sequence_length: int | None = None,
    packing: bool = False,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
) -> dict[str, Sequences]:
    """Reads examples and splits them; how they are read is logged.

    Args:
        path: str or path, as for `conversations.read`.
        source: Pretrained, whose tokenizer and chat template make the tokens.
        kind: "chat" for conversations, "language" for texts.
        columns: Columns; None finds them by their usual names.
        learn: "answers" or "all", which tokens of conversations are learned.
        sequence_length: int >= 2, tokens of a sequence; None for one that cuts one conversation of a hundred.
        packing: bool, whether a training sequence holds several examples, none of which sees another.
        validation_fraction: float in [0, 1).
        test_fraction: float in [0, 1).
        seed: int, for the split and the packing.

    Returns:
        dict from "train", "validation" and "test", those that exist, to Sequences.

    Raises:
        InputError: the data cannot be read, or are too few to be split.
        FileNotFoundError: the path does not exist.
    """
    whole = conversations.read(path, kind=kind, columns=columns)
    fractions = {"validation_fraction": validation_fraction, "test_fraction": test_fraction}
    items = corpus.divide(whole, **fractions, seed=seed)
    for line in corpus.describe(whole, items):
        logger.info("%s", line)
    texts = {name: token_texts.tokenized(part, source.tokens, learn=learn) for name, part in items.items()}
    length = sequences.chosen_length(texts["train"], source.network.positions, sequence_length)
    parts = {}
    for name, part in texts.items():
        fitted = sequences.fitted(part, length)
        if packing and name == "train":
            arrays = sequences.packed(fitted, length, source.tokens.pad, seed=seed)
        else:
            arrays = sequences.padded(fitted, length, source.tokens.pad)
        parts[name] = Sequences(*arrays)
        if name == "train":
            for line in sequences.lines(fitted, arrays, part):
                logger.info("%s", line)
    return parts
