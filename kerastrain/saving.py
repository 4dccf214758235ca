"""Models out of `.keras` files, with one clear sentence where that fails.

Takes a path; gives the model. Must not look into the model.
"""

import contextlib
import errno
import os
import tempfile
from pathlib import Path

import keras

# Keras must know the registered classes of these before it opens a file.
from kerastrain import evaluation, losses  # noqa: F401
from kerastrain.errors import InputError
from kerastrain.hub import layer, modules  # noqa: F401
from kerastrain.layers import labels, preprocessing, quantized, text  # noqa: F401
from kerastrain.optimizers import registry  # noqa: F401
from kerastrain.system import archives, files

# Keras unpacks a part of the file among the temporary files.
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def load(path: str | os.PathLike, *, allow_modules: bool = False) -> keras.Model:
    """A model from a `.keras` file.

    Args:
        path: path of the file.
        allow_modules: bool, whether a Hub module inside the file may run. Its graph is a program: allow it for files
            whose maker you trust. The backbones that ship with kerastrain need no allowing.

    Returns:
        keras.Model, compiled as it was when it was saved.

    Raises:
        FileNotFoundError: the path does not exist.
        WriteError: there is no room for what is unpacked on the way.
        InputError: the file is no `.keras` file, unpacks to more than `archives` lets through, or brings code or a
            module that is not allowed.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no model at {os.fspath(path)!r}: the path does not exist.")
    if Path(path).suffix != ".keras":
        raise InputError(
            f"`path` must name a .keras file, the one format that Keras opens in safe mode. Received: "
            f"{os.fspath(path)!r}. Open it where you trust it, and save it as .keras."
        )
    archives.check_zip(path)
    with modules.allow_modules() if allow_modules else contextlib.nullcontext():
        try:
            return keras.models.load_model(path, safe_mode=True)
        except (InputError, files.WriteError):
            raise
        except (ValueError, OSError, TypeError, KeyError) as error:
            if getattr(error, "errno", None) in _NO_ROOM:
                raise files.WriteError(Path(tempfile.gettempdir()), error.errno) from error
            reason = " ".join(str(error).split())[:300]
            raise InputError(f"{os.fspath(path)!r} cannot be opened as a Keras model: {reason}") from error
