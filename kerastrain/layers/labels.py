"""The last layer of a model, which stores the names of its outputs and how its images are decoded, and functions for both.

Takes label names or a finished model; returns a layer, names, a task or a `Decoding`. Must not know of backbones or losses.
"""

from collections.abc import Mapping, Sequence

import keras

from kerastrain.decoding import OF_EARLIER_VERSIONS, Decoding
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import TASKS, Task


@keras.saving.register_keras_serializable("kerastrain")
class Labels(keras.layers.Layer):
    """The last layer of a model: casts the outputs to float32, and stores their names, the task and the decoding.

    Args:
        labels: sequence of str, one for each output, in the same order: the classes, or for "regression" the numbers.
        task: "single_label" if the outputs are logits of a softmax; "multi_label" if each output is the logit of a
            sigmoid and an example may have any number of labels; or "regression" if the outputs are numbers.
        decoding: Decoding of the image files that become the model's inputs, or its `get_config`; None for a model of
            texts, and for one of an earlier version.
        **options: `name` of a Keras layer.

    Raises:
        InputError: the task is unknown; or, when the layer is called, the number of outputs differs from the labels.
    """

    def __init__(
        self,
        labels: Sequence[str],
        task: Task = "single_label",
        decoding: Decoding | Mapping[str, object] | None = None,
        **options: object,
    ):
        super().__init__(**{**options, "dtype": "float32"})
        if task not in TASKS:
            raise InputError(unknown("task", task, TASKS))
        self.labels = tuple(labels)
        self.task = task
        self.decoding = Decoding.from_config(decoding) if isinstance(decoding, Mapping) else decoding

    def call(self, outputs):
        """`outputs` (b, labels) as float32."""
        return keras.ops.cast(outputs, "float32")

    def compute_output_spec(self, outputs):
        """float32 of the same shape."""
        if outputs.shape[-1] not in (None, len(self.labels)):
            raise InputError(f"a model of {outputs.shape[-1]} outputs cannot have {len(self.labels)} labels.")
        return keras.KerasTensor(outputs.shape, dtype="float32")

    def get_config(self):
        """The arguments of the layer."""
        decoding = {} if self.decoding is None else {"decoding": self.decoding.get_config()}
        return {**super().get_config(), "labels": list(self.labels), "task": self.task, **decoding}


def labels(model: keras.Model) -> tuple[str, ...]:
    """Returns the names of a model's outputs: the classes of a classifier, the numbers of a regressor.

    Args:
        model: keras.Model with a `Labels` layer.

    Returns:
        tuple of str, in the order of the outputs.

    Raises:
        InputError: the model has no labels.
    """
    return _labels_layer(model).labels


def task(model: keras.Model) -> Task:
    """Returns the task of a model.

    Args:
        model: keras.Model with a `Labels` layer.

    Returns:
        "single_label", "multi_label" or "regression".

    Raises:
        InputError: the model has no labels.
    """
    return _labels_layer(model).task


def decoding(model: keras.Model) -> Decoding:
    """Returns how image files become the inputs of a model.

    Args:
        model: keras.Model with a `Labels` layer.

    Returns:
        Decoding; for a model of an earlier version, what that version did.

    Raises:
        InputError: the model has no labels.

    Example:
        >>> kt.data.load_image("photo.jpg", (224, 224), decoding(model))  # doctest: +SKIP
    """
    stored = _labels_layer(model).decoding
    return OF_EARLIER_VERSIONS if stored is None else stored


def store_decoding(model: keras.Model, decoding: Decoding | None) -> None:
    """Stores in a model how image files become its inputs.

    Args:
        model: keras.Model with a `Labels` layer, which is changed.
        decoding: Decoding, or None for a model of texts.

    Raises:
        InputError: the model has no labels.
    """
    _labels_layer(model).decoding = decoding


def check_labels(model: keras.Model, names: Sequence[str]) -> None:
    """Raises if the classes of some data are not the classes of a model, in the same order.

    Args:
        model: keras.Model with a `Labels` layer.
        names: sequence of str, the classes of the data.

    Raises:
        InputError: the classes differ, and the message lists the differences; or the model has no labels.
    """
    known = labels(model)
    if tuple(names) == known:
        return
    if sorted(names) == sorted(known):
        raise InputError(f"the data has the model's classes in another order: {', '.join(names)}.")
    unexpected, missing = [name for name in names if name not in known], [name for name in known if name not in names]
    differences = [f"it has {', '.join(unexpected)}, unknown to the model" if unexpected else ""]
    differences.append(f"it lacks {', '.join(missing)}" if missing else "")
    raise InputError(
        f"the data has {len(names)} classes, the model {len(known)}: {'; '.join(filter(None, differences))}. Train "
        "a model on this data, or use data with the model's classes."
    )


def checked_labels(names: Sequence[str], *, fewest: int = 2) -> tuple[str, ...]:
    """Checks the names of a model's outputs.

    Args:
        names: sequence of str.
        fewest: int >= 1, the smallest allowed number of names.

    Returns:
        tuple of str, the same names.

    Raises:
        TypeError: `names` is not a sequence of str.
        InputError: there are too few names, or duplicates.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`labels` must be a sequence of str. Received: {names!r}.")
    if len(names) < fewest:
        rule = "a classifier needs at least two labels" if fewest == 2 else "a model needs at least one label"
        raise InputError(f"{rule}. Received: {list(names)}.")
    duplicates = sorted({name for name in names if list(names).count(name) > 1})
    if duplicates:
        raise InputError(f"`labels` must differ from each other. Received twice: {', '.join(duplicates)}.")
    return tuple(names)


def _labels_layer(model: keras.Model) -> Labels:
    for layer in model.layers:
        if isinstance(layer, Labels):
            return layer
    raise InputError(f"the model {model.name!r} has no labels: it does not end in a kerastrain.models.Labels layer.")
