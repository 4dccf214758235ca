"""A TF Hub module, or any SavedModel, as a Keras 3 layer whose weights are the module's own.

Takes a handle or a loaded module; gives `HubLayer`, which stands where `hub.KerasLayer` stood under Keras 2. Finding
and trusting modules is `modules`' work. Must not know of backbones or heads.
"""

import functools
import json
import re
import types
from collections.abc import Iterable

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.hub import signatures
from kerastrain.hub.source import Source


@keras.saving.register_keras_serializable("kerastrain")
class HubLayer(keras.layers.Layer):
    """A SavedModel as a layer: its outputs, its weights, its batch norm, its regularization losses.

    The module's callable gets the layer's input. If it takes `training`, it gets a Python bool: True while the layer
    is called for training *and* trainable, as in `keras.layers.BatchNormalization`. While the layer is trainable, the
    module's `regularization_losses` count in `layer.losses`. `trainable` may change at any time before `compile`.

    Args:
        handle: str or path (see `hub_modules.resolve`), or a loaded module: a callable with the optional attributes
            `variables`, `trainable_variables` and `regularization_losses` (functions of nothing).
        trainable: bool, whether the module's trainable variables may move. Not for signatures and TF1 modules.
        arguments: dict of further keyword arguments for the callable, JSON values.
        tags: list of str, which graph of a TF1 module to take.
        signature: str, the signature to call instead of the module itself; TF1 modules have "default".
        signature_outputs_as_dict: bool, whether a signature's whole dict of outputs is returned.
        output_key: str, the one entry of a dict of outputs that is returned.
        output_shape: tuple, or a nest of them, of the output's shape without the batch, where the module's own
            graph does not know it.
        load_options: tf.saved_model.LoadOptions for this process; not saved with the layer.
        embed: bool, whether a `.keras` file carries the module inside. False keeps the handle alone, unless another
            layer on the same module object embeds it.
        freeze_batch_norm_statistics: bool, whether the module runs with `training=False` even while it trains: batch norm's
            statistics stay still (its scale and offset train), and dropout inside the module is off.
        **options: `name` and `dtype` of a Keras layer.

    Raises:
        InputError: the module has no callable and no signature was chosen (the message lists them), a name in
            `signature` or `output_key` does not exist, or `trainable` is set where nothing can train.

    Differs: from `hub.KerasLayer`: every argument but the handle goes by keyword. A floating-point output has the
        layer's compute dtype, since Keras 3 layers must keep to it; the module itself runs in the dtype that it was
        saved with. Strings enter through `keras.Input(shape=(), dtype="string")`, as Keras 3 has no string dtype for
        layers. Two layers on one module object share their variables, and with them whether these are trainable, also
        when they come back from a file, which holds the module once. The layer of a loaded object can be saved. `tags`
        is saved with the layer. `None` among `variables` is passed over.

    Example:
        >>> layer = HubLayer("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5",
        ...                  trainable=True)  # doctest: +SKIP

    Reference: https://www.tensorflow.org/hub/reusable_saved_models
    """

    # For `distribute.blocks`: a SavedModel's graph can be neither cut nor moved to another device.
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
        how = {"tags": tags, "load_options": load_options, "embed": embed, "name": self.name}
        self._source = handle if isinstance(handle, Source) else Source.of(handle, **how)
        if trainable:
            self._source.trainable = True
        self.freeze_batch_norm_statistics = freeze_batch_norm_statistics
        if self.module is not None:
            self.check_can_train(trainable)
        self.built = True

    def call(self, inputs, training=None):
        """The module's output for `inputs`; see the class for what `training` does."""
        if self.module is None:
            return self._announced_outputs(inputs)
        self.check_can_train(self.trainable)
        options = dict(self._arguments.arguments)
        if self._entry.takes_training:
            options["training"] = bool(training) and self.trainable and not self.freeze_batch_norm_statistics
        outputs = self._entry.function(keras.tree.map_structure(self._entry.to_module, inputs), **options)
        outputs = self._with_shape(inputs, self._entry.choose(outputs))
        outputs = keras.tree.map_structure(self._to_compute_dtype, outputs)
        self._calls.outputs[_text(inputs)] = keras.tree.map_structure(_words, outputs)
        return outputs

    def compute_output_spec(self, *arguments, **options):
        """What `call` gives for symbolic inputs: traced, for the module's own dtypes and nest."""
        # Keras would ask `compute_output_shape` instead, and give every output one dtype.
        return keras.Operation.compute_output_spec(self, *arguments, **options)

    def compute_output_shape(self, input_shape):
        """The shape of the output, or a nest of shapes, for inputs of a shape or a nest of shapes, batch included."""
        dtypes = iter(self._input_dtypes(len(_shapes(input_shape))))
        inputs = keras.tree.map_shape_structure(lambda shape: keras.KerasTensor(shape, next(dtypes)), input_shape)
        return keras.tree.map_structure(lambda output: output.shape, self.compute_output_spec(inputs))

    @property
    def module(self) -> object:
        """The loaded module, or None before a file that is being opened has brought it."""
        return self._source.module

    @property
    def resolved_object(self) -> object:
        """The module, under the name that `hub.KerasLayer` gives it."""
        return self.module

    @property
    def embed(self) -> bool:
        """Whether a `.keras` file carries the module."""
        return self._source.embed

    @property
    def input_specs(self) -> tuple:
        """The tf.TensorSpec of the module's inputs, flattened; empty where the module does not tell."""
        return self._entry.input_specs

    @property
    def can_train(self) -> bool:
        """Whether the module has trainable variables and tells what it must for them to be trained."""
        return self._entry.can_train and bool(self._source._trainable_variables)

    def check_can_train(self, trainable: bool = True) -> None:
        """Refuses to train what cannot be trained, and a signature or output that is not there.

        Raises:
            InputError: `trainable` is set, and the module is called by a signature, or is a TF1 module.
        """
        if not self._entry.can_train and trainable:
            raise InputError(
                f"a {self._entry.kind} cannot be trained, since it tells nothing of training, losses or batch norm. "
                f"Received: {self._source.text!r}. Keep it frozen, and train the head alone (`fit.epochs=0` in a "
                "config), or use a TF2 reusable SavedModel."
            )

    @property
    def fingerprint(self) -> str:
        """The sha256 of the module's files, as `hub_modules.fingerprint` gives it."""
        return self._source.sha256

    def get_config(self):
        """What `from_config` needs: the arguments, the module's source, and the outputs that it gave so far."""
        settings = {**vars(self._choices), **vars(self._arguments)}
        settings = {name: value for name, value in settings.items() if value is not None and value != {}}
        try:
            json.dumps(settings)
        except TypeError as error:
            raise InputError(f"the arguments of a HubLayer must be JSON values to be saved: {error}.") from error
        # Keras marks an object that it meets again as shared, and loses the mark on the first in a copy: so meet it twice.
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
        """The layer of a config; see `Source.from_config` for when its module comes, and what it raises."""
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
        if self.module is None:  # as in `_announced_outputs`
            return re.findall(r'\["(\w+)"', next(iter(self._calls.outputs), "")) or ["float32"] * count
        told = [spec.dtype.name for spec in self.input_specs]
        return told if len(told) == count else [self._entry.float_dtype.name] * count

    def _announced_outputs(self, inputs) -> object:
        # While a file is opened its models are built again, before its modules have arrived.
        known = self._calls.outputs.get(_text(inputs))
        if known is None or tf.executing_eagerly():
            raise self._source.absence()
        return keras.tree.map_structure(lambda words: tf.compat.v1.placeholder(**_read(words)), known)

    def _with_shape(self, inputs, outputs):
        if self._arguments.output_shape is None:
            return outputs
        batch = keras.tree.flatten(inputs)[0].shape[:1]
        shapes = _as_shapes(self._arguments.output_shape)
        tf.nest.map_structure(lambda output, shape: output.set_shape(batch.concatenate(shape)), outputs, shapes)
        return outputs

    def _to_compute_dtype(self, output):
        return tf.cast(output, self.compute_dtype) if output.dtype.is_floating else output


def _words(tensor) -> str:
    return json.dumps([keras.backend.standardize_dtype(tensor.dtype), list(tensor.shape)])


def _read(words: str) -> dict:
    dtype, shape = json.loads(words)
    return {"dtype": dtype, "shape": shape}


def _text(inputs) -> str:
    return " ".join(map(_words, keras.tree.flatten(inputs)))


def _shapes(nest) -> list[tuple]:
    found = []
    keras.tree.map_shape_structure(found.append, nest)
    return found


def _as_shapes(nest):
    """`nest` of lists and tuples of numbers with each shape as one leaf."""
    if isinstance(nest, dict):
        return {key: _as_shapes(value) for key, value in nest.items()}
    if all(size is None or isinstance(size, int) for size in nest):
        return tf.TensorShape(nest)
    return type(nest)(map(_as_shapes, nest))
