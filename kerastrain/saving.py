"""Loads models from `.keras` files in safe mode, with a clear error where that fails.

Takes a path; returns the model. Must not inspect the model.
"""

import contextlib
import errno
import os
import tempfile
import warnings
import zipfile
from pathlib import Path

import keras

# Importing these registers the classes that Keras needs to open a file.
from kerastrain import losses  # noqa: F401
from kerastrain.errors import InputError
from kerastrain.evaluation import keras_metrics  # noqa: F401
from kerastrain.hub import layer, modules  # noqa: F401
from kerastrain.keras_internals.layers import every_layer
from kerastrain.layers import (  # noqa: F401, registered by their import
    decoder,
    encoder,
    encoder_relative,
    encoder_text,
    labels,
    low_rank,
    ngrams,
    numbers,
    preprocessing,
    quantized,
    text,
    text_pairs,
    tokens,
)
from kerastrain.optimizers import registry  # noqa: F401
from kerastrain.system import archives, files, optional_imports

# Keras unpacks a part of the file into the folder for temporary files, which can be full.
_DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def load(path: str | os.PathLike, *, allow_modules: bool = False) -> keras.Model:
    """Loads a model from a `.keras` file.

    Args:
        path: path of the file.
        allow_modules: bool, whether a Hub module inside the file may run. Its graph is a program: allow it for files from
            authors whom you trust. The backbones that ship with kerastrain are always allowed.

    Returns:
        keras.Model, compiled as it was when it was saved.

    Raises:
        FileNotFoundError: the path does not exist.
        WriteError: the disk is too full to unpack the file.
        InputError: the file is not a `.keras` file, unpacks to more than `system.archives` allows, or contains code or a
            module that is not allowed.
        MissingExtra: a layer needs an optional library, such as that of a tokenizer.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model at {os.fspath(path)!r}: the path does not exist.")
    if Path(path).suffix != ".keras":
        raise InputError(
            f"`path` must name a .keras file, the only format that Keras opens in safe mode. Received: "
            f"{os.fspath(path)!r}. If you trust the file, open it with Keras and save it as .keras."
        )
    archives.check_zip(path)
    with modules.allow_modules() if allow_modules else contextlib.nullcontext():
        try:
            return _with_frozen_layers(path)
        except (InputError, files.WriteError):
            raise
        except (ValueError, OSError, TypeError, KeyError) as error:
            if getattr(error, "errno", None) in _DISK_FULL:
                raise files.WriteError(Path(tempfile.gettempdir()), error.errno) from error
            if missing := _missing_extra(error):
                raise optional_imports.MissingExtra(f"{os.fspath(path)!r} cannot be opened: {missing}") from error
            # Keras puts the config of each layer on the way before the reason.
            reason = " ".join(str(error).rpartition("Exception encountered: ")[2].split())[:300]
            raise InputError(f"{os.fspath(path)!r} cannot be opened as a Keras model: {reason}") from error


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Gives a model the weights of a file, and its optimizer the state that they have there.

    What Keras's own method does. That seeks to and fro in the file inside the `.keras` archive, which takes minutes for hundreds
    of megabytes; here the inner file is unpacked first.

    Args:
        model: keras.Model.
        path: path of a `.keras` or `.weights.h5` file.

    Raises:
        ValueError: the weights are those of another network.
    """
    if Path(path).suffix != ".keras":
        model.load_weights(path)
        return
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(path) as archive:
        try:
            inner = archive.extract("model.weights.h5", folder)
        except OSError:  # There is no room to unpack it.
            inner = path
        model.load_weights(inner)


def _missing_extra(error: BaseException | None) -> str | None:
    """The message about an optional library that a layer lacks, which Keras takes for a wrong config."""
    while error is not None:
        if isinstance(error, optional_imports.MissingExtra):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


def _with_frozen_layers(path: str | os.PathLike) -> keras.Model:
    """Opens a file, and freezes again what Keras opens as trainable.

    Keras saves `trainable` for each layer of a model, but not for the layers that a layer such as `MultiHeadAttention` makes
    for itself: they come back trainable inside a frozen layer, train, and the optimizer's state does not fit them.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = keras.models.load_model(path, safe_mode=True)
    thawed = [
        outer
        for outer in every_layer(model)
        if not (outer.trainable or isinstance(outer, keras.Model))
        and any(each.trainable for each in every_layer(outer))
    ]
    for outer in thawed:
        for inner in every_layer(outer)[1:]:  # Keras passes over an assignment that does not change the outer layer.
            inner.trainable = False
    if thawed and getattr(model, "optimizer", None) is not None:
        model.compile_from_config(model.get_compile_config())
        load_weights(model, path)
        caught = [each for each in caught if "Skipping variable loading for optimizer" not in str(each.message)]
    for each in caught:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
    return model
