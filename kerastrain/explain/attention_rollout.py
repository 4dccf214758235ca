"""Heatmaps of vision transformers: how attention leads from the patches of an image to the score.

Takes a model whose patches become tokens by `MapsToTokens` and whose attention layers return their scores; returns raw
heatmaps of the patches. Must not scale, enlarge or draw.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.explain.feature_maps import is_attention
from kerastrain.explain.flattening import Step, flattened
from kerastrain.explain.image_inputs import ClassScores
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers.tokens import MapsToTokens, PoolTokens


class NoRollout(InputError):
    """The attention of a model cannot be reached.

    Args:
        reason: str, half a sentence that says why.
        model: str, the model's name.
    """

    def __init__(self, reason: str, model: str):
        self.reason = reason
        super().__init__(
            f"the attention of {model!r} cannot be followed: {reason}. Use occlusion (`--method occlusion`)."
        )


class Rollout:
    """Attention rollout weighted by gradients, prepared for a model.

        A_l = mean over heads of relu(d score / d attention_l * attention_l)
        R = I;  R = R + A_l R for each layer
        heatmap = sum of the rows of R - I of the tokens that are pooled, at the tokens of the patches

    Args:
        model: keras.Model.
        image_shape: tuple of int, height, width and channels.

    Raises:
        NoRollout: it has no such attention, or its tokens are not known to be patches of the image.

    Reference: Chefer, Gur and Wolf 2021, https://arxiv.org/abs/2103.15679, eq. 5 and 6; without the gradients it is that of
        Abnar and Zuidema 2020, https://arxiv.org/abs/2005.00928, which is the same for all classes.
    """

    def __init__(self, model: keras.Model, image_shape: tuple[int, int, int]):
        flat = flattened(model, image_shape, cut=False, with_attention=True)
        steps = [step for step in flat.layers if isinstance(step, Step)]
        tokens = next((step for step in steps if isinstance(step.of.operation, MapsToTokens)), None)
        if not flat.notes.attention:
            raise NoRollout("none of its layers returns scores of attention", model.name)
        if tokens is None:
            raise NoRollout("its tokens are not known to be patches of the image (no layer `MapsToTokens`)", model.name)
        self.rows, self.columns = tokens.input.shape[1:3]
        self.prefix = tokens.of.operation.prefix
        count = self.prefix + self.rows * self.columns
        if any(scores.shape[-2:] != (count, count) for _, scores in flat.notes.attention):
            raise NoRollout(f"a layer does not attend among all of its {count} tokens", model.name)
        if len(flat.notes.attention) != sum(map(is_attention, every_layer(model))):
            raise NoRollout("some of its attention is inside other layers", model.name)
        pool = next((step.of.operation for step in steps if isinstance(step.of.operation, PoolTokens)), None)
        self.pooling = "mean" if pool is None else pool.pooling
        self.scores = ClassScores(model, flat)
        self.model = keras.Model(flat.inputs, [flat.outputs[0], *(scores for _, scores in flat.notes.attention)])

    def __call__(self, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Raw heatmaps float32 (n, rows, columns) >= 0 of float32 images for int classes (n,)."""
        with tf.GradientTape() as tape:
            images = tf.constant(images)
            tape.watch(images)
            outputs, *attention = self.model([images], training=False)
            score = tf.reduce_sum(self.scores.of(outputs, indices))
        gradients = tape.gradient(score, attention, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        count = self.prefix + self.rows * self.columns
        rollout = np.broadcast_to(np.eye(count, dtype="float32"), (len(images), count, count))
        for shares, gradient in zip(attention, gradients, strict=True):
            weights = np.maximum(np.float32(tf.cast(shares, "float32")) * np.float32(tf.cast(gradient, "float32")), 0)
            rollout = rollout + weights.mean(axis=1) @ rollout
        rollout = (rollout - np.eye(count, dtype="float32"))[:, :, self.prefix :]
        pooled = {"first": slice(0, 1), "first_two": slice(0, 2), "mean": slice(self.prefix, None)}
        rows = pooled.get(self.pooling, slice(None))
        return rollout[:, rows].sum(axis=1).reshape(-1, self.rows, self.columns)
