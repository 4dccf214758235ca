"""Heatmaps from the feature maps of convolutional networks: Grad-CAM, Grad-CAM++, Layer-CAM and Score-CAM.

Takes a flat model and the step of its feature maps; returns raw heatmaps of the cells of the maps. tf-keras-vis computes them.
Must not scale, enlarge or draw.
"""

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.explain.flattening import Step
from kerastrain.explain.image_inputs import ClassScores
from kerastrain.system import isolated_imports

MOST_CHANNELS = 64
"""The channels of largest variation that Score-CAM uses of maps with more, as "Faster Score-CAM" does."""

_PLAIN = {
    "penultimate_layer": None,
    "seek_penultimate_conv_layer": False,
    "expand_cam": False,
    "normalize_cam": False,
}


def gradcam(scores: ClassScores, maps: Step, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Grad-CAM: the maps weighted by the mean of their gradients.

    Args:
        scores: ClassScores.
        maps: Step of the flat model.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.

    Returns:
        float32 (n, rows, columns), negative where the maps speak against the class.
    """
    # In half precision the mean and the sum over the maps would round.
    options = {"activation_modifier": None, "gradient_modifier": lambda gradients: tf.cast(gradients, "float32")}
    return _by_gradients("gradcam", "Gradcam", scores, maps, images, scores.for_vis(indices), **options)


def layercam(scores: ClassScores, maps: Step, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Layer-CAM: the maps weighted by their positive gradients at each position.

    Args:
        scores: ClassScores.
        maps: Step of the flat model.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.

    Returns:
        float32 (n, rows, columns) >= 0.
    """
    return _by_gradients(
        "layercam", "Layercam", scores, maps, images, scores.for_vis(indices), gradient_modifier=tf.nn.relu
    )


def gradcam_plus_plus(scores: ClassScores, maps: Step, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Grad-CAM++: the maps weighted by their positive gradients, more where few positions have them.

    Args:
        scores: ClassScores.
        maps: Step of the flat model.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.

    Returns:
        float32 (n, rows, columns) >= 0.
    """

    def score(outputs):
        values = scores.of(outputs, indices)
        # tf-keras-vis takes exp(score), of which the heatmap is a multiple, and which overflows for large logits.
        return values - tf.stop_gradient(values)

    return _by_gradients("gradcam_plus_plus", "GradcamPlusPlus", scores, maps, images, score)


def scorecam(scores: ClassScores, maps: Step, images: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """Score-CAM: the maps weighted by the probability of the class where only they show the image.

    Args:
        scores: ClassScores.
        maps: Step of the flat model.
        images: float32 (n, height, width, channels).
        indices: int array (n,), the classes.

    Returns:
        float32 (n, rows, columns) >= 0.

    Raises:
        InputError: the model is of regression, which has no probabilities.
    """
    if scores.is_regression:
        raise InputError(
            "Score-CAM weights maps by probabilities, which a regression model does not have. Use gradcam or occlusion."
        )
    most = min(MOST_CHANNELS, maps.output.shape[-1])
    vis = isolated_imports.tf_keras_vis()
    heatmaps, models = [], {}
    for image, index in zip(images, indices.tolist(), strict=True):
        # One image at a time: tf-keras-vis keeps a copy of each image for each channel.
        key = "softmax" if scores.outputs > 1 and scores.is_single_label else index if scores.outputs > 1 else 0
        if key not in models:
            models[key] = _with_probabilities(scores, key)
        chosen = index if key == "softmax" or scores.is_binary else 1
        explainer = vis.scorecam.Scorecam(models[key])
        options = {**_PLAIN, "penultimate_layer": maps}
        score = vis.utils.scores.CategoricalScore([chosen])
        heatmaps.append(np.asarray(explainer(score, image[None], **options, max_N=most))[0])
    return np.stack(heatmaps)


def _by_gradients(module, kind, scores, maps, images, score, **options) -> np.ndarray:
    model, inputs, layer = _from_maps(scores.flat, maps, images)
    explainer = getattr(getattr(isolated_imports.tf_keras_vis(), module), kind)(model)
    heatmaps = explainer(
        score,
        inputs,
        **{**_PLAIN, "penultimate_layer": layer},
        **options,
        unconnected_gradients=tf.UnconnectedGradients.ZERO,
    )
    return np.asarray(heatmaps, "float32")


def _from_maps(flat: keras.Model, maps: Step, images: np.ndarray) -> tuple[keras.Model, np.ndarray, keras.Layer]:
    """The part of a flat model after its maps, and the maps of images: no gradient is needed before them.

    The flat model itself and the images, if its outputs depend on more than the maps.
    """
    try:
        after = keras.Model(maps.output, flat.outputs)
    except ValueError:
        return flat, images, maps
    before = keras.Model(flat.inputs, maps.output)
    return after, np.asarray(before([images], training=False)), after.layers[0]


def _with_probabilities(scores: ClassScores, key: object) -> keras.Model:
    """A model whose outputs become the probabilities of the task by a softmax, which is all that tf-keras-vis applies."""
    flat = scores.flat
    if key == "softmax":
        model = keras.Model(flat.inputs, flat.outputs)
    else:
        # The softmax of (0, logit) is the sigmoid of the logit.
        pair = Step(lambda values: tf.stack([tf.zeros_like(values[:, key]), values[:, key]], axis=1), "probabilities")
        model = keras.Model(flat.inputs, [pair(flat.outputs[0])])
    predict = model.predict
    # tf-keras-vis would print a progress bar.
    model.predict = lambda inputs, batch_size: predict(inputs, batch_size=batch_size, verbose=0)
    return model
