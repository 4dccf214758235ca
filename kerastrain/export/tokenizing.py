"""Token ids for an exported file of a model of texts, made as the file describes.

Takes a file and texts; returns ids. Must not need the model that the file was made from.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.errors import InputError
from kerastrain.export import encoder_models, metadata, onnx_files
from kerastrain.export.tokens import token_ids


def tokenize(path: str | os.PathLike, texts: Sequence[str]) -> np.ndarray:
    """Makes the token ids that a file of `tflite` or `onnx` takes, as the file describes.

    Args:
        path: the .tflite or .onnx file.
        texts: sequence of n str.

    Returns:
        int32 (n, length), the file's input.

    Raises:
        FileNotFoundError: the file does not exist.
        InputError: the file does not take texts.
        MissingExtra: the file is of a pretrained encoder, and its library `tokenizers` or `sentencepiece` is not installed.

    Example:
        >>> ids = tokenize("model_float32.tflite", ["a moving story"])  # doctest: +SKIP
    """
    content = Path(path).read_bytes()
    packed = onnx_files.properties(path) if Path(path).suffix == ".onnx" else metadata.packed_files(content)
    if metadata.TOKENS_FILE not in packed:
        raise InputError(f"'{os.fspath(path)}' has no vocabulary: it is not a TFLite or ONNX file of a model of texts.")
    if encoder_models.is_described(packed):
        return encoder_models.token_ids(texts, packed)
    vocabulary = packed[metadata.VOCABULARY_FILE].split("\n")[:-1]
    return token_ids(texts, json.loads(packed[metadata.TOKENS_FILE]), vocabulary)
