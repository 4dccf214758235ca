"""Which small networks could learn from a large one: architectures of about so many parameters.

Takes a teacher; gives options for the builders. Must not train, and must not fetch weights.
"""

import dataclasses
import math

import keras
import numpy as np

from kerastrain.backbones import keras_applications
from kerastrain.errors import InputError
from kerastrain.keras_internals.layers import every_layer

_NETWORKS = ("MobileNet", "MobileNetV2")
_NARROWEST = 0.05
_NARROWEST_EMBEDDING = 4
_EMBEDDING = 32
_FEWEST_WORDS = 100


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A student of the wanted size, with random weights until it is taught.

    Attributes:
        backbone: str, a handle "keras:NAME".
        options: dict, what else the backbone is made with: of `backbones.load` for images, of `text_classifier` for texts.
        parameters: int, of the whole model with as many outputs as the teacher has.
    """

    backbone: str
    options: dict
    parameters: int


def propose_students(teacher: keras.Model, *, fraction: float = 0.25) -> tuple[Proposal, ...]:
    """Networks with at most `fraction` of the teacher's parameters, the largest first.

    For images narrow MobileNets, for texts embeddings that are narrower or know fewer words.

    Args:
        teacher: keras.Model, built, from images (b, h, w, 3) or strings (b,) to (b, n).
        fraction: float in (0, 1), of the parameters.

    Returns:
        tuple of Proposal, to be built, unfrozen with its batch norm, and given to `distill`.

    Raises:
        InputError: `fraction` is out of range, the inputs are neither, or no known network is so small.

    Example:
        >>> found = propose_students(teacher)[0]  # doctest: +SKIP
        >>> student = models.image_classifier(
        ...     backbones.load(found.backbone, **found.options), labels=labels)  # doctest: +SKIP
        >>> models.unfreeze(student, batch_norm=True)  # doctest: +SKIP

    Reference: Howard et al. 2017, https://arxiv.org/abs/1704.04861, section 3.3 (the width multiplier).
    """
    if not 0 < fraction < 1:
        raise InputError(f"`fraction` must lie in (0, 1). Received: {fraction!r}. Give a share such as 0.25.")
    budget = int(fraction * teacher.count_params())
    source, outputs = teacher.inputs[0], teacher.outputs[0].shape[-1]
    if source.dtype == "string":
        proposals = _of_texts(teacher, budget, outputs)
    elif len(source.shape) == 4 and source.shape[-1] == 3:
        proposals = [_of_images(name, budget, outputs, source.shape[1:3]) for name in _NETWORKS]
    else:
        raise InputError(
            f"`teacher` must take images (b, h, w, 3) or strings (b,). Received: {source.dtype} {tuple(source.shape)}. "
            "Build a student of your own."
        )
    found = sorted(filter(None, proposals), key=lambda proposal: -proposal.parameters)
    if not found:
        raise InputError(
            f"`fraction` must leave enough for a network. Received: {fraction:g}, {budget} parameters. Give a larger one, "
            "or build a student of your own."
        )
    return tuple(found)


def _of_images(name: str, budget: int, outputs: int, size: tuple[int | None, int | None]) -> Proposal | None:
    options = {} if None in size else {"image_size": keras_applications.image_size(name, size)}

    def parameters(alpha: float) -> int:
        network = getattr(keras.applications, name)(
            include_top=False, weights=None, alpha=alpha, pooling="avg", input_shape=(96, 96, 3)
        )
        return network.count_params() + (network.output_shape[-1] + 1) * outputs

    # Channels grow with the width, and parameters nearly with its square: where the budget lies is known from three.
    known = (0.25, 0.5, 1.0)
    curve = np.polynomial.Polynomial.fit(known, [parameters(alpha) for alpha in known], 2) - budget
    roots = [float(root.real) for root in curve.roots() if abs(root.imag) < 1e-9 and root.real > 0]
    alpha = min(math.floor(100 * max(roots, default=0.0)) / 100, 1.0)
    while alpha >= _NARROWEST:
        if (count := parameters(alpha)) <= budget:
            return Proposal(f"keras:{name}", {"alpha": alpha, **options}, count)
        alpha = round(alpha - 0.01, 2)
    return None


def _of_texts(teacher: keras.Model, budget: int, outputs: int) -> list[Proposal]:
    vocabularies = [
        layer.vocabulary_size() for layer in every_layer(teacher) if isinstance(layer, keras.layers.TextVectorization)
    ]
    words = vocabularies[0] if vocabularies else 30_000
    pairs = [(words, (budget - outputs) // (words + outputs)), (budget // _EMBEDDING - 2 * outputs, _EMBEDDING)]
    return [
        Proposal(
            "keras:embedding",
            {"vocabulary_size": vocabulary, "embedding_dim": width},
            vocabulary * width + (width + 1) * outputs,
        )
        for vocabulary, width in pairs
        if vocabulary >= _FEWEST_WORDS and width >= _NARROWEST_EMBEDDING
    ]
