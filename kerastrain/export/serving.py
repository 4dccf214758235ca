"""SavedModels for TensorFlow Serving, each checked in a fresh process.

Takes a keras.Model and real inputs; writes a folder and returns a `Parity`. Must not quantize: `litert` does.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import endpoints, parity, saved_model_files, tokens, verified
from kerastrain.export.encoder_models import EncoderModel
from kerastrain.export.serving_process import Answer
from kerastrain.export.shared import Shared
from kerastrain.export.targets import require_target
from kerastrain.system import files

IMAGE_BYTES, TOKENS = "image_bytes", "tokens"

_ENCODED_IMAGES = (
    16  # The network is checked on all samples; these check the decoder, of which encoding is the slow part.
)


def saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    operating_point: OperatingPoint | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    image_bytes: bool = True,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as a SavedModel that needs only TensorFlow, and checks it in a fresh process.

    Signatures, each with a variable batch size, as TensorFlow Serving's REST `predict` expects them:

    - `serving_default`: the model's own input (images: raw pixels in [0, 255]), one array per item of `instances`; for a
      model of pairs of texts the strings `text` and `pair`; for a model that reads numbers too also `numbers`, float32 in the
      order of `assets.extra/numbers.txt` and NaN where one is missing, as in all signatures;
    - `tokens`, for models with a pretrained text encoder: the int32 token ids (b, length) that `assets.extra/tokens.json`
      describes, for programs that make them. TensorFlow Serving has the operations of the tokenizer; Python programs import
      `tensorflow_text` before they load the SavedModel, whichever signature they call;
    - `image_bytes`, for models of RGB images of a fixed size: string (b,), encoded image files, one `{"b64": ...}` per
      item of `instances`; decoded and resized in the graph. It is checked on 16 of the samples, the others on all of them.

    Labels and the parity record are written to `assets.extra/` in the folder.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        path: the folder to write.
        samples: real inputs: an array, a `tf.data.Dataset` or `data.Examples`, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax" or "sigmoid" to return probabilities, None to return the model's outputs.
        operating_point: OperatingPoint whose temperature is in the file if there is an `activation`, and that is stored with
            the file as `operating_point.json`; None for none.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`.
        sample_count: int > 0, the most samples to compare; None for all.
        image_bytes: bool, whether to add the signature of that name; False for models that do not take raw pixels.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity, over all signatures together.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the model, the samples or an option cannot be used, or the SavedModel does not run in another process.
        ParityError: the SavedModel's outputs differ from `model.predict`; nothing is written and an existing `path` is
            kept.

    Reference: https://www.tensorflow.org/tfx/serving/api_rest
    """
    options = {"samples": samples, "labels": labels, "activation": activation, "operating_point": operating_point}
    with Shared(model, sample_count=sample_count, **options) as shared:
        return verified.finish(steps(shared, path, tolerance=tolerance, image_bytes=image_bytes, replace=replace))


def steps(
    shared: Shared,
    path: str | os.PathLike,
    *,
    tolerance: parity.Tolerance | None = None,
    image_bytes: bool = True,
    replace: bool = False,
) -> verified.Steps:
    """The steps of `saved_model`.

    Args:
        shared: Shared, with the other arguments of `saved_model`.
        path: as for `saved_model`.
        tolerance: as for `saved_model`.
        image_bytes: as for `saved_model`.
        replace: as for `saved_model`.

    Returns:
        verified.Steps; while they wait, another process runs the SavedModel.

    Raises:
        FileExistsError: as for `saved_model`.
        InputError: as for `saved_model`.
    """
    path = require_target(shared.model, path, activation=shared.activation, replace=replace)
    shared.process.start()
    model = shared.prepared.model
    encoder = tokens.encoder_model(model)

    def calls(inputs: endpoints.Values) -> dict[str, verified.Call]:
        named = {endpoints.DEFAULT_SIGNATURE: verified.Call(inputs)}
        if image_bytes and endpoints.accepts_image_bytes(model):
            images = inputs[0] if isinstance(inputs, tuple) else inputs
            rows = np.unique(np.linspace(0, len(images) - 1, _ENCODED_IMAGES).astype(int))
            named[IMAGE_BYTES] = _encoded(inputs, rows)
        if encoder is not None:
            named[TOKENS] = verified.Call(inputs)
        return named

    def convert(source: verified.Source, target: Path) -> None:
        write(
            source.model,
            target,
            shared.activation,
            image_bytes=IMAGE_BYTES in source.inputs,
            token_model=encoder and encoder.model,
        )
        for name, text in (encoder.files if encoder else {}).items():
            files.write_text(target / "assets.extra" / name, text)

    def run(target: Path, source: verified.Source) -> Callable[[], np.ndarray]:
        arguments = {
            f"{signature}/{name}": values
            for signature, drawn in source.inputs.items()
            for name, values in _arguments(model, signature, drawn, encoder).items()
        }
        outputs = shared.process.begin(target, arguments)
        return lambda: np.concatenate(
            [answers[name] for answers in [answered(model, outputs)] for name in source.inputs]
        )

    return verified.steps(shared, path, verified.Exporter(convert, run, calls=calls), tolerance)


