"""The numbers of tokens of texts, by which batches of similar lengths are made.

Takes a model and texts, returns counts. Must not order anything.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers.encoder_text import EncoderTokenizer

_AT_ONCE = 1024


def text_lengths(model: keras.Model, texts: np.ndarray) -> np.ndarray | None:
    """How many tokens a model reads of each text, if it pads a batch only to its longest text.

    Args:
        model: keras.Model.
        texts: array (n,) of str, or (n, 2) for pairs, of which the longer text counts.

    Returns:
        int64 (n,); None if the time of a batch does not depend on its texts, as with a fixed length, or with images.
    """
    tokenizer = next((layer for layer in every_layer(model) if isinstance(layer, EncoderTokenizer)), None)
    if tokenizer is None or tokenizer.fixed_length:
        return None
    flat = np.ravel(texts)
    counts = [
        tokenizer.counts(tf.constant([str(text) for text in flat[start : start + _AT_ONCE]])).numpy()
        for start in range(0, len(flat), _AT_ONCE)
    ]
    return np.concatenate(counts).reshape(len(texts), -1).max(axis=1)
