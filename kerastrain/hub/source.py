"""A module's origin, files and variables, which all layers on the module share.

Takes a handle, a loaded module, or the description of a module in a saved config; returns a `Source`. Must not call the
module.
"""

import functools
import os
import types
import weakref
from collections.abc import Iterable
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.hub import modules, signatures
from kerastrain.keras_internals import variables as internals

_ASSET = "module"

# The sources of the modules in this process, by the module's id: a second layer on a module finds the first one's.
_sources: "weakref.WeakValueDictionary[int, Source]" = weakref.WeakValueDictionary()


@keras.saving.register_keras_serializable("kerastrain")
class Source(keras.layers.Layer):
    """One module with its variables and its files, an inner layer of every layer on it. It is never called.

    It is a layer because Keras saves an inner layer that several layers share once, and returns it to all of them when
    the file is opened, so that the optimizer sees its variables once.

    Args:
        handle: str or path for `hub.modules.resolve`, or a loaded module.
        tags: iterable of str, the tags of the graph of a TF1 module to load; None for its only graph.
        load_options: tf.saved_model.LoadOptions for this process; not saved.
        embed: bool, whether a `.keras` file contains the module.
        announced: dict with "sha256" and "variables", the description in a config of a module that may be loaded later.
        folder: path of the announced module, or None if it is loaded from the assets of a file.
        **options: `name` and `trainable` of a Keras layer.
    """

    def __init__(
        self,
        handle: object,
        *,
        tags: Iterable[str] | None = None,
        load_options: object = None,
        embed: bool = True,
        announced: dict | None = None,
        folder: Path | None = None,
        **options: object,
    ):
        super().__init__(autocast=False, **options)
        is_text = isinstance(handle, str | os.PathLike)
        self.text = os.fspath(handle) if is_text else type(handle).__qualname__
        self.embed = embed
        self.module = None
        # A namespace, since Keras and TensorFlow wrap and track dicts and lists that are attributes.
        self._options = types.SimpleNamespace(
            tags=None if tags is None else sorted(tags), load_options=load_options, announced=announced
        )
        self._folder = folder
        if not is_text:
            self._connect(handle)
        elif announced is None or folder is not None:
            self._connect(self._loaded())
        else:
            self._announce(announced["variables"])
        self.built = True

    @classmethod
    def of(cls, handle: object, *, embed: bool, **options: object) -> "Source":
        """The source of a handle, shared with other layers on the same loaded module.

        Args:
            handle: str or path for `hub.modules.resolve`, or a loaded module.
            embed: bool, whether a `.keras` file contains the module.
            **options: further arguments of `Source`.

        Returns:
            Source, a new one unless `handle` is a module that has one.

        Raises:
            TypeError: `handle` is a Keras layer.
            InputError: the module cannot be found or loaded.
        """
        if isinstance(handle, keras.Layer):
            raise TypeError(
                "`handle` must be a handle, a path or a loaded module. Received: "
                f"{type(handle).__module__}.{type(handle).__qualname__}, which is a Keras layer already."
            )
        known = _sources.get(id(handle))
        if known is None or known.module is not handle:
            return cls(handle, trainable=False, embed=embed, **options)
        known.embed = known.embed or embed
        return known

    @property
    def folder(self) -> Path:
        """The module's SavedModel folder; a module object is written to one on first use.

        Raises:
            InputError: the module is not loaded, or TensorFlow cannot save it.
        """
        if self._folder is None:
            if self.module is None:
                raise InputError(self.not_loaded_message)
            self._folder = modules.export(self.module)
        return self._folder

    @functools.cached_property
    def sha256(self) -> str:
        """The fingerprint of the module's folder."""
        announced = self._options.announced
        return announced["sha256"] if announced else modules.fingerprint(self.folder)

    @property
    def not_loaded_message(self) -> str:
        """The message of the error where the module is needed before it is loaded."""
        return (
            f"the module {self.text!r} is not loaded: a config does not contain it. Load the `.keras` file, or load the "
            "module in this process first."
        )

    def get_config(self):
        """The module's handle and fingerprint, and its variables for the time until it is loaded."""
        trainable = {id(variable) for variable in internals.trainable_when_unfrozen(self)}
        return {
            "name": self.name,
            "trainable": self.trainable,
            "handle": self.text,
            "embed": self.embed,
            "tags": self._options.tags,
            "sha256": self.sha256,
            "variables": [[v.name, list(v.shape), v.dtype, id(v) in trainable] for v in self.variables],
        }

    @classmethod
    def from_config(cls, config):
        """The source of a config; `load_assets` loads an embedded module afterwards.

        Raises:
            InputError: Keras opens a file in safe mode, and the module is neither allowed nor known.
        """
        config = dict(config)
        announced = {name: config.pop(name) for name in ("sha256", "variables")}
        if internals.in_safe_mode():
            modules.check_trusted(announced["sha256"], config["handle"])
        folder = modules.known_folder(announced["sha256"])
        if folder is None and not config["embed"]:
            # Pin the trusted fingerprint: the handle in the file may contain another one.
            config["handle"] = f"{modules.split_pin(config['handle'])[0]}#sha256={announced['sha256']}"
            return cls(**config)
        return cls(**config, folder=folder, announced=announced)

    def save_assets(self, folder):
        """Writes the module into the `.keras` file, unless `embed` is False."""
        if self.embed:
            modules.copy(self.folder, Path(folder) / _ASSET)

    def load_assets(self, folder):
        """Loads the module from the `.keras` file, unless it is already loaded.

        Raises:
            InputError: its fingerprint differs from that of the config.
        """
        if self.module is not None:
            return
        copy = modules.keep(Path(folder) / _ASSET)
        if modules.fingerprint(copy) != self.sha256:
            raise InputError(f"the module {self.text!r} inside the file is damaged: its sha256 is not the saved one.")
        self._folder = copy
        self._connect(self._loaded())

    def _loaded(self) -> object:
        if self._folder is None:
            self._folder = modules.resolve(self.text)
        return modules.load(self._folder, tags=self._options.tags, options=self._options.load_options)

    def _announce(self, variables: list) -> None:
        # Keras builds optimizers and calls `load_own_variables` before `load_assets`: they need placeholder variables.
        with keras.name_scope(self.name):
            for name, shape, dtype, trainable in variables:
                options = {"shape": shape, "dtype": dtype, "trainable": trainable, "name": name}
                internals.track(self, keras.Variable(initializer="zeros", **options))

    def _connect(self, module: object) -> None:
        trainable = {id(variable) for variable in signatures.variables(module, "trainable_variables")}
        # Trainable variables first: Keras orders the weights of every layer so, and `hub.KerasLayer` did too.
        variables = sorted(
            signatures.variables(module, "variables"), key=lambda variable: id(variable) not in trainable
        )
        if self.variables:
            for wrapped, variable in zip(self.variables, variables, strict=True):
                internals.redirect(wrapped, variable)
        else:
            with keras.name_scope(self.name):
                for index, variable in enumerate(variables):
                    name = f"{index}_{variable.name.split(':')[0].replace('/', '_')}"
                    wrapped = internals.wrapper(variable, name=name, trainable=id(variable) in trainable)
                    internals.track(self, wrapped)
        losses = list(getattr(module, "regularization_losses", None) or ())
        trained = internals.trainable_when_unfrozen(self)
        if losses and trained:
            # Keras counts the regularizer of a weight once a step and only while the layer trains, as needed here.
            trained[0].regularizer = _ModuleLosses(losses)
        self.module = module
        _sources[id(module)] = self


class _ModuleLosses(keras.regularizers.Regularizer):
    """The sum of a module's regularization losses, set as the regularizer of one variable, where Keras collects losses."""

    def __init__(self, losses):
        self.losses = losses

    def __call__(self, _):
        return tf.add_n([loss() for loss in self.losses])
