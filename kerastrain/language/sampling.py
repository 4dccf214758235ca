"""Which token a language model writes: the likeliest, or one that is drawn from those that it holds likely.

Takes logits and the settings of each text; returns token ids. Must not call a model.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError, is_whole_number


def chosen(logits, step, temperature, top_k, top_p, seeds):
    """A token for each text: the likeliest, or one that is drawn.

        p = softmax(logits / temperature), of the top_k likeliest, and of these of the fewest that have top_p together

    Args:
        logits: float32 (b, vocabulary).
        step: int32 scalar, the number of tokens written before; with a text's seed it decides what is drawn.
        temperature: float32 (b,), 0 for the likeliest token.
        top_k: int32 (b,), 0 for all tokens.
        top_p: float32 (b,), 1 for all tokens.
        seeds: int32 (b,).

    Returns:
        int32 (b,).

    Reference: Holtzman et al. 2020, https://arxiv.org/abs/1904.09751.
    """
    likeliest = tf.argmax(logits, axis=-1, output_type=tf.int32)

    def drawn():
        scaled = logits / tf.where(temperature > 0, temperature, 1)[:, None]
        values, order = tf.math.top_k(scaled, tf.shape(logits)[1])
        ranks = tf.range(tf.shape(logits)[1])[None]
        is_kept = (top_k[:, None] == 0) | (ranks < top_k[:, None])
        shares = tf.nn.softmax(tf.where(is_kept, values, -np.inf))
        before = tf.cumsum(shares, axis=1, exclusive=True)
        shares = tf.where(before < top_p[:, None], shares, 0)  # The likeliest has 0 before it and is always kept.
        totals = tf.cumsum(shares, axis=1)
        uniform = tf.map_fn(
            lambda seed: tf.random.stateless_uniform((), tf.stack([seed, step])), seeds, fn_output_signature=tf.float32
        )
        # Of the tokens that may be drawn, the first whose total is above the number; rounding must not lead past the last.
        rank = tf.reduce_sum(tf.cast(totals <= (uniform * totals[:, -1])[:, None], tf.int32), axis=1)
        rank = tf.minimum(rank, tf.reduce_sum(tf.cast(shares > 0, tf.int32), axis=1) - 1)
        return tf.where(temperature > 0, tf.gather(order, rank, axis=1, batch_dims=1), likeliest)

    return tf.cond(tf.reduce_any(temperature > 0), drawn, lambda: likeliest)


def sampling_options(
    count: int, temperature: float, top_k: int | None, top_p: float | None, seed: int | Sequence[int]
) -> tuple[np.ndarray, ...]:
    """The last arguments of `chosen` for so many texts.

    Args:
        count: int >= 1.
        temperature: float >= 0.
        top_k: int >= 1, or None for all tokens.
        top_p: float in (0, 1], or None for all tokens.
        seed: int in [0, 2**31), or one for each text.

    Returns:
        tuple of four arrays (count,).

    Raises:
        InputError: one is out of range.
    """
    if not (isinstance(temperature, int | float) and np.isfinite(temperature) and temperature >= 0):
        raise InputError(f"`temperature` must be a number of at least 0. Received: {temperature!r}.")
    if top_k is not None and not (is_whole_number(top_k) and top_k >= 1):
        raise InputError(f"`top_k` must be a whole number above 0, or None for all tokens. Received: {top_k!r}.")
    if top_p is not None and not (isinstance(top_p, int | float) and 0 < top_p <= 1):
        raise InputError(f"`top_p` must lie in (0, 1], or be None for all tokens. Received: {top_p!r}.")
    seeds = list(seed) if isinstance(seed, Sequence | np.ndarray) else [seed] * count
    if len(seeds) != count or not all(is_whole_number(each) and 0 <= each < 2**31 for each in seeds):
        raise InputError(
            f"`seed` must be a whole number in [0, 2**31), or one for each of the {count} prompts. Received: {seed!r}."
        )
    return (
        np.full(count, temperature, "float32"),
        np.full(count, min(top_k or 0, 2**31 - 1), "int32"),
        np.full(count, 1.0 if top_p is None else top_p, "float32"),
        np.array(seeds, "int32"),
    )
