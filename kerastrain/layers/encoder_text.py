"""Layers around a pretrained text encoder: from strings to token ids, and from a vector for each token to one for a text.

Takes strings (b,), or tensors (b, tokens, d). Must not know of heads or labels.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.layers.encoder_pieces import BytePairs, SentencePieces, WordPieces
from kerastrain.tokenization.encoder_tokens import EncoderTokens

POOLINGS = ("cls", "max", "mean", "mean_sqrt_len")


@keras.saving.register_keras_serializable("kerastrain")
class EncoderTokenizer(keras.layers.Layer):
    """Turns texts into the token ids of a pretrained encoder: strings (b,) to int32 (b, length).

    A text begins with the start token and ends with the end token, also where it is cut. A batch is padded to its longest
    text only, so that an encoder with a mask computes no more. The layer holds the vocabulary.

    Args:
        tokens: EncoderTokens, or its config.
        sequence_length: int >= 3, the largest number of token ids of a text.
        fixed_length: bool, whether every batch is padded to `sequence_length`, for an encoder without a mask.
        **options: `name` of a Keras layer.

    Raises:
        InputError: tensorflow_text is not installed.
    """

    def __init__(
        self, tokens: EncoderTokens | Mapping, sequence_length: int, *, fixed_length: bool = False, **options: object
    ):
        super().__init__(**{**options, "trainable": False, "dtype": "float32"})
        self.tokens = tokens if isinstance(tokens, EncoderTokens) else EncoderTokens.from_config(tokens)
        self.sequence_length, self.fixed_length = sequence_length, fixed_length
        pieces = {"word_pieces": WordPieces, "byte_pairs": BytePairs, "sentence_pieces": SentencePieces}
        self._pieces = pieces[self.tokens.kind](self.tokens, sequence_length)

    def pieces(self, texts: tf.Tensor) -> tf.RaggedTensor:
        """The ids of texts without the special tokens, not cut.

        Args:
            texts: string tensor (b,).

        Returns:
            int32 tf.RaggedTensor (b, None).
        """
        texts = tf.convert_to_tensor(texts)
        if self.tokens.prefix:
            texts = tf.strings.join([self.tokens.prefix, texts])
        return self._pieces(texts)

    def call(self, texts):
        """The ids of strings (b,)."""
        ids = self._cut(texts)
        return ids.to_tensor(self.tokens.pad, shape=[None, self.sequence_length if self.fixed_length else None])

    def counts(self, texts):
        """How many token ids each text has.

        Args:
            texts: string tensor (b,).

        Returns:
            int64 tensor (b,), each at most `sequence_length`.
        """
        return self._cut(texts).row_lengths()

    def _cut(self, texts):
        tokens, length = self.tokens, self.sequence_length
        pieces = self.pieces(texts)[:, : length - tokens.special]
        around = tf.ones_like(pieces[:, :1].nrows(), tf.int32)
        around = tf.fill([pieces.nrows(), 1], around)
        return tf.concat([around * tokens.start, pieces, around * tokens.end], 1)

    def compute_output_spec(self, texts):
        """int32 (b, length)."""
        return keras.KerasTensor((texts.shape[0], self.sequence_length if self.fixed_length else None), "int32")

    def get_config(self):
        """The arguments of the layer, with the vocabulary."""
        return {
            **super().get_config(),
            "tokens": self.tokens.to_config(),
            "sequence_length": self.sequence_length,
            "fixed_length": self.fixed_length,
        }


@keras.saving.register_keras_serializable("kerastrain")
class TokenPooling(keras.layers.Layer):
    """Reduces the vectors of a text's tokens to one: (b, tokens, d) and a mask (b, tokens) to (b, d).

    Args:
        modes: sequence of str out of `POOLINGS`, whose results are put side by side: "cls", the first token; "max", the
            largest value of each entry; "mean"; "mean_sqrt_len", the sum divided by the root of the number of tokens.
        normalize: bool, whether the result is divided by its L2 norm.
        **options: `name` and `dtype` of a Keras layer.
    """

    def __init__(self, modes: Sequence[str], *, normalize: bool = False, **options: object):
        super().__init__(**options)
        self.modes, self.normalize = tuple(modes), normalize

    def call(self, values, mask):
        """The pooled `values` of the tokens where `mask` is above 0."""
        ops = keras.ops
        weights = ops.expand_dims(ops.cast(mask, values.dtype), -1)
        total = ops.sum(values * weights, axis=1)
        count = ops.maximum(ops.sum(weights, axis=1), 1)
        pooled = {
            "cls": lambda: values[:, 0],
            "max": lambda: ops.max(ops.where(weights > 0, values, _lowest(values)), axis=1),
            "mean": lambda: total / count,
            "mean_sqrt_len": lambda: total / ops.sqrt(count),
        }
        result = ops.concatenate([pooled[mode]() for mode in self.modes], axis=-1)
        if self.normalize:
            # In float32, because the squares of a half-precision vector underflow.
            result = ops.normalize(ops.cast(result, "float32"), axis=-1, epsilon=1e-12)
        return ops.cast(result, self.compute_dtype)

    def compute_output_shape(self, values_shape, mask_shape=None):
        """(b, d times the number of modes)."""
        return values_shape[0], values_shape[-1] * len(self.modes)

    def get_config(self):
        """The arguments of the layer."""
        return {**super().get_config(), "modes": list(self.modes), "normalize": self.normalize}


def _lowest(values):
    return keras.ops.cast(np.finfo("float16").min, values.dtype)
