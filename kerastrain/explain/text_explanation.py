"""What the explanations of texts share: their records, the words of a text, and the output that is explained.

Takes models, texts and classes; returns records, places of words and indices. Must not run a model.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np

from kerastrain.errors import InputError
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
        value: float, their part of the score: positive if they speak for the class, negative if they speak against it.
        place: int, 1 for the second text of a pair, else 0.
    """

    text: str
    start: int
    end: int
    value: float
    place: int = 0


@dataclass(frozen=True)
class Completeness:
    """Whether the values of words add up to what they should: the score less the score of the baseline.

    Args:
        difference: float, the score of the text less that of the baseline.
        total: float, the sum of the values.
        steps: int >= 1, the points between baseline and text at which gradients were taken.
        baseline: str, what stood in the place of every token.
        reached: bool, whether `total` is within 1 % of `difference`, or within 0.005 of a small one.
    """

    difference: float
    total: float
    steps: int
    baseline: str
    reached: bool


@dataclass(frozen=True)
class TextExplanation:
    """Which words of a text speak for and against a class.

    Args:
        text: str; for a pair of texts, tuple of two str.
        index: int >= 0, the class or number that is explained.
        score: float, the log-odds of the class, ln(p / (1 − p)); for a regression model the number.
        words: tuple of WordValue, in the order of the text.
        words_at_once: int >= 1, the number of adjacent words that have one value.
        method: "occlusion" or "integrated_gradients".
        completeness: Completeness of integrated gradients; None for occlusion, whose values do not add up.
    """

    text: str | tuple[str, str]
    index: int
    score: float
    words: tuple[WordValue, ...]
    words_at_once: int = 1
    method: str = "occlusion"
    completeness: Completeness | None = None


def check_texts(model: keras.Model, texts: Sequence, numbers: np.ndarray | None) -> None:
    """Checks that a model takes these texts, and the numbers beside them.

    Args:
        model: keras.Model.
        texts: sequence of str, or of pairs of str.
        numbers: float array (n, k), or None.

    Raises:
        TypeError: `model` is not a keras.Model.
        InputError: it does not take texts, or not these texts or numbers, or has several outputs.
    """
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


def _is_pair(text: object) -> bool:
    return isinstance(text, tuple | list) and len(text) == 2 and all(isinstance(one, str) for one in text)


def text_at(text: str | Sequence[str], place: int) -> str:
    """A text, or one of a pair.

    Args:
        text: str, or pair of str.
        place: int, 1 for the second text of a pair, else 0.

    Returns:
        str.
    """
    return text if isinstance(text, str) else text[place]


def word_spans(text: str) -> list[tuple[int, int]]:
    """Starts and ends of the words of a text: what white space separates; in scripts without spaces, characters.

    Args:
        text: str.

    Returns:
        list of (start, end). A mark such as an accent belongs to the character before it.

    Example:
        >>> word_spans("so good")
        [(0, 2), (3, 7)]
    """
    spans = []
    for match in _WORDS.finditer(text):
        start, end = match.span()
        if spans and spans[-1][1] == start and unicodedata.category(text[start])[0] == "M":
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def without(text: str | Sequence[str], part: tuple[int, int, int]) -> str | tuple[str, ...]:
    """A text without a part.

    Args:
        text: str, or pair of str.
        part: tuple of the place of the text in a pair, the start and the end of the part.

    Returns:
        str, or tuple of two str.
    """
    place, start, end = part
    one = text_at(text, place)
    left, right = one[:start], one[end:]
    # Not two spaces in a row, which some tokenizers count.
    rest = (left + right.lstrip() if not left or left[-1].isspace() else left + right).rstrip()
    return rest if isinstance(text, str) else (*text[:place], rest, *text[place + 1 :])


def task(model: keras.Model) -> str:
    """The task of a model: that of its `Labels` layer, else "single_label".

    Args:
        model: keras.Model.

    Returns:
        str.
    """
    return next((layer.task for layer in model.layers if isinstance(layer, Labels)), "single_label")


def class_indices(classes: Sequence[int] | int, count: int, outputs: int) -> np.ndarray:
    """The class of each text.

    Args:
        classes: int for all texts, or one int for each.
        count: int >= 1, the number of texts.
        outputs: int >= 1, the number of classes.

    Returns:
        int array (count,).

    Raises:
        InputError: their number does not fit, or one is no class of the model.
    """
    indices = np.broadcast_to(classes, (count,)) if np.ndim(classes) == 0 else np.asarray(classes)
    if indices.shape != (count,) or indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= outputs:
        raise InputError(
            f"`classes` must be one int, or one for each of {count} texts, from 0 to {outputs - 1}. Received: {classes}. "
            "Look the index up in the model's labels."
        )
    return indices
