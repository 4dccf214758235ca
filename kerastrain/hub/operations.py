"""Operations of a module that are not TensorFlow's own, such as the tokenizers of tensorflow_text.

Takes the function that loads a module; calls it again after importing the library. Must not know where modules come from.
"""

import re
from collections.abc import Callable

import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.system import optional_imports

_UNKNOWN = re.compile(r"Op type not registered '([^']+)'")


def load(call: Callable[[], object], source: str) -> object:
    """Loads a module, with the operations of tensorflow_text if it needs them.

    Args:
        call: callable without arguments that loads the module.
        source: str, the module's folder, for messages.

    Returns:
        object that `call` returned.

    Raises:
        MissingExtra: the module has an operation that TensorFlow lacks, and tensorflow_text is not installed.
        InputError: it has an operation that neither has.
    """
    try:
        return call()
    except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
        name = _unknown(error)
        if name is None:
            raise
    optional_imports.need(
        "tensorflow_text",
        extra="text",
        to=f"load the module at {source!r}, whose operation {name} is not TensorFlow's own and mostly tensorflow_text's",
    )
    try:
        return call()
    except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
        name = _unknown(error)
        if name is None:
            raise
        raise InputError(
            f"the module at {source!r} needs the operation {name}, which neither TensorFlow {tf.__version__} nor "
            "tensorflow_text has. From Python, import the library that has it first."
        ) from error


def _unknown(error: Exception) -> str | None:
    match = _UNKNOWN.search(str(error))
    return match[1] if match else None
