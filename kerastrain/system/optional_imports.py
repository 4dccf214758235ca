"""Imports libraries that only some users need, and names the extra that installs a missing one.

Takes the name of a module, returns the module. Must not import any of them at the top level.
"""

import importlib
from types import ModuleType

from kerastrain.errors import InputError


class MissingExtra(InputError, ImportError):
    """An optional library is not installed; the message says how to install it."""


def need(module: str, *, extra: str, to: str) -> ModuleType:
    """Imports an optional module.

    Args:
        module: str, dotted name of the module.
        extra: str, the extra of kerastrain that installs it.
        to: str, the purpose, such as "read a Parquet file".

    Returns:
        the module.

    Raises:
        MissingExtra: the module is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"to {to}, kerastrain needs {module.partition('.')[0]}. Install it: pip install 'kerastrain[{extra}]'. "
            f"({error})"
        ) from error
