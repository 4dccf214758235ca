"""SavedModels for TensorFlow Serving, believed only after a fresh process has run them.

Takes a keras.Model and real inputs, gives a folder and a `Parity`. Must not quantize: that is `litert`'s.
"""

import os
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.export import endpoints, fresh_process, parity
from kerastrain.export import samples as sampling
from kerastrain.export.targets import label_lines, labels_of, require_free, sizes, task_of
from kerastrain.system import files

ENCODED = "image_bytes"


def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    image_bytes: bool = True,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as a SavedModel that needs only TensorFlow, and proves it in a fresh process.

    Signatures, each with a free batch size, as TensorFlow Serving's REST `predict` expects them:

    - `serving_default`: the model's own input (images: raw pixels in [0, 255]), one array for each of `instances`;
    - `image_bytes`, for models of RGB images of a fixed size: string (b,), encoded image files, one `{"b64": ...}` for
      each of `instances`; decoded and resized in the graph.

    Labels and the parity record lie in the folder, under `assets.extra/`.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        path: the folder to write.
        samples: real inputs: an array, a `tf.data.Dataset` or examples, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those that travel with the model.
        activation: "softmax" or "sigmoid" to serve probabilities, None to serve the model's outputs.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`.
        sample_count: int > 0, the most samples to compare; None for all.
        image_bytes: bool, whether to add the signature of that name; False for models that do not take raw pixels.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity, over the signatures together.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the model, the samples or an option cannot be used.
        ParityError: the file answers otherwise than `model.predict`; nothing is left at `path`, or what stood there.

    Reference: https://www.tensorflow.org/tfx/serving/api_rest
    """
    endpoints.require_exportable(model, activation)
    path = require_free(path, replace=replace)
    labels = labels_of(model, labels)
    drawn, targets = sampling.draw_with_targets(samples, model, count=sample_count)
    inputs = {"serving_default": drawn}
    if image_bytes and endpoints.takes_encoded_images(model):
        inputs[ENCODED] = _pixels(drawn)
    references = [endpoints.answers(model, values, activation) for values in inputs.values()]
    with files.atomic(path) as temporary:
        write(model, temporary, activation, image_bytes=ENCODED in inputs)
        outputs = fresh_process.answers("saved_model_program", temporary, _as_sent(inputs))
        measured = parity.check(
            np.concatenate(references),
            np.concatenate([outputs[name] for name in inputs]),
            file=path.name,
            kind="float32",
            **sizes(temporary),
            targets=None if targets is None else np.concatenate([targets] * len(inputs)),
            tolerance=tolerance,
            threshold=endpoints.threshold(activation),
            task=task_of(model),
        )
        extra = temporary / "assets.extra"
        measured.save(extra / "parity.json")
        if labels:
            files.write_text(extra / "labels.txt", label_lines(labels))
    return measured


def write(
    model: keras.Model,
    path: str | os.PathLike,
    activation: str | None = None,
    *,
    image_bytes: bool = False,
    batch_size: int | None = None,
    input_shape: tuple[int | None, ...] | None = None,
) -> None:
    """Writes the SavedModel alone, unchecked: `saved_model` and `litert.tflite` are the ways to a file that is proven.

    Args:
        model: keras.Model that `endpoints.require_exportable` let pass.
        path: the folder to write, which does not exist.
        activation: a key of `endpoints.ACTIVATIONS`.
        image_bytes: bool, whether to add the signature for encoded images.
        batch_size: int > 0, or None for a free batch size.
        input_shape: the input's shape without the batch, or None for the model's own.
    """
    shape = model.inputs[0].shape[1:] if input_shape is None else input_shape
    spec = tf.TensorSpec((batch_size, *shape), model.inputs[0].dtype, name=endpoints.input_name(model))
    archive = keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serving_default", endpoints.raw(model, activation), input_signature=[spec])
    if image_bytes:
        spec = tf.TensorSpec((None,), tf.string, name=ENCODED)
        archive.add_endpoint(ENCODED, endpoints.encoded(model, activation), input_signature=[spec])
    archive.write_out(str(path), verbose=False)


def _pixels(images: np.ndarray) -> np.ndarray:
    if images.dtype != np.uint8 and images.max() <= 1:
        raise InputError(
            f"`image_bytes` decodes files to pixels in [0, 255], and `samples` lie in [{images.min():g}, "
            f"{images.max():g}]. Put the rescaling into the model, or export with image_bytes=False."
        )
    return np.clip(np.round(images), 0, 255).astype(images.dtype)


def _as_sent(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The inputs of each signature; images for `image_bytes` as PNG files, which never end in the zeros that NumPy drops."""
    if ENCODED not in inputs:
        return inputs
    encoded = [tf.io.encode_png(image.astype(np.uint8)).numpy() for image in inputs[ENCODED]]
    return {**inputs, ENCODED: np.array(encoded)}
