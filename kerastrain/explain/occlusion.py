"""Values of the words of a text: how the answer of a model changes without each of them.

Takes a `keras.Model` and texts; returns a value for each word, or for each group of adjacent words of a long text. Must not
draw, and must not change the model.
"""

from collections.abc import Sequence

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.explain.text_explanation import (
    TextExplanation,
    WordValue,
    check_texts,
    class_indices,
    text_at,
    without,
    word_spans,
)
from kerastrain.explain.text_scores import predicted_indices, text_scores


def occlusion(
    model: keras.Model,
    texts: Sequence[str] | Sequence[tuple[str, str]],
    classes: Sequence[int] | int | None = None,
    *,
    numbers: np.ndarray | None = None,
    most_variants: int = 100,
    batch_size: int = 64,
) -> list[TextExplanation]:
    """The words of texts that speak for and against a class: what its score loses without each of them.

        value(word) = score(text) − score(text without the word)

    The score is the log-odds of the class, which change where a probability is already near 1, and of a regression model the
    number. It asks the model itself, with any network inside, and needs no gradient. The values of the words of a text do
    not add up to its score: of two words that say the same, each can be missed without a loss, and both have small values.
    A word is what white space separates; in scripts without spaces, a character.

    Args:
        model: keras.Model from strings (batch,), or pairs of strings (batch, 2), to logits, probabilities or numbers.
        texts: sequence of str, or of pairs of str.
        classes: the output to explain, one int for all texts or one for each; None for the predicted class, and of a
            regression model the first number. A model with one logit has the classes 0 and 1.
        numbers: float32 (n, k), the numbers beside the texts, which stay as they are, for a model that reads them.
        most_variants: int >= 1, the most parts of a text whose absence is tried. In a text of more words, adjacent words
            have one value together.
        batch_size: int > 0, texts per batch.

    Returns:
        list of TextExplanation, one for each text.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: `texts`, `classes` or `most_variants` do not fit the model.

    Example:
        >>> for explanation in kt.explain.occlusion(model, ["a fine film"]):  # doctest: +SKIP
        ...     print([(word.text, round(word.value, 2)) for word in explanation.words])

    Reference: Li, Monroe and Jurafsky 2016, https://arxiv.org/abs/1612.08220, eq. 1, with log-odds.
    """
    check_texts(model, texts, numbers)
    if most_variants < 1:
        raise InputError(f"`most_variants` must be at least 1. Received: {most_variants}. The default is 100.")
    is_pair = isinstance(texts[0], tuple | list)
    parts = [_parts(text, most_variants) for text in texts]
    variants, rows = [], []
    for row, (text, (spans, _)) in enumerate(zip(texts, parts, strict=True)):
        variants += [tuple(text) if is_pair else text, *(without(text, span) for span in spans)]
        rows += [row] * (1 + len(spans))
    table = text_scores(model, variants, None if numbers is None else np.asarray(numbers, "float32")[rows], batch_size)
    firsts = np.cumsum([0, *(1 + len(spans) for spans, _ in parts[:-1])])
    chosen = predicted_indices(model, table[firsts]) if classes is None else classes
    indices = class_indices(chosen, len(texts), table.shape[1])
    scores = table[np.arange(len(rows)), indices[rows]]
    explanations = []
    for text, first, index, (spans, at_once) in zip(texts, firsts, indices, parts, strict=True):
        values = scores[first] - scores[first + 1 : first + 1 + len(spans)]
        words = tuple(
            WordValue(text_at(text, place)[start:end], start, end, float(value), place)
            for (place, start, end), value in zip(spans, values, strict=True)
        )
        whole = tuple(text) if is_pair else text
        explanations.append(TextExplanation(whole, int(index), float(scores[first]), words, at_once))
    return explanations


def _parts(text: str | Sequence[str], most: int) -> tuple[list[tuple[int, int, int]], int]:
    """Places, starts and ends of the parts of a text or a pair, and the number of words in one."""
    texts = [text] if isinstance(text, str) else text
    words = [word_spans(one) for one in texts]
    at_once = 1
    while sum(-(-len(spans) // at_once) for spans in words) > max(most, len(texts)):
        at_once += 1
    parts = []
    for place, spans in enumerate(words):
        groups = [spans[first : first + at_once] for first in range(0, len(spans), at_once)]
        parts += [(place, group[0][0], group[-1][1]) for group in groups]
    return parts, at_once
