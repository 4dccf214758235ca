"""Proposes small network architectures that can learn from a large network.

Takes a teacher; returns options for the model builders. Must not train, and must not download weights.
"""

import dataclasses
import math

import keras
import numpy as np

from kerastrain.backbones import keras_applications
from kerastrain.errors import InputError
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers.ngrams import SplitIntoNgrams
from kerastrain.layers.text import StandardizedText

_NETWORKS = ("MobileNet", "MobileNetV2")
_SMALLEST_WIDTH = 0.05
_SMALLEST_EMBEDDING = 4
_EMBEDDING = 32
_SMALLEST_VOCABULARY = 100


@dataclasses.dataclass(frozen=True)
class Proposal:
    """The architecture of a student, with random weights.

    Attributes:
        backbone: str, a handle "keras:NAME".
        options: dict, further arguments of `backbones.load` for images, of `text_classifier` for texts.
        parameters: int >= 1, parameters of the whole model with as many outputs as the teacher has.
    """

    backbone: str
    options: dict
    parameters: int


def propose_students(teacher: keras.Model, *, fraction: float = 0.25) -> tuple[Proposal, ...]:
    """Proposes networks with at most `fraction` of the teacher's parameters, the largest first.

    For images these are narrow MobileNets, for texts embeddings with fewer dimensions or a smaller vocabulary. Build the
    student, unfreeze it with its batch norm, and pass it to `distill`.

    Args:
        teacher: keras.Model, built, from images (b, h, w, 3) or strings (b,) to outputs (b, n).
        fraction: float in (0, 1), of the teacher's parameters.

    Returns:
        tuple of Proposal, at least one.

    Raises:
        InputError: `fraction` is out of range, the inputs are neither images nor strings, or no known network is small
            enough.

    Example:
        >>> proposal = propose_students(teacher)[0]  # doctest: +SKIP
        >>> student = models.image_classifier(
        ...     backbones.load(proposal.backbone, **proposal.options), labels=labels)  # doctest: +SKIP
        >>> models.unfreeze(student, batch_norm=True)  # doctest: +SKIP

    Reference: Howard et al. 2017, https://arxiv.org/abs/1704.04861, section 3.3 (the width multiplier).
    """
    if not 0 < fraction < 1:
        raise InputError(f"`fraction` must lie in (0, 1). Received: {fraction!r}. Give a share such as 0.25.")
    budget = int(fraction * teacher.count_params())
    source, outputs = teacher.inputs[0], teacher.outputs[0].shape[-1]
    if source.dtype == "string":
        proposals = _text_students(teacher, budget, outputs)
    elif len(source.shape) == 4 and source.shape[-1] == 3:
        proposals = [_image_student(name, budget, outputs, source.shape[1:3]) for name in _NETWORKS]
    else:
        raise InputError(
            f"`teacher` must take images (b, h, w, 3) or strings (b,). Received: {source.dtype} {tuple(source.shape)}. "
            "Build a student yourself."
        )
    proposals = sorted(filter(None, proposals), key=lambda proposal: -proposal.parameters)
    if not proposals:
        raise InputError(
            f"`fraction` must leave enough for a network. Received: {fraction:g}, {budget} parameters. Give a larger "
            "fraction, or build a student yourself."
        )
    return tuple(proposals)


def _image_student(name: str, budget: int, outputs: int, size: tuple[int | None, int | None]) -> Proposal | None:
    options = {"weights": "random"}
    if None not in size:
        options["image_size"] = keras_applications.image_size(name, size)

    def parameters(alpha: float) -> int:
        network = getattr(keras.applications, name)(
            include_top=False, weights=None, alpha=alpha, pooling="avg", input_shape=(96, 96, 3)
        )
        return network.count_params() + (network.output_shape[-1] + 1) * outputs

    # The number of parameters is nearly quadratic in the width, so three widths determine the curve.
    widths = (0.25, 0.5, 1.0)
    curve = np.polynomial.Polynomial.fit(widths, [parameters(alpha) for alpha in widths], 2) - budget
    roots = [float(root.real) for root in curve.roots() if abs(root.imag) < 1e-9 and root.real > 0]
    alpha = min(math.floor(100 * max(roots, default=0.0)) / 100, 1.0)
    while alpha >= _SMALLEST_WIDTH:
        if (count := parameters(alpha)) <= budget:
            return Proposal(f"keras:{name}", {"alpha": alpha, **options}, count)
        alpha = round(alpha - 0.01, 2)
    return None


def _text_students(teacher: keras.Model, budget: int, outputs: int) -> list[Proposal]:
    layers = [layer for layer in every_layer(teacher) if isinstance(layer, keras.layers.TextVectorization)]
    words = layers[0].vocabulary_size() if layers else 30_000
    reading = _reading(layers[0]) if layers else {}
    sizes = [(words, (budget - outputs) // (words + outputs)), (budget // _EMBEDDING - 2 * outputs, _EMBEDDING)]
    return [
        Proposal(
            "keras:embedding",
            {"vocabulary_size": vocabulary, "embedding_dim": dimensions, **reading},
            vocabulary * dimensions + (dimensions + 1) * outputs,
        )
        for vocabulary, dimensions in sizes
        if vocabulary >= _SMALLEST_VOCABULARY and dimensions >= _SMALLEST_EMBEDDING
    ]


def _reading(layer: keras.layers.TextVectorization) -> dict[str, object]:
    """How a teacher reads a text, as options of `text_classifier`, where the student would read otherwise."""
    settings = layer.get_config()
    standardize, split = settings["standardize"], "whitespace"
    if isinstance(standardize, StandardizedText):
        split = standardize.rules.split
    elif isinstance(settings["split"], SplitIntoNgrams):
        split = settings["split"].tokens.rules.split
    options = {} if split == "whitespace" else {"tokenizer": "characters" if split == "character" else "subwords"}
    if settings["ngrams"] and settings["output_sequence_length"]:  # As long, in words and pairs, as the student's.
        options["sequence_length"] = settings["output_sequence_length"]
    return options
