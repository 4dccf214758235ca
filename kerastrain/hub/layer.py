"""A TF Hub module, or any SavedModel, as a Keras 3 layer that shares the module's weights.

Takes a handle or a loaded module; returns a `HubLayer`, the Keras 3 replacement of `hub.KerasLayer`. `modules` finds
modules and decides which are trusted. Must not know of backbones or heads.
"""

import functools
import json
import logging
import re
import types
from collections.abc import Iterable

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.hub import graph_reading, signatures
from kerastrain.hub.source import Source
from kerastrain.keras_internals.variables import trainable_when_unfrozen

logger = logging.getLogger("kerastrain")


@keras.saving.register_keras_serializable("kerastrain")
class HubLayer(keras.layers.Layer):
    """A SavedModel as a layer, with its outputs, weights, batch norm and regularization losses.

    The module's callable receives the layer's input. If it takes `training`, it receives a Python bool: True while the
    layer is called for training *and* trainable, as in `keras.layers.BatchNormalization`. While the layer is trainable,
    the module's `regularization_losses` count in `layer.losses`. `trainable` may change at any time before `compile`.

    Args:
        handle: str or path (see `hub.modules.resolve`), or a loaded module: a callable with the optional attributes
            `variables`, `trainable_variables` and `regularization_losses` (functions without arguments).
        trainable: bool, whether the module's trainable variables are updated. Not for signatures and TF1 modules.
        arguments: dict from str to JSON values, further keyword arguments for the callable.
        tags: iterable of str, the tags of the graph of a TF1 module to load; None for its only graph.
        signature: str, the signature to call instead of the module itself; TF1 modules have "default".
        signature_outputs_as_dict: bool, whether to return all outputs of a signature as a dict.
        output_key: str, the entry of a dict of outputs to return.
        output_shape: tuple of int, or nest of tuples, the shape of the output without the batch, where the module's
            graph does not define it.
        load_options: tf.saved_model.LoadOptions for this process; not saved with the layer.
        embed: bool, whether a `.keras` file contains the module. False saves the handle only, unless another layer on the
            same module object embeds it.
        freeze_batch_norm_statistics: bool, whether the module runs with `training=False` even while it trains: the
            statistics of its batch norm do not change (scale and offset train), and its dropout is off.
        **options: `name` and `dtype` of a Keras layer.

    Raises:
        InputError: the module has no callable and no signature was chosen (the message lists them), a name in
            `signature` or `output_key` does not exist, or `trainable` is set for a signature or TF1 module.

    Differences from `hub.KerasLayer`:
        All arguments except the handle are keywords. A floating-point output has the layer's compute dtype, as Keras 3
        requires; the module itself runs in the dtype that it was saved with. Strings enter through
        `keras.Input(shape=(), dtype="string")`, as Keras 3 has no string dtype for layers. Two layers on one module
        object share its variables and whether these are trainable, also after they are loaded from a file, which holds
        the module once. The layer of a loaded object can be saved. `tags` is saved with the layer. `None` among
        `variables` is ignored.

    Example:
        >>> layer = HubLayer("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5",
        ...                  trainable=True)  # doctest: +SKIP

    Reference: https://www.tensorflow.org/hub/reusable_saved_models
    """

    # Tells `train_step.blocks` that a SavedModel's graph can be neither cut nor moved to another device.
    opaque = True

    def __init__(
        self,
        handle: object,
        *,
        trainable: bool = False,
        arguments: dict | None = None,
        tags: Iterable[str] | None = None,
        signature: str | None = None,
        signature_outputs_as_dict: bool | None = None,
        output_key: str | None = None,
        output_shape: object = None,
        load_options: object = None,
        embed: bool = True,
        freeze_batch_norm_statistics: bool = False,
        **options: object,
    ):
        super().__init__(trainable=trainable, autocast=False, **options)
        # Namespaces, since Keras and TensorFlow wrap and track dicts and lists that are attributes.
        self._choices = types.SimpleNamespace(
            signature=signature, signature_outputs_as_dict=signature_outputs_as_dict, output_key=output_key
        )
        self._arguments = types.SimpleNamespace(arguments=dict(arguments or {}), output_shape=output_shape)
        self._calls = types.SimpleNamespace(outputs={})
        source_options = {"tags": tags, "load_options": load_options, "embed": embed, "name": self.name}
        self._source = handle if isinstance(handle, Source) else Source.of(handle, **source_options)
        if trainable:
            self._source.trainable = True
        self.freeze_batch_norm_statistics = freeze_batch_norm_statistics
        if self.module is not None:
            self.check_can_train(trainable)
            if trainable and not self.can_train:
                logger.warning("the Hub module %r has no trainable variables: trainable=True has no effect", self.name)
        self.built = True

    def call(self, inputs, training=None):
        """The module's output for `inputs`; the class describes `training`."""
        if self.module is None:
            return self._announced_outputs(inputs)
        self.check_can_train(self.trainable)
        options = dict(self._arguments.arguments)
        if self._entry.takes_training:
            options["training"] = bool(training) and self.trainable and not self.freeze_batch_norm_statistics
        outputs = self._entry.function(keras.tree.map_structure(self._entry.to_module, inputs), **options)
        outputs = self.finish(inputs, self._entry.choose(outputs))
        self._calls.outputs[_signature_of(inputs)] = keras.tree.map_structure(_dtype_and_shape, outputs)
        return outputs

    def infer(self, inputs: object) -> object:
        """The module's outputs for real inputs, without training, and without a trace of the call in the layer.

        Args:
            inputs: tensor or array, or a nest of them, as for `call`.

        Returns:
            nest of tensors in the module's own dtypes.
        """
        options = {**self._arguments.arguments, **({"training": False} if self._entry.takes_training else {})}
        inputs = keras.tree.map_structure(self._entry.to_module, inputs)
        if not (tf.distribute.has_strategy() and tf.distribute.in_cross_replica_context()):
            return self._entry.choose(self._entry.function(inputs, **options))
        # A module that was loaded for several devices has a value of its variables only on each of them.
        strategy = tf.distribute.get_strategy()
        outputs = tf.function(lambda: strategy.run(lambda: self._entry.function(inputs, **options)))()
        return self._entry.choose(
            keras.tree.map_structure(lambda output: strategy.experimental_local_results(output)[0], outputs)
        )

    def finish(self, inputs: object, outputs: object) -> object:
        """What the layer returns for the chosen outputs of its module.

        Args:
            inputs: tensor, or nest of tensors, that the module was called with.
            outputs: nest of tensors in the module's own dtypes, as from `infer`.

        Returns:
            nest of tensors, floats in the layer's compute dtype, with the shapes of `output_shape` if it is set.
        """
        return keras.tree.map_structure(self._to_compute_dtype, self._with_shape(inputs, outputs))

    def compute_output_spec(self, *arguments, **options):
        """The symbolic outputs of `call`, traced for the module's own dtypes and nest."""
        # Keras would call `compute_output_shape` instead, and give all outputs the same dtype.
        return keras.Operation.compute_output_spec(self, *arguments, **options)

    def compute_output_shape(self, input_shape):
        """The shape of the output, or a nest of shapes, for inputs of a shape or a nest of shapes, batch included."""
        dtypes = iter(self._input_dtypes(len(_shapes(input_shape))))
        inputs = keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape, next(dtypes)), input_shape)
        return keras.tree.map_structure(lambda output: output.shape, self.compute_output_spec(inputs))

    @property
    def module(self) -> object:
        """The loaded module, or None while a file that contains it is being opened."""
        return self._source.module

    @property
    def resolved_object(self) -> object:
        """The module, by the name that it has in `hub.KerasLayer`."""
        return self.module

    @property
    def embed(self) -> bool:
        """Whether a `.keras` file contains the module."""
        return self._source.embed

    @property
    def input_specs(self) -> tuple:
        """The tf.TensorSpec of the module's inputs, flattened; empty where the module does not declare them."""
        return self._entry.input_specs

    @property
    def input_steps(self) -> tuple[graph_reading.Step, ...]:
        """The arithmetic that the module's graph does on its input first; empty where the graph is not known."""
        return graph_reading.input_steps(self._entry.graph) if self._entry.graph is not None else ()

    @property
    def graph(self) -> object:
        """The tf ConcreteFunction of a call without training; None where the module has not been traced."""
        return self._entry.graph

    def choose(self, outputs: object) -> object:
        """The output that the layer returns, as `output_key` chooses it from those of the module.

        Args:
            outputs: nest of tensors.

        Returns:
            nest of tensors.
        """
        return self._entry.choose(outputs)

    @property
    def last_operation(self) -> str:
        """The type of the operation that computes the output, such as "Softmax"; "" where that is not known."""
        if self._entry.graph is None:
            return ""
        outputs, key = self._entry.graph.structured_outputs, self._choices.output_key or self._entry.output_key
        keys = sorted(outputs) if isinstance(outputs, dict) else []
        return graph_reading.last_operation(self._entry.graph, keys.index(key) if key in keys else 0)

    @property
    def can_train(self) -> bool:
        """Whether the module has trainable variables and can be called for training."""
        return self._entry.can_train and bool(trainable_when_unfrozen(self._source))

    def check_can_train(self, trainable: bool = True) -> None:
        """Checks that the signature and the output exist, and that the module can train.

        Args:
            trainable: bool, whether the module is to be trained.

        Raises:
            InputError: `signature` or `output_key` does not exist, or `trainable` is True and the module is called by a
                signature or is a TF1 module.
        """
        if not self._entry.can_train and trainable:
            raise InputError(
                f"a {self._entry.kind} cannot be trained: it has no `training` argument and no losses. Received: "
                f"{self._source.text!r}. Keep it frozen and train only the head (`fit.epochs=0` in a config), or use a "
                "TF2 reusable SavedModel."
            )

    @property
    def fingerprint(self) -> str:
        """The sha256 of the module's files, see `hub.modules.fingerprint`."""
        return self._source.sha256

    def get_config(self):
        """The arguments, the module's source, and the dtypes and shapes of its outputs so far."""
        settings = {**vars(self._choices), **vars(self._arguments)}
        settings = {name: value for name, value in settings.items() if value is not None and value != {}}
        try:
            json.dumps(settings)
        except TypeError as error:
            raise InputError(f"the arguments of a HubLayer must be JSON values to be saved: {error}.") from error
        # Keras marks an object as shared when it serializes it again, but loses the mark of the first in a copy.
        _, source = keras.saving.serialize_keras_object([self._source, self._source])
        return {
            **super().get_config(),
            **settings,
            "handle": source,
            "freeze_batch_norm_statistics": self.freeze_batch_norm_statistics,
            "calls": dict(self._calls.outputs),
        }

    @classmethod
    def from_config(cls, config):
        """The layer of a config; `Source.from_config` describes when its module is loaded and what it raises."""
        config = keras.saving.deserialize_keras_object(dict(config))
        calls = config.pop("calls")
        if "hold_statistics" in config:  # the name in files of 0.1
            config["freeze_batch_norm_statistics"] = config.pop("hold_statistics")
        layer = cls(**config)
        layer._calls.outputs.update(calls)
        return layer

    @functools.cached_property
    def _entry(self) -> signatures.Entry:
        return signatures.entry(self.module, self._source.text, **vars(self._choices))

    def _input_dtypes(self, count: int) -> list[str]:
        if self.module is None:  # see `_announced_outputs`
            return re.findall(r'\["(\w+)"', next(iter(self._calls.outputs), "")) or ["float32"] * count
        dtypes = [spec.dtype.name for spec in self.input_specs]
        return dtypes if len(dtypes) == count else [self._entry.float_dtype.name] * count

    def _announced_outputs(self, inputs) -> object:
        # While Keras opens a file, it rebuilds the models before their modules are loaded.
        outputs = self._calls.outputs.get(_signature_of(inputs))
        if outputs is None or tf.executing_eagerly():
            raise InputError(self._source.not_loaded_message)
        return keras.tree.map_structure(lambda output: tf.compat.v1.placeholder(**_parsed(output)), outputs)

    def _with_shape(self, inputs, outputs):
        if self._arguments.output_shape is None:
            return outputs
        batch = keras.tree.flatten(inputs)[0].shape[:1]
        shapes = _as_shapes(self._arguments.output_shape)
        tf.nest.map_structure(lambda output, shape: output.set_shape(batch.concatenate(shape)), outputs, shapes)
        return outputs

    def _to_compute_dtype(self, output):
        return tf.cast(output, self.compute_dtype) if output.dtype.is_floating else output


def _dtype_and_shape(tensor) -> str:
    return json.dumps([keras.backend.standardize_dtype(tensor.dtype), list(tensor.shape)])


def _parsed(dtype_and_shape: str) -> dict:
    dtype, shape = json.loads(dtype_and_shape)
    return {"dtype": dtype, "shape": shape}


def _signature_of(inputs) -> str:
    return " ".join(map(_dtype_and_shape, keras.tree.flatten(inputs)))


def _shapes(nest) -> list[tuple]:
    shapes = []
    keras.tree.map_shape_structure(shapes.append, nest)
    return shapes


def _as_shapes(nest):
    """`nest` with each innermost list or tuple of numbers replaced by a tf.TensorShape."""
    if isinstance(nest, dict):
        return {key: _as_shapes(value) for key, value in nest.items()}
    if all(size is None or isinstance(size, int) for size in nest):
        return tf.TensorShape(nest)
    return type(nest)(map(_as_shapes, nest))
