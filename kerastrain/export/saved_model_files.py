"""Writes SavedModels: each signature is traced once, and each weight is stored once.

Takes functions with the arguments that they are traced for; writes a folder. Must not know what the functions compute, and
must not check the folder: `serving` does.
"""

import os
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf


class _Servable(tf.Module):
    """The object that a SavedModel is loaded as: its variables by the names that `keras.export.ExportArchive` gives them."""

    # Attributes in the place of the properties of tf.Module, which a loaded object would not have.
    variables = trainable_variables = non_trainable_variables = ()


class _ServedView(tf.train.TrackableView):
    """The objects that a SavedModel of a model would hold, where `tf.train.TrackableView` lists those of a checkpoint."""

    @classmethod
    def children(cls, obj, save_type="savedmodel", **options):
        """The objects that `obj` holds, by name; none where TensorFlow would have to trace a function with unknown arguments."""
        try:
            return super().children(obj, save_type, cache={}, **options)
        except TypeError as error:
            if "missing a required argument" not in str(error):
                raise
            return {}


def write(
    path: str | os.PathLike,
    signatures: Mapping[str, tuple[Callable[..., dict[str, tf.Tensor]], Sequence[tf.TensorSpec]]],
    model: keras.Model,
) -> None:
    """Writes a SavedModel with the weights and lookup tables of `model`.

    `keras.export.ExportArchive` would write the same signatures, trace each of them twice, and store each weight twice: as a
    variable of Keras and as the variable of TensorFlow in it.

    Args:
        path: the folder to write, which does not exist.
        signatures: mapping from the name of each signature to a function and the arguments that it is traced for.
        model: keras.Model, built, whose layers the functions call.
    """
    root = _Servable()
    for name in ("variables", "trainable_variables", "non_trainable_variables"):
        setattr(root, name, [variable.value for variable in getattr(model, name)])
    concrete = {
        name: tf.function(function, autograph=False).get_concrete_function(*specs)
        for name, (function, specs) in signatures.items()
    }
    for name, function in concrete.items():
        setattr(root, name, function)
    # Such as the seeds of layers, which Keras does not count among the variables of a model.
    root.captured_variables = [variable for function in concrete.values() for variable in function.variables]
    if any(map(_uses_resources, concrete.values())):
        root.resources = _resources(model)
    tf.saved_model.save(root, str(path), signatures=concrete)


def _uses_resources(function: tf.types.experimental.ConcreteFunction) -> bool:
    """Whether a traced function reads more than variables, such as a lookup table."""
    handles = {id(variable.handle) for variable in function.variables}
    return any(value.dtype == tf.resource and id(value) not in handles for value in function.captured_inputs)


def _resources(model: keras.Model) -> list[tf.saved_model.experimental.TrackableResource]:
    """The lookup tables and tokenizers of a model, which a SavedModel must hold beside the functions that use them."""
    kind = tf.saved_model.experimental.TrackableResource
    return [child for child in _ServedView(model).descendants() if isinstance(child, kind)]
