"""Text backbones for pairs of texts: from strings (batch, 2) to the features of a pair.

Takes a text backbone; returns one for pairs. Must not know of heads or labels.
"""

from collections.abc import Iterable, Sequence

import keras

from kerastrain.errors import InputError
from kerastrain.layers.text_pairs import ComparePair, SeparateTexts


def paired(backbone: keras.Layer) -> keras.Layer:
    """A backbone for pairs of texts.

    A backbone with a method `paired`, such as an encoder that reads both texts at once, decides by itself. Any other reads
    each text alone, with the same weights, and `ComparePair` compares the two.

    Args:
        backbone: keras.Layer from `text_backbones.load`, strings (batch,) to float (batch, features); or one for pairs.

    Returns:
        keras.Layer named "backbone", strings (batch, 2) to float (batch, features of a pair).

    Raises:
        InputError: the backbone returns no features (batch, n).
    """
    if reads_pairs(backbone):
        return backbone
    if hasattr(backbone, "paired"):
        return backbone.paired()
    pairs = keras.Input((2,), dtype="string", name="pairs")
    features = [backbone(texts) for texts in SeparateTexts(name="separate_texts")(pairs)]
    if not isinstance(features[0], keras.KerasTensor) or len(features[0].shape) != 2:
        shapes = keras.tree.map_structure(lambda tensor: tuple(tensor.shape), features[0])
        raise InputError(f"a backbone for pairs of texts must return features (batch, n). Received: {shapes}.")
    model = keras.Model(pairs, ComparePair(name="compare")(features), name="backbone")
    model.trainable = backbone.trainable
    return model


def reads_pairs(layer: keras.Layer) -> bool:
    """Whether a model or its backbone reads pairs of texts, strings (batch, 2).

    Args:
        layer: keras.Layer or keras.Model.

    Returns:
        bool.
    """
    inputs = getattr(layer, "inputs", None) or ()
    return len(inputs) == 1 and inputs[0].dtype == "string" and tuple(inputs[0].shape[1:]) == (2,)


def require(backbone: keras.Layer, *, pair: bool) -> None:
    """Checks that a backbone of one text is not given to a model of pairs' texts, or the reverse.

    Args:
        backbone: keras.Layer for a model.
        pair: bool, whether the model reads pairs.

    Raises:
        InputError: the backbone reads pairs, and the model single texts.
    """
    if reads_pairs(backbone) and not pair:
        raise InputError(
            "the backbone reads pairs of texts, and the examples are single texts. Set `data.columns.pair` to the column of "
            "the second texts, or take another backbone."
        )


def all_texts(pairs: Iterable[Sequence[str]]) -> list[str]:
    """All texts of pairs, one after the other.

    Args:
        pairs: iterable of n sequences of two str.

    Returns:
        list of 2n str.

    Example:
        >>> all_texts([("a man sleeps", "a man is awake")])
        ['a man sleeps', 'a man is awake']
    """
    return [str(text) for pair in pairs for text in pair]
