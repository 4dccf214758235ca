"""Models with a pretrained text encoder, without their tokenizer, and the files from which any program makes the token ids.

Takes the `EncoderTokenizer` of a model. Word pieces and byte pairs are described by the `tokenizer.json` that the library
`tokenizers` reads in Python, Rust, JavaScript and other languages; SentencePiece by its model file. Must not convert or
write.
"""

import base64
import dataclasses
import json
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.export import metadata
from kerastrain.layers.encoder_text import EncoderTokenizer
from kerastrain.system import optional_imports
from kerastrain.tokenization.encoder_tokens import EncoderTokens

TOKENIZER_FILE = "tokenizer.json"
PIECES_FILE = "sentencepiece.model.base64"
_PURPOSE = {"extra": "kerashub", "to": "read texts as a pretrained encoder does"}
_IN_OTHER_FILES = ("vocabulary", "merges", "proto")


@dataclasses.dataclass(frozen=True)
class EncoderModel:
    """The part of a model with a pretrained text encoder that starts at its token ids.

    Attributes:
        model: keras.Model from int32 token ids (b, length), for pairs of texts (b, 2, length), to the outputs of the whole model;
            shares its layers. The length may vary up to that of the layer.
        layer: EncoderTokenizer, from texts to these ids.
    """

    model: keras.Model
    layer: EncoderTokenizer

    def ids(self, texts: np.ndarray) -> np.ndarray:
        """The token ids of texts, computed by the model's own layer and compared with those that the files describe.

        Args:
            texts: array (n,) of str or UTF-8 bytes; (n, 2) for pairs.

        Returns:
            int32 (n, length); (n, 2, length) for pairs.

        Raises:
            InputError: the two differ.
        """
        if texts.ndim > 1:
            return self.ids(texts.ravel()).reshape(*texts.shape, -1)
        batches = [self.layer(tf.constant(texts[start : start + 1024])) for start in range(0, len(texts), 1024)]
        ids = padded([row for batch in batches for row in np.asarray(batch)], self.length, self.layer.tokens.pad)
        texts = [text.decode() if isinstance(text, bytes) else str(text) for text in texts]
        differing = (ids != token_ids(texts, self.files)).any(axis=1)
        if differing.any():
            raise InputError(
                f"the layer {self.layer.name!r} and the tokenizer that the file would describe read {differing.sum()} of "
                f"{len(texts)} texts differently, such as {texts[int(np.flatnonzero(differing)[0])][:80]!r}, so another "
                "program could not make the token ids. Export a SavedModel."
            )
        return ids

    @property
    def length(self) -> int:
        """The number of token ids of a text."""
        return self.layer.sequence_length

    @property
    def files(self) -> dict[str, str]:
        """The contents of `tokens.json`, and of `tokenizer.json` or `sentencepiece.model.base64`."""
        tokens = self.layer.tokens
        settings = {name: value for name, value in tokens.to_config().items() if name not in _IN_OTHER_FILES}
        if tokens.kind == "sentence_pieces":
            name, content = PIECES_FILE, base64.b64encode(tokens.proto).decode() + "\n"
        else:
            name, content = TOKENIZER_FILE, _tokenizer(tokens, self.length) + "\n"
        description = {"read_by": name, "length": self.length, **settings}
        return {metadata.TOKENS_FILE: json.dumps(description, indent=2) + "\n", name: content}


def is_described(files: Mapping[str, str]) -> bool:
    """Whether files describe the tokenizer of a pretrained encoder.

    Args:
        files: mapping from a file name to its content.

    Returns:
        bool.
    """
    return TOKENIZER_FILE in files or PIECES_FILE in files


def token_ids(texts: Sequence[str], files: Mapping[str, str]) -> np.ndarray:
    """The token ids of texts, as any program that runs an exported file has to make them.

    Args:
        texts: sequence of n str.
        files: mapping from a file name to its content, as `EncoderModel.files`.

    Returns:
        int32 (n, length).

    Raises:
        MissingExtra: the library `tokenizers` or `sentencepiece` is not installed.
    """
    description = json.loads(files[metadata.TOKENS_FILE])
    length = description["length"]
    if TOKENIZER_FILE in files:
        library = optional_imports.need("tokenizers", **_PURPOSE)
        tokenizer = library.Tokenizer.from_str(files[TOKENIZER_FILE])
        texts = [description["prefix"] + text for text in texts]
        return np.array([encoding.ids for encoding in tokenizer.encode_batch(texts)], "int32").reshape(-1, length)
    names = {field.name for field in dataclasses.fields(EncoderTokens)}
    settings = {name: value for name, value in description.items() if name in names}
    tokens = EncoderTokens.from_config(
        {**settings, "vocabulary": (), "merges": (), "proto": files[PIECES_FILE].strip()}
    )
    rows = [[*row[:-1][: length - 1], row[-1]] for row in tokens.ids(texts)]
    return padded(rows, length, tokens.pad)


def padded(rows: Sequence[Sequence[int]], length: int, pad: int) -> np.ndarray:
    """Rows of token ids as one array.

    Args:
        rows: sequence of n sequences of at most `length` int.
        length: int >= 1.
        pad: int, the id after the end of a row.

    Returns:
        int32 (n, length).

    Example:
        >>> padded([[5, 6], [7]], 3, pad=0).tolist()
        [[5, 6, 0], [7, 0, 0]]
    """
    ids = np.full((len(rows), length), pad, "int32")
    for target, row in zip(ids, rows, strict=True):
        target[: len(row)] = row
    return ids


def _tokenizer(tokens: EncoderTokens, length: int) -> str:
    """The `tokenizer.json` that adds the special tokens, cuts and pads."""
    library = optional_imports.need("tokenizers", **_PURPOSE)
    tokenizer = tokens.tokenizer()
    start, end = tokens.vocabulary[tokens.start], tokens.vocabulary[tokens.end]
    tokenizer.post_processor = library.processors.TemplateProcessing(
        single=[start, "$A", end], special_tokens=[(start, tokens.start), (end, tokens.end)]
    )
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(pad_id=tokens.pad, pad_token=tokens.vocabulary[tokens.pad], length=length)
    return tokenizer.to_str()
