"""Where a layer's module comes from, and what is known of it before it is there.

Takes a handle, a loaded module, or what a saved config has announced; gives the module when it is wanted. Must not
build layers.
"""

import functools
import json
import os
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import hub_modules
from kerastrain.errors import InputError


class Source:
    """Where a layer's module comes from, and what a config has announced of it."""

    def __init__(self, handle: object, *, folder: Path | None = None, announced: dict | None = None):
        if isinstance(handle, keras.Layer):
            raise TypeError(
                "`handle` must be a handle, a path or a loaded module. Received: "
                f"{type(handle).__module__}.{type(handle).__qualname__}, which is a Keras layer already."
            )
        is_text = isinstance(handle, str | os.PathLike)
        self.handle = handle
        self.text = os.fspath(handle) if is_text else type(handle).__qualname__
        self.announced = announced or {"variables": [], "calls": {}}
        self.awaited = announced is not None and folder is None
        self._module = None if is_text else handle
        self._folder = folder

    @property
    def folder(self) -> Path:
        """The module's SavedModel folder, found or written on first use."""
        if self._folder is None:
            self._folder = hub_modules.export(self._module) if self._module else hub_modules.resolve(self.text)
        return self._folder

    @functools.cached_property
    def sha256(self) -> str:
        """The fingerprint of the module's folder."""
        return hub_modules.fingerprint(self.folder)

    def load(self, tags, options) -> object:
        """The module itself."""
        if self._module is not None:
            return self._module
        return hub_modules.load(self.folder, tags=tags, options=options)

    def arrive(self, folder: Path) -> None:
        """Takes the folder that came out of a file, if it is the announced one."""
        if hub_modules.fingerprint(folder) != self.announced["sha256"]:
            raise InputError(f"the module {self.text!r} inside the file is damaged: its sha256 is not the saved one.")
        self._folder, self.awaited = folder, False

    def remember(self, inputs, outputs) -> None:
        """Notes what the module gave for such inputs, for a config that is read before its module is there."""
        self.announced["calls"][_text(inputs)] = keras.tree.map_structure(_words, outputs)

    def announced_outputs(self, inputs) -> object:
        """Placeholders for the outputs that the module gave for such inputs when it was saved."""
        known = self.announced["calls"].get(_text(inputs))
        if known is None or tf.executing_eagerly():
            raise InputError(
                f"the module {self.text!r} has not arrived: a config alone does not carry it. Load the `.keras` file, "
                "or load the module in this process first."
            )
        return keras.tree.map_structure(lambda words: tf.compat.v1.placeholder(**_read(words)), known)


def _words(tensor) -> str:
    return json.dumps([keras.backend.standardize_dtype(tensor.dtype), list(tensor.shape)])


def _read(words: str) -> dict:
    dtype, shape = json.loads(words)
    return {"dtype": dtype, "shape": shape}


def _text(inputs) -> str:
    return " ".join(map(_words, keras.tree.flatten(inputs)))
