"""`.keras` files for further work in Keras, each opened and run in a fresh process.

Takes a keras.Model and real inputs; writes a file and returns a `Parity`. Must not convert anything.
"""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np

from kerastrain.errors import InputError
from kerastrain.evaluation.operating_point import OperatingPoint
from kerastrain.export import endpoints, fresh_process, parity, verified
from kerastrain.export.shared import Shared
from kerastrain.export.targets import labels_of, require_target
from kerastrain.layers import labels as model_labels
from kerastrain.layers import numbers as number_layers


def keras_file(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    operating_point: OperatingPoint | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as a `.keras` file, and checks it in a fresh process that imports kerastrain but none of your code.

    Open it with `kt.models.load(path)`, or with `keras.saving.load_model(path)` after `import kerastrain.models`. The
    optimizer is not saved. Layers of random augmentation are saved; they do nothing in `predict`.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        path: the file to write, ending in .keras.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those in the model.
        activation: "softmax" or "sigmoid" to return probabilities, None to return the model's outputs.
        operating_point: OperatingPoint whose temperature is in the file if there is an `activation`, and that is stored with
            the file as `operating_point.json`; None for none.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`.
        sample_count: int > 0, the most samples to compare; None for all.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the file cannot be opened elsewhere because it contains your own layers, or the samples or an option
            cannot be used.
        ParityError: the file's outputs differ from `model.predict`; nothing is written and an existing `path` is kept.
    """
    options = {"samples": samples, "labels": labels, "activation": activation, "operating_point": operating_point}
    with Shared(model, sample_count=sample_count, **options) as shared:
        return verified.finish(steps(shared, path, tolerance=tolerance, replace=replace))


def steps(
    shared: Shared, path: str | os.PathLike, *, tolerance: parity.Tolerance | None = None, replace: bool = False
) -> verified.Steps:
    """The steps of `keras_file`.

    Args:
        shared: Shared, with the other arguments of `keras_file`.
        path: as for `keras_file`.
        tolerance: as for `keras_file`.
        replace: as for `keras_file`.

    Returns:
        verified.Steps.

    Raises:
        FileExistsError: as for `keras_file`.
        InputError: as for `keras_file`.
    """
    model = shared.model
    path = require_target(model, path, activation=shared.activation, replace=replace, suffix=".keras")

    def convert(source: verified.Source, target: Path) -> None:
        exported = _with_labels_and_activation(source.model, source.labels, shared.activation)
        exported.save(target, include_optimizer=False)

    def run(target: Path, source: verified.Source) -> np.ndarray:
        try:
            values = source.inputs[endpoints.DEFAULT_SIGNATURE]
            names = ("inputs", number_layers.INPUT_NAME)
            drawn = dict(zip(names, values, strict=True)) if isinstance(values, tuple) else {names[0]: values}
            return fresh_process.run("keras_program", target, drawn)["outputs"]
        except RuntimeError as error:
            unknown = re.search(r"Could not locate \w+ '[^']+'", str(error))
            reason = unknown.group() if unknown else str(error).strip().splitlines()[-1][:300]
            raise InputError(
                f"model {model.name!r} cannot become a .keras file that opens elsewhere: {reason}. Remove your own "
                "layers and functions from it, or export a SavedModel, which needs none of your code."
            ) from error

    exporter = verified.Exporter(convert, lambda target, source: functools.partial(run, target, source))
    return verified.steps(shared, path, exporter, tolerance)


def _with_labels_and_activation(model: keras.Model, labels: Sequence[str], activation: str | None) -> keras.Model:
    """`model` with an activation appended, and with a `Labels` layer if it has none."""
    values = model.outputs[0]
    if activation:
        values = keras.layers.Activation(activation, dtype="float32", name=activation)(values)
    if len(labels) == values.shape[-1] and not labels_of(model, None):
        values = model_labels.Labels(labels, name="labels")(values)
    return model if values is model.outputs[0] else keras.Model(model.input, values, name=model.name)
