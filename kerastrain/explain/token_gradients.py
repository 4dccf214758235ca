"""Values of the words of a text by integrated gradients on the embeddings of its tokens.

Takes a `keras.Model` from texts whose graph shows a tokenizer and an embedding, and texts; returns values of words that add up
to the score. Must not draw, and must not change the model.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.explain.flattening import final_activation, without_activation
from kerastrain.explain.text_explanation import (
    Completeness,
    TextExplanation,
    WordValue,
    check_texts,
    class_indices,
    task,
    text_at,
)
from kerastrain.explain.token_words import TokenWords, is_known, token_words
from kerastrain.hub.layer import HubLayer
from kerastrain.keras_internals.graph import is_transparent, run_through_graph
from kerastrain.keras_internals.tensor_masks import get_mask, set_mask
from kerastrain.layers.encoder import EncoderEmbedding
from kerastrain.layers.ngrams import TfIdfPooling

_FEWEST_STEPS, _GROWTH = 8, 4
_TOKENS_AT_ONCE = 4096  # of all points of a path: attention needs memory for each pair of tokens of a text
_MOST_AT_ONCE = 64
_RELATIVE, _ABSOLUTE = 0.01, 0.005


def integrated_gradients(
    model: keras.Model,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    classes: Sequence[int] | int | None = None,
    *,
    numbers: np.ndarray | None = None,
    most_steps: int = 128,
) -> list[TextExplanation]:
    """The words of texts that speak for and against a class: their parts of its score.

        value(token) = (e − e₀) · ∫₀¹ ∂score(e₀ + α (e − e₀)) / ∂e dα

    for the embedding e of each token and a baseline e₀: of a pretrained encoder the embedding of padding, with the start and
    the end token as they are; of other networks zeros. The score is the log-odds of the class, and of a regression model the
    number. The values of all tokens add up to the score of the text less that of the baseline (completeness), which the
    explanation says. The integral is taken by Gauss and Legendre at 8 points, then at 32 and at 128, until the values add up
    within 1 %. The value of a word is the sum of its tokens; two words of a pair of words have half of its value each. A word
    is what white space separates; in scripts without spaces, a character, or the characters that a token joins.

    Args:
        model: keras.Model from strings (batch,), or pairs of strings (batch, 2), to logits, probabilities or numbers, for which
            `unsuitable` returns None: networks of embeddings with or without attention, and pretrained encoders.
        texts: sequence of str, or of pairs of str.
        classes: as for `occlusion`.
        numbers: as for `occlusion`.
        most_steps: int >= 8, the largest number of points.

    Returns:
        list of TextExplanation, one for each text, with `completeness`. A word that the network does not read, because the
        text is longer than its sequence, has the value 0.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: `texts`, `classes` or `most_steps` do not fit the model, or the model shows no embeddings.

    Example:
        >>> [one] = kt.explain.integrated_gradients(model, ["a fine film"])  # doctest: +SKIP
        >>> sum(word.value for word in one.words), one.completeness.difference  # doctest: +SKIP

    Reference: Sundararajan, Taly and Yan 2017, https://arxiv.org/abs/1703.01365, eq. 1.
    """
    check_texts(model, texts, numbers)
    if most_steps < _FEWEST_STEPS:
        raise InputError(f"`most_steps` must be at least {_FEWEST_STEPS}. Received: {most_steps}. The default is 128.")
    if reason := unsuitable(model):
        raise InputError(f"integrated gradients need embeddings of tokens. Received: {reason}. Use occlusion.")
    network = _Network(model)
    if classes is not None:
        outputs = model.output_shape[-1]
        is_binary = outputs == 1 and network.task == "single_label"
        classes = class_indices(classes, len(texts), 2 if is_binary else outputs)
    numbers = None if numbers is None else np.asarray(numbers, "float32")
    return [
        _explained(
            network,
            tuple(text) if isinstance(text, list) else text,
            None if classes is None else int(classes[row]),
            None if numbers is None else numbers[row : row + 1],
            most_steps,
        )
        for row, text in enumerate(texts)
    ]


def unsuitable(model: keras.Model) -> str | None:
    """Why the words of a model's texts cannot be explained by integrated gradients.

    Args:
        model: keras.Model from texts.

    Returns:
        str, such as "a TF Hub module, whose embeddings are hidden inside it"; None if they can be explained.
    """
    layers = list(_visible(model))
    if any(isinstance(layer, HubLayer) for layer in layers):
        return "a TF Hub module, whose embeddings are hidden inside it"
    if not is_transparent(model):
        return "a model of a class of its own, whose layers are not visible"
    if not any(is_known(layer) for layer in layers):
        return "a model without a layer that turns texts into token ids"
    if not any(isinstance(layer, keras.layers.Embedding | EncoderEmbedding) for layer in layers):
        return "a model without embeddings of tokens"
    network = _Network(model)
    text = "a" if len(model.inputs[0].shape) == 1 else ("a", "a")
    numbers = np.zeros((1, model.inputs[1].shape[-1]), "float32") if len(model.inputs) > 1 else None
    return None if network.run(text, numbers).readings else "a model whose embeddings do not read its tokens directly"


def reads_ngrams(model: keras.Model) -> bool:
    """Whether a model reads a text as n-grams that are weighted by each other.

    Args:
        model: keras.Model.

    Returns:
        bool.
    """
    return any(isinstance(layer, TfIdfPooling) for layer in _visible(model))


def _visible(layer: keras.Layer) -> Iterator[keras.Layer]:
    yield layer
    if is_transparent(layer):
        for inner in layer.layers:
            yield from _visible(inner)


@dataclass
class _Reading:
    """One use of an embedding: a text of the input, its token ids, and their vectors at both ends of the path."""

    place: int
    words: TokenWords
    baseline: tf.Tensor
    vectors: tf.Tensor


@dataclass
class _Pass:
    """What a run of the network recorded."""

    logits: tf.Tensor | None = None
    readings: list[_Reading] = field(default_factory=list)


class _Network:
    """A model whose embeddings can be replaced by other vectors while it runs."""

    def __init__(self, model: keras.Model):
        self.model, self.task = model, task(model)
        activation = final_activation(model)
        self._final = None if activation is None else (activation, without_activation(activation))

    def run(self, text, numbers, points: Sequence[tf.Tensor] | None = None) -> _Pass:
        """Runs the model on a text, or at points of the path, one tensor (points, tokens, width) for each embedding."""
        count = 1 if points is None else int(points[0].shape[0])
        strings = tf.constant([text] * count)
        numbers = None if numbers is None else tf.repeat(tf.constant(numbers), count, 0)
        result, ids = _Pass(), []
        remaining = iter(points or ())

        def call(operation, *args, **kwargs):
            kwargs.pop("training", None)
            if is_transparent(operation):
                return replay(operation, *args)
            if isinstance(operation, keras.layers.Layer) and is_known(operation):
                # All rows hold the same text.
                values = tf.repeat(operation(args[0][:1]), count, 0)
                ids.append((values, operation, args[0][0].numpy().decode()))
                return values
            read = next((entry for entry in ids if entry[0] is args[0]), None) if args else None
            if read is not None and isinstance(operation, keras.layers.Embedding | EncoderEmbedding):
                return embedded(operation, *read)
            if self._final is not None and operation is self._final[0]:
                return self._final[1](*args, **kwargs)
            return operation(*args, **kwargs)

        def replay(layer, *inputs):
            if isinstance(layer, keras.Sequential):
                (tensor,) = inputs
                for inner in layer.layers:
                    tensor = call(inner, tensor)
                return tensor
            return run_through_graph(layer, inputs if len(inputs) > 1 else inputs[0], call)

        def embedded(layer, values, tokenizer, string):
            is_encoder = isinstance(layer, EncoderEmbedding)
            own = layer.tokens(values[:1]) if is_encoder else layer(values[:1])
            mask = None if is_encoder else get_mask(own)
            if points is None:
                taken = {reading.place for reading in result.readings}
                places = range(1 if isinstance(text, str) else 2)
                place = next((p for p in places if text_at(text, p) == string and p not in taken), 0)
                result.readings.append(_reading(layer, tokenizer, string, place, values[:1], own))
            else:
                own = tf.cast(next(remaining), own.dtype)
                if mask is not None:
                    set_mask(own, tf.repeat(mask, count, 0))
            return layer.from_tokens(own, training=False) if is_encoder else own

        result.logits = tf.cast(replay(self.model, *((strings,) if numbers is None else (strings, numbers))), "float32")
        return result

    def score(self, logits: tf.Tensor, index: int) -> tf.Tensor:
        """The log-odds of a class, or a number: float32 (points,)."""
        if self.task == "single_label" and logits.shape[1] == 1:
            return logits[:, 0] if index else -logits[:, 0]
        if self.task == "single_label":
            others = [place for place in range(logits.shape[1]) if place != index]
            return logits[:, index] - tf.reduce_logsumexp(tf.gather(logits, others, axis=1), 1)
        return logits[:, index]

    def predicted(self, logits: tf.Tensor) -> int:
        """The predicted class, or the first number."""
        if self.task == "regression":
            return 0
        return (
            int(logits[0, 0] > 0) if logits.shape[1] == 1 and self.task == "single_label" else int(tf.argmax(logits[0]))
        )


def _reading(layer, tokenizer, string: str, place: int, ids: tf.Tensor, vectors: tf.Tensor) -> _Reading:
    words = token_words(tokenizer, string)
    vectors = tf.cast(vectors, "float32")
    stays = np.ones(vectors.shape[1], bool)  # Special tokens and padding are the same at both ends of the path.
    stays[: len(words.tokens)] = [not owners for owners in words.tokens[: vectors.shape[1]]]
    if isinstance(layer, EncoderEmbedding):
        pad = tf.cast(layer.tokens(tf.fill(ids.shape, tf.cast(tokenizer.tokens.pad, ids.dtype))), "float32")
    else:
        pad = tf.zeros_like(vectors)
    return _Reading(place, words, tf.where(stays[None, :, None], vectors, pad), vectors)


def _explained(network: _Network, text, index: int | None, numbers, most_steps: int) -> TextExplanation:
    first = network.run(text, numbers)
    readings = first.readings
    index = network.predicted(first.logits) if index is None else index
    score = float(network.score(first.logits, index)[0])
    nothing = network.run(text, numbers, [reading.baseline for reading in readings])
    difference = score - float(network.score(nothing.logits, index)[0])
    steps = _FEWEST_STEPS
    while True:
        values = _token_values(network, text, numbers, index, readings, steps)
        total = float(sum(tokens.sum() for tokens in values))
        reached = abs(total - difference) <= max(_RELATIVE * abs(difference), _ABSOLUTE)
        if reached or _GROWTH * steps > most_steps:
            break
        steps *= _GROWTH
    baseline = "padding" if any(isinstance(layer, EncoderEmbedding) for layer in _visible(network.model)) else "zeros"
    words = [word for reading, tokens in zip(readings, values, strict=True) for word in _words(text, reading, tokens)]
    words.sort(key=lambda word: (word.place, word.start))
    completeness = Completeness(difference, total, steps, baseline, reached)
    return TextExplanation(text, index, score, tuple(words), method="integrated_gradients", completeness=completeness)


def _token_values(network: _Network, text, numbers, index: int, readings, steps: int) -> list[np.ndarray]:
    """The value of each token of each reading, float64 (tokens,)."""
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    nodes, weights = (nodes + 1) / 2, weights / 2
    at_once = max(1, min(_MOST_AT_ONCE, _TOKENS_AT_ONCE // max(1, *(reading.vectors.shape[1] for reading in readings))))
    sums = [np.zeros(reading.vectors.shape[1]) for reading in readings]
    for start in range(0, steps, at_once):
        share = tf.constant(nodes[start : start + at_once], "float32")[:, None, None]
        points = [reading.baseline + share * (reading.vectors - reading.baseline) for reading in readings]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(points)
            scores = network.score(network.run(text, numbers, points).logits, index)
        # Each score depends on its own point only, so the gradient of the sum holds them all.
        gradients = tape.gradient(scores, points, unconnected_gradients="zero")
        for place, (gradient, reading) in enumerate(zip(gradients, readings, strict=True)):
            parts = np.asarray(tf.reduce_sum(gradient * (reading.vectors - reading.baseline), -1), np.float64)
            sums[place] += weights[start : start + at_once] @ parts
    return sums


def _words(text, reading: _Reading, values: np.ndarray) -> list[WordValue]:
    totals = np.zeros(len(reading.words.spans))
    for value, owners in zip(values, reading.words.tokens, strict=False):
        for owner in owners:
            totals[owner] += value / len(owners)
    one = text_at(text, reading.place)
    return [
        WordValue(one[start:end], start, end, float(value), reading.place)
        for (start, end), value in zip(reading.words.spans, totals, strict=True)
    ]
