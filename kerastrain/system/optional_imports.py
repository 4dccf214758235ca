"""Libraries that only some users need: imported when they are used, and named with the extra that installs them.

Must not import any of them by itself.
"""

import importlib
from types import ModuleType

from kerastrain.errors import InputError


class MissingExtra(InputError, ImportError):
    """What was asked for needs a library that is not installed; the sentence says how to install it."""


def need(module: str, *, extra: str, to: str) -> ModuleType:
    """The module of an extra.

    Args:
        module: dotted name of the module.
        extra: the extra of kerastrain that installs it.
        to: what it is needed for, as "read a Parquet file".

    Returns:
        the module.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as fault:
        raise MissingExtra(
            f"to {to}, kerastrain needs {module.partition('.')[0]}. Install it: pip install 'kerastrain[{extra}]'. "
            f"({fault})"
        ) from fault
