"""Several devices and several machines, with the answer of one device.

`make` gives the strategy of the process, `divided` the data for its devices, `agreement` what its workers tell each
other, `launch` starts the worker processes of this machine, `place` spreads one large model. Loaded on first use,
because `launch` needs no TensorFlow.
"""

import importlib

_HOMES = {
    "Choice": "strategies",
    "Cluster": "cluster",
    "choose": "strategies",
    "divided": "dividing",
    "is_chief": "strategies",
    "launch": "launcher",
    "make": "strategies",
    "place": "placement",
}

__all__ = [*_HOMES]  # noqa: PLE0604, the table is the public face


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"kerastrain.distribute.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'kerastrain.distribute' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
