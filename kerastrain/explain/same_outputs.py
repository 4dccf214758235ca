"""Checks that a flat model computes the outputs of the model, so that the right function is explained."""

import keras
import numpy as np

from kerastrain.errors import InputError

_TOLERANCE = 2e-2  # of the largest output: a model may run in half precision


def check_same(model: keras.Model, flat: keras.Model, images: np.ndarray, batch_size: int = 32) -> None:
    """Compares the outputs for some images, where those of the flat model may be logits of those of the model.

    Args:
        model: keras.Model.
        flat: keras.Model from `flattening.flattened`.
        images: float32 (n, height, width, channels).
        batch_size: int > 0.

    Raises:
        InputError: they differ.
    """
    starts = range(0, len(images), batch_size)

    def computed(call) -> np.ndarray:
        # `predict` would give each device of a strategy its part, and there may be fewer images than devices.
        return np.concatenate([np.float64(call(images[start : start + batch_size])) for start in starts])

    outputs = computed(lambda part: model(part, training=False))
    logits = computed(lambda part: flat([part], training=False))
    logits = logits.reshape(outputs.shape)
    candidates = [logits, 1 / (1 + np.exp(-logits)), np.exp(logits - np.logaddexp.reduce(logits, -1, keepdims=True))]
    scale = max(1.0, float(np.abs(outputs).max()))
    if not any(np.allclose(outputs, candidate, atol=_TOLERANCE * scale) for candidate in candidates):
        raise InputError(
            f"the feature maps of {model.name!r} do not lead to its outputs: they differ by "
            f"{np.abs(outputs - logits).max():.3g}. Use occlusion (`--method occlusion`)."
        )
