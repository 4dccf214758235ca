"""Values of the words of a text: how the answer of a model changes without each of them.

Takes a `keras.Model` and texts; returns a value for each word, or for each group of adjacent words of a long text. Must not
draw, and must not change the model.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.explain.flattening import final_activation
from kerastrain.layers.labels import Labels

_LONGEST_WORD = 60  # characters; longer runs are divided, so that a text without spaces has parts too
# Thai, Lao, Burmese, Khmer, Japanese and Chinese, whose words no spaces separate.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORDS = re.compile(rf"[{_UNSPACED}]|[^\s{_UNSPACED}]{{1,{_LONGEST_WORD}}}")


@dataclass(frozen=True)
class WordValue:
    """What a word, or a group of adjacent words, changes.

    Args:
        text: str, the word or words as they are in the text.
        start: int >= 0, the place of their first character.
        end: int, the place after their last character.
        value: float, the score of the text less the score without them: positive if they speak for the class, negative if
            they speak against it.
        place: int, 1 for the second text of a pair, else 0.
    """

    text: str
    start: int
    end: int
    value: float
    place: int = 0


@dataclass(frozen=True)
class TextExplanation:
    """Which words of a text speak for and against a class.

    Args:
        text: str; for a pair of texts, tuple of two str.
        index: int >= 0, the class or number that is explained.
        score: float, the log-odds of the class, ln(p / (1 − p)); for a regression model the number.
        words: tuple of WordValue, in the order of the text.
        words_at_once: int >= 1, the number of adjacent words that have one value.
    """

    text: str | tuple[str, str]
    index: int
    score: float
    words: tuple[WordValue, ...]
    words_at_once: int = 1


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
    _check(model, texts, numbers, most_variants)
    is_pair = isinstance(texts[0], tuple | list)
    parts = [_parts(text, most_variants) for text in texts]
    variants, rows = [], []
    for row, (text, (spans, _)) in enumerate(zip(texts, parts, strict=True)):
        variants += [tuple(text) if is_pair else text, *(_without(text, span) for span in spans)]
        rows += [row] * (1 + len(spans))
    outputs = _outputs(model, variants, None if numbers is None else np.asarray(numbers, "float32")[rows], batch_size)
    firsts = np.cumsum([0, *(1 + len(spans) for spans, _ in parts[:-1])])
    scores, indices = _scores(model, outputs, firsts, rows, classes)
    explanations = []
    for text, first, index, (spans, at_once) in zip(texts, firsts, indices, parts, strict=True):
        values = scores[first] - scores[first + 1 : first + 1 + len(spans)]
        words = tuple(
            WordValue(_one(text, place)[start:end], start, end, float(value), place)
            for (place, start, end), value in zip(spans, values, strict=True)
        )
        whole = tuple(text) if is_pair else text
        explanations.append(TextExplanation(whole, int(index), float(scores[first]), words, at_once))
    return explanations


def _check(model: keras.Model, texts: Sequence, numbers: np.ndarray | None, most_variants: int) -> None:
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`model` must be a keras.Model. Received: {type(model).__module__}.{type(model).__qualname__}. "
            "Load it with kerastrain.models.load."
        )
    if not model.inputs or model.inputs[0].dtype != "string" or len(model.outputs) != 1:
        inputs = ", ".join(f"{tensor.dtype} {tuple(tensor.shape)}" for tensor in model.inputs or ())
        raise InputError(
            f"`model` must take texts, strings, and have one output. It takes: {inputs or 'unknown inputs'}."
        )
    expected = "pairs of str" if len(model.inputs[0].shape) == 2 else "str"
    fits = _is_pair if expected == "pairs of str" else lambda text: isinstance(text, str)
    if isinstance(texts, str) or not len(texts) or not all(map(fits, texts)):
        raise InputError(f"`texts` must be a sequence of {expected}, at least one. Received: {texts!r:.200}.")
    if (numbers is not None) != (len(model.inputs) > 1) or (numbers is not None and len(numbers) != len(texts)):
        raise InputError(
            f"`numbers` must hold one row for each text if the model reads numbers. The model has {len(model.inputs)} inputs. "
            f"Received: {None if numbers is None else np.shape(numbers)}, for {len(texts)} texts."
        )
    if most_variants < 1:
        raise InputError(f"`most_variants` must be at least 1. Received: {most_variants}. The default is 100.")


def _is_pair(text: object) -> bool:
    return isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(one, str) for one in text)


def _one(text: str | Sequence[str], place: int) -> str:
    return text if isinstance(text, str) else text[place]


def _parts(text: str | Sequence[str], most: int) -> tuple[list[tuple[int, int, int]], int]:
    """Places, starts and ends of the parts of a text or a pair, and the number of words in one."""
    texts = [text] if isinstance(text, str) else text
    words = [_words(one) for one in texts]
    at_once = 1
    while sum(-(-len(spans) // at_once) for spans in words) > max(most, len(texts)):
        at_once += 1
    parts = []
    for place, spans in enumerate(words):
        groups = [spans[first : first + at_once] for first in range(0, len(spans), at_once)]
        parts += [(place, group[0][0], group[-1][1]) for group in groups]
    return parts, at_once


def _words(text: str) -> list[tuple[int, int]]:
    """Starts and ends of the words of a text; a mark such as an accent belongs to the character before it."""
    spans = []
    for match in _WORDS.finditer(text):
        start, end = match.span()
        if spans and spans[-1][1] == start and unicodedata.category(text[start])[0] == "M":
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _without(text: str | Sequence[str], part: tuple[int, int, int]) -> str | tuple[str, ...]:
    place, start, end = part
    one = _one(text, place)
    left, right = one[:start], one[end:]
    # Not two spaces in a row, which some tokenizers count.
    rest = (left + right.lstrip() if not left or left[-1].isspace() else left + right).rstrip()
    return rest if isinstance(text, str) else (*text[:place], rest, *text[place + 1 :])


def _outputs(model: keras.Model, texts: Sequence, numbers: np.ndarray | None, batch_size: int) -> np.ndarray:
    strings = tf.constant(list(texts))
    inputs = strings if numbers is None else (strings, tf.constant(numbers))
    return np.float64(keras.ops.convert_to_numpy(model.predict(inputs, batch_size=batch_size, verbose=0)))


def _scores(
    model, outputs: np.ndarray, firsts: np.ndarray, rows: Sequence[int], classes
) -> tuple[np.ndarray, np.ndarray]:
    """The score of each variant, and the output that each text is explained by."""
    task = next((layer.task for layer in model.layers if isinstance(layer, Labels)), "single_label")
    if task == "regression":
        indices = _indices(0 if classes is None else classes, len(firsts), outputs.shape[1])
        return outputs[np.arange(len(rows)), indices[rows]], indices
    activation = final_activation(model)
    if outputs.shape[1] == 1 and task == "single_label":
        logits = _logit(outputs) if activation else outputs
        table = np.concatenate([-logits, logits], axis=1)
    elif activation:
        table = _logit(outputs)
    elif task == "multi_label":
        table = outputs
    else:
        others = [np.delete(outputs, index, axis=1) for index in range(outputs.shape[1])]
        table = np.stack([outputs[:, index] - np.logaddexp.reduce(rest, 1) for index, rest in enumerate(others)], 1)
    predicted = table[firsts].argmax(axis=1)
    indices = predicted if classes is None else _indices(classes, len(firsts), table.shape[1])
    return table[np.arange(len(rows)), indices[rows]], indices


def _logit(probabilities: np.ndarray) -> np.ndarray:
    # A float32 next to 0 or 1, so that no value is infinite.
    clipped = np.clip(probabilities, 1e-7, 1 - 1e-7)
    return np.log(clipped) - np.log1p(-clipped)


def _indices(classes: Sequence[int] | int, count: int, outputs: int) -> np.ndarray:
    indices = np.broadcast_to(classes, (count,)) if np.ndim(classes) == 0 else np.asarray(classes)
    if indices.shape != (count,) or indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= outputs:
        raise InputError(
            f"`classes` must be one int, or one for each of {count} texts, from 0 to {outputs - 1}. Received: {classes}. "
            "Look the index up in the model's labels."
        )
    return indices
