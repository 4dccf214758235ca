"""Text from a language model, token by token: the likeliest token or a drawn one, with a cache of keys and values.

Takes a `keras.Model` from `decoders.build` and token ids; returns token ids. Must not know of texts or conversations.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number
from kerastrain.language.sampling import chosen, sampling_options
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
        self._layers, self._model, self._traced = _Layers(model), model, {}

    @property
    def positions(self) -> int | None:
        """The number of tokens that the model was made for."""
        return self._layers.positions

    def check(self, prompt: Sequence[int]) -> None:
        """Raises an error if a prompt cannot be continued.

        Args:
            prompt: sequence of int, the ids of a text.

        Raises:
            InputError: it is empty, leaves no position, or holds an id that is not in the vocabulary.
        """
        _limits(_checked_prompts(self._layers, [prompt]), 1, self.positions)

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
        options = sampling_options(len(rows), temperature, top_k, top_p, seed)
        limits = _limits(rows, max_new_tokens, self.positions)
        ids, lengths = _padded(rows)
        new = self._function("whole")(ids, lengths, np.array(limits, "int32"), *options, _stops(stops)).numpy()
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
        options = sampling_options(1, temperature, top_k, top_p, seed)
        limit = _limits(rows, max_new_tokens, self.positions)[0]
        return self._stream(rows[0], limit, options, set(_stops(stops).tolist()))

    def _function(self, name: str):
        # What was traced still uses the variables that there were, and the adapters that were on.
        flags = (pair.is_on for block in self._layers.blocks for pair in block.pairs.values())
        key = (name, *map(id, self._model.variables), *flags)
        if key not in self._traced:
            numbers, number = tf.TensorSpec((None,), tf.int32), tf.TensorSpec((), tf.int32)
            function, signature = {
                "whole": (self.whole, WHOLE_SIGNATURE),
                "first": (self._layers.first, (WHOLE_SIGNATURE[0], numbers, number)),
                "next": (self._layers.next, (numbers, numbers, self._layers.cache_spec)),
                "chosen": (chosen, (tf.TensorSpec((None, None)), number, *WHOLE_SIGNATURE[3:-1])),
            }[name]
            # A concrete function, because TensorFlow takes the functions of several models for one that is traced again.
            # Without autograph, which would take a quarter of the time, because no branch depends on the value of a tensor.
            traced = tf.function(function, input_signature=signature, autograph=False)
            self._traced[key] = traced.get_concrete_function()
        return self._traced[key]

    def _stream(self, prompt, limit, options, stops):
        ids, lengths = _padded([prompt])
        first, following, choose = map(self._function, ("first", "next", "chosen"))
        logits, cache = first(tf.constant(ids), tf.constant(lengths), tf.constant(len(prompt) + limit))
        for step in range(limit):
            token = choose(logits, tf.constant(step), *map(tf.constant, options))
            yield int(token[0])
            if step + 1 == limit or int(token[0]) in stops:
                return
            logits, cache = following(token, tf.constant(lengths + step), cache)

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
            is_here = (tf.range(count) == step)[None] & ~is_done[:, None]
            written = tf.where(is_here, token[:, None], written)
            is_done |= tf.reduce_any(token[:, None] == stops[None], axis=1) | (step + 1 >= limits)
            # The last token is not read by another; a branch spares its computation.
            logits, cache = tf.cond(
                tf.reduce_all(is_done),
                lambda: (logits, cache),
                lambda: self._layers.next(token, lengths + step, cache),
            )
            return step + 1, logits, is_done, written, cache

        written = tf.fill((tf.shape(ids)[0], count), NO_TOKEN)
        state = (0, logits, limits < 1, written, cache)
        return tf.while_loop(lambda step, logits, is_done, *_: ~tf.reduce_all(is_done), write, state)[3]


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


class _Layers:
    """A model's layers, called for some of a text's tokens, with the keys and values of those before them."""

    def __init__(self, model: keras.Model):
        named = {layer.name: layer for layer in model.layers}
        self.blocks = [layer for layer in model.layers if isinstance(layer, DecoderBlock)]
        if not self.blocks or not {"embedding", "norm", "logits"} <= named.keys():
            raise InputError(
                f"`model` must be a language model of kerastrain. Received: {model.name!r}, whose layers are others. Make it "
                "with `language.decoders.load`."
            )
        self.embedding, self.norm, self.cast = (named[name] for name in ("embedding", "norm", "logits"))
        self.scale = named.get("embedding_scale", lambda values: values)
        places = [layer for layer in model.layers if isinstance(layer, TokenPositions)]
        self.positions = places[0].limit if places else None

    @property
    def cache_spec(self) -> list[list[tf.TensorSpec]]:
        """The shapes and types of the cache."""
        sizes = [
            (block.settings["num_kv_heads"], block.settings["head_size"], block.compute_dtype) for block in self.blocks
        ]
        return [[tf.TensorSpec((None, heads, None, size), dtype)] * 2 for heads, size, dtype in sizes]

    def first(self, ids, lengths, slots):
        """The logits of the first new token, and the cache: keys and values (b, heads, slots, size) of each block."""
        count = tf.shape(ids)[1]
        places, values, cache = tf.range(count)[None], self._embedded(ids), []
        is_before = places[:, :, None] >= places[:, None, :]
        places = tf.broadcast_to(places, tf.shape(ids))
        for block in self.blocks:
            query, key, value = block.projected(values, places)
            values = block.mixed(values, query, key, value, is_before & block.in_window(places, places))
            cache.append([tf.pad(each, ((0, 0), (0, 0), (0, slots - count), (0, 0))) for each in (key, value)])
        return self._logits(tf.gather(values, lengths - 1, axis=1, batch_dims=1)), cache

    def next(self, ids, places, cache):
        """The logits after one more token of each text, at its place, and the cache with that token."""
        values, places, written = self._embedded(ids[:, None]), places[:, None], []
        slots = tf.range(tf.shape(cache[0][0])[2])[None]
        for block, (keys, numbers) in zip(self.blocks, cache, strict=True):
            query, key, value = block.projected(values, places)
            keys, numbers = _put(keys, key, places), _put(numbers, value, places)
            # Slots after a text's own place are still to be written, or hold what followed a short prompt.
            is_read = (slots <= places)[:, None] & block.in_window(places, slots)
            values = block.mixed(values, query, keys, numbers, is_read)
            written.append([keys, numbers])
        return self._logits(values[:, 0]), written

    def _embedded(self, ids):
        return self.scale(self.embedding(ids))

    def _logits(self, values):
        return self.cast(self.embedding(self.norm(values), reverse=True))


def _put(cache, new, places):
    """Writes (b, heads, 1, size) into the cache (b, heads, slots, size) at the place of each text (b, 1)."""
    batch, heads = tf.shape(cache)[0], tf.shape(cache)[1]
    grid = tf.meshgrid(tf.range(batch), tf.range(heads), indexing="ij")
    indices = tf.stack([*grid, tf.broadcast_to(places, (batch, heads))], axis=-1)
    return tf.tensor_scatter_nd_update(cache, indices, new[:, :, 0])


def _checked_prompts(layers: _Layers, prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    size = layers.embedding.input_dim
    rows = [[int(token) for token in prompt] for prompt in prompts]
    if not rows:
        raise InputError("`prompts` must hold at least one text. Received: none.")
    for number, row in enumerate(rows):
        if not row:
            raise InputError(f"each prompt must have at least one token. Received: none in prompt {number}.")
        wrong = [token for token in row if not 0 <= token < size]
        if wrong:
            raise InputError(
                f"the ids of prompt {number} must lie in [0, {size}), the model's vocabulary. Received: {wrong[0]}. Use the "
                "tokenizer of this model."
            )
    return rows


def _limits(rows: Sequence[Sequence[int]], max_new_tokens: int, positions: int | None) -> list[int]:
    if not is_whole_number(max_new_tokens) or max_new_tokens < 1:
        raise InputError(f"`max_new_tokens` must be a whole number above 0. Received: {max_new_tokens!r}.")
    longest = max(map(len, rows))
    if positions is not None and longest >= positions:
        raise InputError(
            f"a prompt must be shorter than the {positions:,} tokens that the model was made for. Received: {longest:,} tokens. "
            "Shorten it."
        )
    return [max_new_tokens if positions is None else min(max_new_tokens, positions - len(row)) for row in rows]


def _stops(stops: Sequence[int]) -> np.ndarray:
    return np.array([int(token) for token in stops], "int32").reshape(-1)


def _padded(rows: Sequence[Sequence[int]]) -> tuple[np.ndarray, np.ndarray]:
    """The rows as an array, each followed by zeros, and their lengths."""
    lengths = np.array([len(row) for row in rows], "int32")
    ids = np.zeros((len(rows), lengths.max()), "int32")
    for target, row in zip(ids, rows, strict=True):
        target[: len(row)] = row
    return ids, lengths
