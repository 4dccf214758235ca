"""Text from a language model, token by token: the likeliest token or a drawn one, with the keys and values of earlier tokens kept.

Takes a `keras.Model` from `decoders.build` and token ids; returns token ids. Must not know of texts or conversations.
"""

import weakref
from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number
from kerastrain.layers.decoder import DecoderBlock, TokenPositions

NO_TOKEN = -1
"""What follows the end of a text where texts of different lengths share an array."""


class Generator:
    """The traced functions that write text with one model; reuse it, because tracing takes seconds.

    Weights that change later are used as they then are.

    Args:
        model: keras.Model from `decoders.build`.

    Raises:
        InputError: the model is no such model.

    Example:
        >>> generator = Generator(model)  # doctest: +SKIP
        >>> generator.ids([[1, 5, 7]], max_new_tokens=3)  # doctest: +SKIP
        [[9, 4, 2]]
    """

    def __init__(self, model: keras.Model):
        self._layers = _Layers(model)
        self._whole = tf.function(self.whole, input_signature=WHOLE_SIGNATURE)
        self._first = tf.function(self._layers.first, reduce_retracing=True)
        self._next = tf.function(self._layers.next, reduce_retracing=True)
        self._chosen = tf.function(chosen, reduce_retracing=True)

    @property
    def positions(self) -> int | None:
        """The number of tokens that the model was made for."""
        return self._layers.positions

    def ids(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int = 256,
        stops: Sequence[int] = (),
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | Sequence[int] = 0,
    ) -> list[list[int]]:
        """Continues texts, all at once.

        What is drawn depends on a text's prompt and seed alone, not on the others.

        Args:
            prompts: sequence of texts, each a sequence of at least one token id; their lengths may differ.
            max_new_tokens: int >= 1, the most tokens to write; fewer where the model's positions end.
            stops: sequence of int, ids at which a text ends.
            temperature: float >= 0, by which logits are divided before a token is drawn; 0 takes the likeliest.
            top_k: int >= 1, draws from so many of the likeliest tokens; None for all.
            top_p: float in (0, 1], draws from the fewest likeliest tokens that have this probability together; None for all.
            seed: int in [0, 2**31), or one for each prompt, such as for several answers to one question.

        Returns:
            list of the new ids of each text; the last is a stop, if one was reached.

        Raises:
            InputError: an argument is out of range, or a prompt is empty, leaves no position, or holds an id that is not in the
                vocabulary.
        """
        rows = _checked_prompts(self._layers, prompts)
        options = _options(len(rows), temperature, top_k, top_p, seed)
        limits = _limits(rows, max_new_tokens, self.positions)
        ids, lengths = _padded(rows)
        new = self._whole(ids, lengths, np.array(limits, "int32"), *options, _stops(stops)).numpy()
        return [[int(token) for token in row if token != NO_TOKEN] for row in new]

    def stream(
        self,
        prompt: Sequence[int],
        *,
        max_new_tokens: int = 256,
        stops: Sequence[int] = (),
        temperature: float = 0.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[int]:
        """Continues a text, and gives each token as soon as it is chosen.

        Args:
            prompt: sequence of int, the ids of the text.
            max_new_tokens: int >= 1, as for `ids`.
            stops: sequence of int, as for `ids`.
            temperature: float >= 0, as for `ids`.
            top_k: int >= 1 or None, as for `ids`.
            top_p: float in (0, 1] or None, as for `ids`.
            seed: int in [0, 2**31), as for `ids`.

        Returns:
            iterator of int, the same ids as `ids` returns.

        Raises:
            InputError: as for `ids`, at once.
        """
        rows = _checked_prompts(self._layers, [prompt])
        options = _options(1, temperature, top_k, top_p, seed)
        limit = _limits(rows, max_new_tokens, self.positions)[0]
        return self._stream(rows[0], limit, options, set(_stops(stops).tolist()))

    def _stream(self, prompt, limit, options, stops):
        ids, lengths = _padded([prompt])
        logits, cache = self._first(tf.constant(ids), tf.constant(lengths), tf.constant(len(prompt) + limit))
        for step in range(limit):
            token = self._chosen(logits, tf.constant(step), *map(tf.constant, options))
            yield int(token[0])
            if step + 1 == limit or int(token[0]) in stops:
                return
            logits, cache = self._next(token, tf.constant(lengths + step), cache)

    def whole(self, ids, lengths, limits, temperature, top_k, top_p, seeds, stops):
        """`ids` as a function of tensors, to be traced.

        Args:
            ids: int32 (b, tokens), the prompts, each followed by any ids.
            lengths: int32 (b,), the lengths of the prompts.
            limits: int32 (b,), the most tokens to write.
            temperature: float32 (b,), 0 for the likeliest token.
            top_k: int32 (b,), 0 for all tokens.
            top_p: float32 (b,), 1 for all tokens.
            seeds: int32 (b,).
            stops: int32 (s,).

        Returns:
            int32 (b, max(limits)), the new ids, and `NO_TOKEN` after the end of each text.
        """
        count = tf.reduce_max(limits)
        logits, cache = self._layers.first(ids, lengths, tf.shape(ids)[1] + count)

        def write(step, logits, is_done, written, cache):
            token = chosen(logits, step, temperature, top_k, top_p, seeds)
            written = written.write(step, tf.where(is_done, NO_TOKEN, token))
            is_done |= tf.reduce_any(token[:, None] == stops[None], axis=1) | (step + 1 >= limits)
            # The last token is not read by another; a branch spares its computation.
            logits, cache = tf.cond(
                tf.reduce_all(is_done),
                lambda: (logits, cache),
                lambda: self._layers.next(token, lengths + step, cache),
            )
            return step + 1, logits, is_done, written, cache

        written = tf.TensorArray(tf.int32, count, element_shape=(None,))
        state = (0, logits, limits < 1, written, cache)
        step, _, _, written, _ = tf.while_loop(lambda step, logits, is_done, *_: ~tf.reduce_all(is_done), write, state)
        # What no step wrote is 0.
        return tf.where(tf.range(count)[None] < step, tf.transpose(written.stack()), NO_TOKEN)


WHOLE_SIGNATURE = (
    tf.TensorSpec((None, None), tf.int32, "token_ids"),
    tf.TensorSpec((None,), tf.int32, "lengths"),
    tf.TensorSpec((None,), tf.int32, "max_new_tokens"),
    tf.TensorSpec((None,), tf.float32, "temperature"),
    tf.TensorSpec((None,), tf.int32, "top_k"),
    tf.TensorSpec((None,), tf.float32, "top_p"),
    tf.TensorSpec((None,), tf.int32, "seed"),
    tf.TensorSpec((None,), tf.int32, "stops"),
)
"""The arguments of `Generator.whole`."""

_generators: "weakref.WeakKeyDictionary[keras.Model, Generator]" = weakref.WeakKeyDictionary()
