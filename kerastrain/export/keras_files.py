"""`.keras` files to go on with in Keras, believed only after a fresh process has opened and run them.

Takes a keras.Model and real inputs, gives a file and a `Parity`. Must not convert anything.
"""

import os
import re
from collections.abc import Sequence

import keras

from kerastrain.errors import InputError
from kerastrain.export import endpoints, fresh_process, parity
from kerastrain.export import samples as sampling
from kerastrain.export.targets import labels_of, require_free, sizes, task_of, write_beside
from kerastrain.layers import labels as model_labels
from kerastrain.system import files


def keras_file(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    samples,
    labels: Sequence[str] | None = None,
    activation: str | None = None,
    tolerance: parity.Tolerance | None = None,
    sample_count: int | None = 512,
    replace: bool = False,
) -> parity.Parity:
    """Writes `model` as a `.keras` file, and proves it in a fresh process that has kerastrain and nothing of yours.

    It is opened by `kt.models.load(path)`, or by `keras.saving.load_model(path)` after `import kerastrain.models`. The
    optimizer is left out. Layers of random augmentation stay in it, and are idle where it predicts.

    Args:
        model: keras.Model, built, with one input and one output; not changed.
        path: the file to write, ending in .keras.
        samples: real inputs, see `samples.draw`.
        labels: class names in the order of the outputs, or None for those that travel with the model.
        activation: "softmax" or "sigmoid" to answer probabilities, None to answer the model's outputs.
        tolerance: Tolerance, or None for `TOLERANCES["float32"]`.
        sample_count: int > 0, the most samples to compare; None for all.
        replace: bool, whether an existing `path` may be replaced.

    Returns:
        Parity.

    Raises:
        FileExistsError: `path` exists and `replace` is False.
        InputError: the file does not open elsewhere, for layers of your own are in it; or the samples or an option cannot
            be used.
        ParityError: the file answers otherwise than `model.predict`; nothing is left at `path`, or what stood there.
    """
    endpoints.require_exportable(model, activation)
    path = require_free(path, replace=replace, suffix=".keras")
    labels = labels_of(model, labels)
    inputs, targets = sampling.draw_with_targets(samples, model, count=sample_count)
    reference = endpoints.answers(model, inputs, activation)
    exported = _answering(model, labels, activation)
    with files.atomic(path) as temporary:
        exported.save(temporary, include_optimizer=False)
        try:
            outputs = fresh_process.answers("keras_program", temporary, {"inputs": inputs})["outputs"]
        except RuntimeError as error:
            unknown = re.search(r"Could not locate \w+ '[^']+'", str(error))
            reason = unknown.group() if unknown else str(error).strip().splitlines()[-1][:300]
            raise InputError(
                f"model {model.name!r} cannot become a .keras file that opens elsewhere: {reason}. Leave layers and "
                "functions of your own out of it, or export a SavedModel, which needs none of your code."
            ) from error
        measured = parity.check(
            reference,
            outputs,
            file=path.name,
            kind="float32",
            **sizes(temporary),
            targets=targets,
            tolerance=tolerance,
            threshold=endpoints.threshold(activation),
            task=task_of(model),
        )
    write_beside(path, labels, measured)
    return measured


def _answering(model: keras.Model, labels: Sequence[str], activation: str | None) -> keras.Model:
    """`model` with an activation after it, and with `labels` in it where it has none."""
    values = model.outputs[0]
    if activation:
        values = keras.layers.Activation(activation, dtype="float32", name=activation)(values)
    if len(labels) == values.shape[-1] and not labels_of(model, None):
        values = model_labels.Labels(labels, name="labels")(values)
    return model if values is model.outputs[0] else keras.Model(model.inputs, values, name=model.name)
