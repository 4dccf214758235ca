"""The last layer of a model, which carries the names of its outputs, and the functions that read them.

Takes label names or a finished model; gives a layer, names and a task. Must not know of backbones or losses.
"""

from collections.abc import Sequence

import keras

from kerastrain.errors import InputError, unknown
from kerastrain.tasks import TASKS, Task


@keras.saving.register_keras_serializable("kerastrain")
class Labels(keras.layers.Layer):
    """The last layer of a model: passes the outputs on as float32, and keeps their names and what they mean.

    Args:
        labels: sequence of str, one for each output, in their order: the classes, or for "regression" the numbers.
        task: "single_label", where the outputs are logits of a softmax; "multi_label", where each is the logit of a
            sigmoid and an example may have any number of labels; or "regression", where they are the numbers.
        **options: `name` of a Keras layer.
    """

    def __init__(self, labels: Sequence[str], task: Task = "single_label", **options: object):
        super().__init__(**{**options, "dtype": "float32"})
        if task not in TASKS:
            raise InputError(unknown("task", task, TASKS))
        self.labels = tuple(labels)
        self.task = task

    def call(self, outputs):
        """`outputs` (b, labels), float32."""
        return keras.ops.cast(outputs, "float32")

    def compute_output_spec(self, outputs):
        """float32 of the shape that came in."""
        if outputs.shape[-1] not in (None, len(self.labels)):
            raise InputError(f"a model of {outputs.shape[-1]} outputs cannot have {len(self.labels)} labels.")
        return keras.KerasTensor(outputs.shape, dtype="float32")

    def get_config(self):
        """The layer's arguments."""
        return {**super().get_config(), "labels": list(self.labels), "task": self.task}


def labels(model: keras.Model) -> tuple[str, ...]:
    """The names of a classifier's classes, in the order of its logits; of a regressor's numbers.

    Raises:
        InputError: the model was not built with labels.
    """
    return _labels_layer(model).labels


def task(model: keras.Model) -> Task:
    """What the model says of an example: "single_label", "multi_label" or "regression".

    Raises:
        InputError: the model was not built with labels.
    """
    return _labels_layer(model).task


def check_labels(model: keras.Model, found: Sequence[str]) -> None:
    """Refuses data whose classes are not the model's, name by name and in the same order.

    Raises:
        InputError: they differ; the message says in what.
    """
    known = labels(model)
    if tuple(found) == known:
        return
    if sorted(found) == sorted(known):
        raise InputError(f"the data has the model's classes in another order: {', '.join(found)}.")
    more, less = [one for one in found if one not in known], [one for one in known if one not in found]
    differences = [f"it has {', '.join(more)}, unknown to the model" if more else ""]
    differences.append(f"it lacks {', '.join(less)}" if less else "")
    raise InputError(
        f"the data has {len(found)} classes, the model {len(known)}: {'; '.join(filter(None, differences))}. Train "
        "a model on this data, or give data with the model's classes."
    )


def checked_labels(names: Sequence[str], *, fewest: int = 2) -> tuple[str, ...]:
    """`names` as a tuple.

    Args:
        names: sequence of str.
        fewest: int, how many there must be.

    Raises:
        TypeError: they are no sequence of str.
        InputError: too few of them, or one of them twice.
    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise TypeError(f"`labels` must be a sequence of str. Received: {names!r}.")
    if len(names) < fewest:
        what = "a classifier needs at least two labels" if fewest == 2 else "a model needs at least one label"
        raise InputError(f"{what}. Received: {list(names)}.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise InputError(f"`labels` must differ from each other. Received twice: {', '.join(twice)}.")
    return tuple(names)


def _labels_layer(model: keras.Model) -> Labels:
    for layer in model.layers:
        if isinstance(layer, Labels):
            return layer
    raise InputError(
        f"the model {model.name!r} carries no labels: it does not end in a kerastrain.models.Labels layer."
    )
