"""The scores of texts, by which their words are explained, and whether the answer depends on the words that it should.

Takes a `keras.Model` and texts; returns log-odds or numbers. Must not change the model.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.explain.flattening import final_activation
from kerastrain.explain.text_explanation import TextExplanation, task, without

_SHARE = 0.2  # of the words


@dataclass(frozen=True)
class Deletion:
    """The answer to a text without the words that speak most for it, and to these words alone.

    Of an explanation that is true to the model, the first is small (comprehensiveness) and the second is not (sufficiency).

    Args:
        words: int >= 0, the number of these words: a fifth of all, and at least one, of those with a positive value.
        whole: float, the probability of the class, or the number, for the text.
        without: float, for the text without these words.
        only: float, for these words alone.

    Reference: DeYoung et al. 2020, https://arxiv.org/abs/1911.03429, section 4.2.
    """

    words: int
    whole: float
    without: float
    only: float


def text_scores(
    model: keras.Model, texts: Sequence, numbers: np.ndarray | None = None, batch_size: int = 64
) -> np.ndarray:
    """The score of every class for each text: its log-odds, or of a regression model the number.

    Args:
        model: keras.Model from strings to logits, probabilities or numbers.
        texts: sequence of n str, or of n pairs of str.
        numbers: float32 (n, k), the numbers beside the texts, or None.
        batch_size: int > 0, texts per batch.

    Returns:
        float64 (n, classes); a model with one logit has the classes 0 and 1.
    """
    strings = tf.constant(list(texts))
    inputs = strings if numbers is None else (strings, tf.constant(numbers))
    outputs = np.float64(keras.ops.convert_to_numpy(model.predict(inputs, batch_size=batch_size, verbose=0)))
    kind = task(model)
    if kind == "regression":
        return outputs
    activation = final_activation(model)
    if outputs.shape[1] == 1 and kind == "single_label":
        logits = _logit(outputs) if activation else outputs
        return np.concatenate([-logits, logits], axis=1)
    if activation:
        return _logit(outputs)
    if kind == "multi_label":
        return outputs
    others = [np.delete(outputs, index, axis=1) for index in range(outputs.shape[1])]
    return np.stack([outputs[:, index] - np.logaddexp.reduce(rest, 1) for index, rest in enumerate(others)], 1)


def predicted_indices(model: keras.Model, scores: np.ndarray) -> np.ndarray:
    """The class of each text that is explained unless another is asked for.

    Args:
        model: keras.Model.
        scores: float (n, classes), as from `text_scores`.

    Returns:
        int (n,), the class with the largest score; of a regression model 0.
    """
    return scores.argmax(axis=1) if task(model) != "regression" else np.zeros(len(scores), int)


def _logit(probabilities: np.ndarray) -> np.ndarray:
    # A float32 next to 0 or 1, so that no value is infinite.
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def deletion(
    model: keras.Model, explanations: Sequence[TextExplanation], *, numbers: np.ndarray | None = None
) -> list[Deletion]:
    """Asks the model without the words that speak most for each answer, and with these words alone.

    Args:
        model: keras.Model that was explained.
        explanations: sequence of TextExplanation, from any method.
        numbers: float32 (n, k), the numbers beside the texts, for a model that reads them.

    Returns:
        list of Deletion, one for each explanation.

    Example:
        >>> kt.explain.deletion(model, kt.explain.occlusion(model, ["a fine film"]))  # doctest: +SKIP
    """
    variants, counts = [], []
    for one in explanations:
        ranked = sorted(range(len(one.words)), key=lambda index: -one.words[index].value)
        most = max(1, math.ceil(_SHARE * len(one.words)))
        best = {index for index in ranked[:most] if one.words[index].value > 0}
        counts.append(len(best))
        variants += [one.text, _left(one, best), _left(one, set(range(len(one.words))) - best)]
    if not variants:
        return []
    rows = None if numbers is None else np.repeat(np.asarray(numbers, "float32"), 3, axis=0)
    table = text_scores(model, variants, rows)
    indices = np.repeat([one.index for one in explanations], 3)
    answers = table[np.arange(len(variants)), indices]
    if task(model) != "regression":
        answers = 1 / (1 + np.exp(-answers))
    return [
        Deletion(count, *(float(answer) for answer in three))
        for count, three in zip(counts, answers.reshape(-1, 3), strict=True)
    ]


def _left(one: TextExplanation, removed: set[int]) -> str | tuple[str, ...]:
    text = one.text
    for index in sorted(removed, key=lambda index: -one.words[index].start):
        word = one.words[index]
        text = without(text, (word.place, word.start, word.end))
    return text