def write(
    model: keras.Model,
    path: str | os.PathLike,
    activation: str | None = None,
    *,
    image_bytes: bool = False,
    batch_size: int | None = None,
    input_shape: tuple[int | None, ...] | None = None,
    token_model: keras.Model | None = None,
) -> None:
    """Writes only the SavedModel, without a check. Use `saved_model` or `litert.tflite` for a checked file.

    Args:
        model: keras.Model that `endpoints.require_exportable` accepts.
        path: the folder to write, which does not exist.
        activation: a key of `endpoints.ACTIVATIONS`.
        image_bytes: bool, whether to add the signature for encoded images.
        batch_size: int > 0, or None for a variable batch size.
        input_shape: the input's shape without the batch dimension, or None for the model's own.
        token_model: keras.Model from token ids to the same outputs, for the signature `tokens`; None for no such signature.
    """
    specs = endpoints.input_specs(model, batch_size=batch_size, input_shape=input_shape)
    signatures = {endpoints.DEFAULT_SIGNATURE: (endpoints.serving_function(model, activation), specs)}
    if image_bytes:
        spec = tf.TensorSpec((None,), tf.string, name=IMAGE_BYTES)
        function = endpoints.image_bytes_function(model, activation)
        signatures[IMAGE_BYTES] = (function, [spec, *endpoints.number_specs(model)])
    if token_model is not None:
        function = endpoints.serving_function(token_model, activation)
        signatures[TOKENS] = (function, endpoints.input_specs(token_model))
    saved_model_files.write(path, signatures, model)


def answered(model: keras.Model, answer: Callable[[], Answer]) -> Answer:
    """Waits for an answer of the process that runs and converts SavedModels.

    Args:
        model: keras.Model of the SavedModel.
        answer: callable from `ServingProcess.begin` or `ServingProcess.begin_conversion`.

    Returns:
        What `answer` returns.

    Raises:
        InputError: the process fails.
    """
    try:
        return answer()
    except RuntimeError as error:
        raise InputError(
            f"the SavedModel of {model.name!r} does not run in a process of its own: {str(error).splitlines()[-1][:300]}. Try "
            "again with more free memory and disk space, or export another format."
        ) from error


def _encoded(inputs: endpoints.Values, rows: np.ndarray) -> verified.Call:
    """The call of `image_bytes` with some of the inputs, their pixels rounded as in an encoded file."""
    images = inputs[0] if isinstance(inputs, tuple) else inputs
    if images.dtype != np.uint8 and images.max() <= 1:
        raise InputError(
            f"`image_bytes` decodes files to pixels in [0, 255], but `samples` are in [{images.min():g}, "
            f"{images.max():g}]. Move the rescaling into the model, or export with image_bytes=False."
        )
    chosen = keras.tree.map_structure(lambda values: values[rows], inputs)
    return verified.Call(endpoints.changed(chosen, _pixels), rows, encoded=True)


def _pixels(images: np.ndarray) -> np.ndarray:
    return np.clip(np.round(images), 0, 255).astype(images.dtype)


def _arguments(
    model: keras.Model, signature: str, inputs: endpoints.Values, encoder: EncoderModel | None
) -> dict[str, np.ndarray]:
    """The arguments of a signature, with the images of `image_bytes` as PNG files, and the texts of `tokens` as ids.

    PNG files never end in zero bytes, which NumPy drops from the end of a bytes string.
    """
    if signature == TOKENS:
        return endpoints.arguments(encoder.model, endpoints.changed(inputs, encoder.ids))
    if signature != IMAGE_BYTES:
        return endpoints.arguments(model, inputs)
    images, *numbers = endpoints.arguments(model, inputs).items()
    contents = np.array([tf.io.encode_png(image.astype(np.uint8)).numpy() for image in images[1]])
    return {IMAGE_BYTES: contents, **dict(numbers)}
