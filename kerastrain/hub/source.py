"""A module as Keras holds it: where it comes from, its variables, and what is known of it before it is there.

Takes a handle, a loaded module, or what a saved config has announced; gives a `Source`, which all layers on one module
share. Must not call the module.
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
from kerastrain.keras_internals import variables as wrapping

_ASSET = "module"

# The sources of the modules in this process, by the module's id: a second layer on a module finds the first one's.
_sources: "weakref.WeakValueDictionary[int, Source]" = weakref.WeakValueDictionary()


@keras.saving.register_keras_serializable("kerastrain")
class Source(keras.layers.Layer):
    """One module with its variables and its files, as a part of every layer on it. It is never called itself.

    A layer, because Keras writes a layer that several others hold into a file once, and gives it back to all of them
    when the file is opened, its variables known to the optimizer once.

    Args:
        handle: str or path for `hub_modules.resolve`, or a loaded module.
        tags: iterable of str, which graph of a TF1 module to take.
        load_options: tf.saved_model.LoadOptions for this process; not saved.
        embed: bool, whether a `.keras` file carries the module.
        announced: dict with "sha256" and "variables", what a config says of a module that may come later.
        folder: path of the announced module, or None where a file's assets will bring it.
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
        """The source of a handle, or the one that another layer has made of the same loaded module.

        Raises:
            TypeError: `handle` is a Keras layer.
            InputError: what `hub_modules.resolve` and `hub_modules.load` raise.
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
        """The module's SavedModel folder, found or written on first use."""
        if self._folder is None:
            if self.module is None:
                raise self.absence()
            self._folder = modules.export(self.module)
        return self._folder

    @functools.cached_property
    def sha256(self) -> str:
        """The fingerprint of the module's folder."""
        announced = self._options.announced
        return announced["sha256"] if announced else modules.fingerprint(self.folder)

    def absence(self) -> InputError:
        """The error of whoever needs the module before it is there."""
        return InputError(
            f"the module {self.text!r} has not arrived: a config alone does not carry it. Load the `.keras` file, or "
            "load the module in this process first."
        )

    def get_config(self):
        """What `from_config` needs to find the module again, and what stands in for it until then."""
        learned = {id(variable) for variable in self._trainable_variables}
        return {
            "name": self.name,
            "trainable": self.trainable,
            "handle": self.text,
            "embed": self.embed,
            "tags": self._options.tags,
            "sha256": self.sha256,
            "variables": [[v.name, list(v.shape), v.dtype, id(v) in learned] for v in self.variables],
        }

    @classmethod
    def from_config(cls, config):
        """The source of a config; an embedded module comes after it, through `load_assets`.

        Raises:
            InputError: Keras opens a file in safe mode, and the module is neither allowed nor known.
        """
        config = dict(config)
        announced = {name: config.pop(name) for name in ("sha256", "variables")}
        if wrapping.in_safe_mode():
            modules.check_trusted(announced["sha256"], config["handle"])
        folder = modules.known_folder(announced["sha256"])
        if folder is None and not config["embed"]:
            # The trusted fingerprint, not the one that the handle in the file may claim.
            config["handle"] = f"{modules.split_pin(config['handle'])[0]}#sha256={announced['sha256']}"
            return cls(**config)
        return cls(**config, folder=folder, announced=announced)

    def save_assets(self, folder):
        """Puts the module into the `.keras` file, unless `embed` is False."""
        if self.embed:
            modules.copy(self.folder, Path(folder) / _ASSET)

    def load_assets(self, folder):
        """Takes the module out of the `.keras` file, if it is still awaited.

        Raises:
            InputError: it is not the announced one.
        """
        if self.module is not None:
            return
        kept = modules.keep(Path(folder) / _ASSET)
        if modules.fingerprint(kept) != self.sha256:
            raise InputError(f"the module {self.text!r} inside the file is damaged: its sha256 is not the saved one.")
        self._folder = kept
        self._connect(self._loaded())

    def _loaded(self) -> object:
        if self._folder is None:
            self._folder = modules.resolve(self.text)
        return modules.load(self._folder, tags=self._options.tags, options=self._options.load_options)

    def _announce(self, variables: list) -> None:
        # Optimizers and `load_own_variables` come before `load_assets`: they find variables that hold the place.
        with keras.name_scope(self.name):
            for name, shape, dtype, trainable in variables:
                options = {"shape": shape, "dtype": dtype, "trainable": trainable, "name": name}
                self._track_variable(keras.Variable(initializer="zeros", **options))

    def _connect(self, module: object) -> None:
        learned = {id(variable) for variable in signatures.variables(module, "trainable_variables")}
        # Trainable ones first: so Keras orders the weights of every layer, and so did `hub.KerasLayer`.
        found = sorted(signatures.variables(module, "variables"), key=lambda variable: id(variable) not in learned)
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
        _sources[id(module)] = self


class _ModuleLosses(keras.regularizers.Regularizer):
    """The sum of a module's own regularization losses, hung on one variable because Keras collects them there."""

    def __init__(self, losses):
        self.losses = losses

    def __call__(self, _):
        return tf.add_n([loss() for loss in self.losses])
