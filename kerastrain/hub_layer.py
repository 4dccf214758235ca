"""A TF Hub module, or any SavedModel, as a Keras 3 layer whose weights are the module's own.

Takes a handle or a loaded module; gives `HubLayer`, which stands where `hub.KerasLayer` stood under Keras 2. Finding
and trusting modules is `hub_modules`' work. Must not know of backbones or heads.
"""

import json
import types
from collections.abc import Iterable
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import hub_calls, hub_modules, wrapping
from kerastrain.errors import InputError
from kerastrain.hub_source import Source

_ASSET = "module"


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
        embed: bool, whether a `.keras` file carries the module inside. False keeps the handle alone.
        hold_statistics: bool, whether the module runs with `training=False` even while it trains: batch norm's
            statistics stay still (its scale and offset train), and dropout inside the module is off.
        **options: `name` and `dtype` of a Keras layer.

    Raises:
        InputError: the module has no callable and no signature was chosen (the message lists them), a name in
            `signature` or `output_key` does not exist, or `trainable` is set where nothing can train.

    Differs: from `hub.KerasLayer`: every argument but the handle goes by keyword. A floating-point output has the
        layer's compute dtype, since Keras 3 layers must keep to it; the module itself runs in the dtype that it was
        saved with. Strings enter through `keras.Input(shape=(), dtype="string")`, as Keras 3 has no string dtype for
        layers. Two layers on one module object share their variables, and with them whether these are trainable. The
        layer of a loaded object can be saved. `tags` is saved with the layer. `None` among `variables` is passed over.

    Example:
        >>> layer = HubLayer("https://tfhub.dev/google/imagenet/mobilenet_v2_100_224/feature_vector/5",
        ...                  trainable=True)  # doctest: +SKIP

    Reference: https://www.tensorflow.org/hub/reusable_saved_models
    """

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
        hold_statistics: bool = False,
        **options: object,
    ):
        super().__init__(trainable=trainable, autocast=False, **options)
        # Namespaces, since Keras and TensorFlow wrap and track dicts and lists that are attributes.
        self._choices = types.SimpleNamespace(
            signature=signature, signature_outputs_as_dict=signature_outputs_as_dict, output_key=output_key
        )
        self._arguments = types.SimpleNamespace(
            arguments=dict(arguments or {}), tags=None if tags is None else sorted(tags), output_shape=output_shape
        )
        self._load_options = types.SimpleNamespace(value=load_options)
        self._source = handle if isinstance(handle, Source) else Source(handle)
        self.embed = embed
        self.hold_statistics = hold_statistics
        self.module = None
        if self._source.awaited:
            self._announce(self._source.announced["variables"])
        else:
            self._connect()
        self.built = True

    def call(self, inputs, training=None):
        """The module's output for `inputs`; see the class for what `training` does."""
        if self.module is None:
            return self._source.announced_outputs(inputs)
        self._check_trainable()
        options = dict(self._arguments.arguments)
        if self._entry.takes_training:
            options["training"] = bool(training) and self.trainable and not self.hold_statistics
        outputs = self._entry.function(keras.tree.map_structure(self._entry.to_module, inputs), **options)
        outputs = self._with_shape(inputs, self._entry.choose(outputs))
        outputs = keras.tree.map_structure(self._to_compute_dtype, outputs)
        self._source.remember(inputs, outputs)
        return outputs

    @property
    def resolved_object(self) -> object:
        """The module, under the name that `hub.KerasLayer` gives it."""
        return self.module

    @property
    def input_specs(self) -> tuple:
        """The tf.TensorSpec of the module's inputs, flattened; empty where the module does not tell."""
        return self._entry.input_specs

    @property
    def can_train(self) -> bool:
        """Whether the module has trainable variables and tells what it must for them to be trained."""
        return self._entry.can_train and bool(self._trainable_variables)

    @property
    def fingerprint(self) -> str:
        """The sha256 of the module's files, as `hub_modules.fingerprint` gives it."""
        return self._source.sha256

    @property
    def handle(self) -> object:
        """The handle or the module that the layer was made with."""
        return self._source.handle

    def get_config(self):
        """What `from_config` needs: the arguments, and what the layer must know before its module is there."""
        settings = {**vars(self._choices), **vars(self._arguments)}
        settings = {name: value for name, value in settings.items() if value is not None and value != {}}
        try:
            json.dumps(settings)
        except TypeError as error:
            raise InputError(f"the arguments of a HubLayer must be JSON values to be saved: {error}.") from error
        learned = {id(variable) for variable in self._trainable_variables}
        module = {
            "sha256": self._source.sha256,
            "variables": [[v.name, list(v.shape), v.dtype, id(v) in learned] for v in self.variables],
            "calls": dict(self._source.announced["calls"]),
        }
        return {
            **super().get_config(),
            **settings,
            "handle": self._source.text,
            "embed": self.embed,
            "hold_statistics": self.hold_statistics,
            "module": module,
        }

    @classmethod
    def from_config(cls, config):
        """The layer of a config; an embedded module comes after it, through `load_assets`.

        Raises:
            InputError: Keras opens a file in safe mode, and the module is neither allowed nor known.
        """
        config = keras.saving.deserialize_keras_object(dict(config))
        announced = config.pop("module")
        if wrapping.in_safe_mode():
            hub_modules.check_trusted(announced["sha256"], config["handle"])
        folder = hub_modules.known_folder(announced["sha256"])
        if folder is not None or config["embed"]:
            config["handle"] = Source(config["handle"], folder=folder, announced=announced)
        else:
            # The trusted fingerprint, not the one that the handle in the file may claim.
            config["handle"] = f"{hub_modules.split_pin(config['handle'])[0]}#sha256={announced['sha256']}"
        return cls(**config)

    def save_assets(self, folder):
        """Puts the module into the `.keras` file, unless `embed` is False."""
        if self.embed:
            hub_modules.copy(self._source.folder, Path(folder) / _ASSET)

    def load_assets(self, folder):
        """Takes the module out of the `.keras` file, if the layer still waits for it."""
        if self.module is None:
            self._source.arrive(hub_modules.keep(Path(folder) / _ASSET))
            self._connect()

    def _announce(self, variables: list) -> None:
        # Optimizers and `load_own_variables` come before `load_assets`: they find variables that hold the place.
        with keras.name_scope(self.name):
            for name, shape, dtype, trainable in variables:
                options = {"shape": shape, "dtype": dtype, "trainable": trainable, "name": name}
                self._track_variable(keras.Variable(initializer="zeros", **options))

    def _connect(self) -> None:
        module = self._source.load(self._arguments.tags, self._load_options.value)
        self._entry = hub_calls.entry(module, self._source.text, **vars(self._choices))
        self._check_trainable()
        learned = {id(variable) for variable in hub_calls.variables(module, "trainable_variables")}
        # Trainable ones first: so Keras orders the weights of every layer, and so did `hub.KerasLayer`.
        found = sorted(hub_calls.variables(module, "variables"), key=lambda variable: id(variable) not in learned)
        if self.variables:
            for wrapped, variable in zip(self.variables, found, strict=True):
                wrapping.redirect(wrapped, variable)
        else:
            with keras.name_scope(self.name):
                for index, variable in enumerate(found):
                    name = f"{index}_{variable.name.split(':')[0].replace('/', '_')}"
                    self._track_variable(wrapping.wrapper(variable, name=name, trainable=id(variable) in learned))
        losses = list(getattr(module, "regularization_losses", None) or ())
        if losses and self._trainable_variables:
            # A weight's regularizer counts once in a step, and only while the layer trains: so must these.
            self._trainable_variables[0].regularizer = _ModuleLosses(losses)
        self.module = module

    def _check_trainable(self) -> None:
        if self.trainable and not self._entry.can_train:
            raise InputError(
                f"a {self._entry.kind} cannot be trained, since it tells nothing of training, losses or batch norm. "
                f"Received: trainable=True for {self._source.text!r}. Leave `trainable` False, or use a TF2 reusable "
                "SavedModel."
            )

    def _with_shape(self, inputs, outputs):
        if self._arguments.output_shape is None:
            return outputs
        batch = keras.tree.flatten(inputs)[0].shape[:1]
        shapes = _as_shapes(self._arguments.output_shape)
        tf.nest.map_structure(lambda output, shape: output.set_shape(batch.concatenate(shape)), outputs, shapes)
        return outputs

    def _to_compute_dtype(self, output):
        return tf.cast(output, self.compute_dtype) if output.dtype.is_floating else output


class _ModuleLosses(keras.regularizers.Regularizer):
    """The sum of a module's own regularization losses, hung on one variable because Keras collects them there."""

    def __init__(self, losses):
        self.losses = losses

    def __call__(self, _):
        return tf.add_n([loss() for loss in self.losses])


def _as_shapes(nest):
    """`nest` of lists and tuples of numbers with each shape as one leaf."""
    if isinstance(nest, dict):
        return {key: _as_shapes(value) for key, value in nest.items()}
    if all(size is None or isinstance(size, int) for size in nest):
        return tf.TensorShape(nest)
    return type(nest)(map(_as_shapes, nest))
