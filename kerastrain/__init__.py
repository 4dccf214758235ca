"""kerastrain: from a folder of images or text to a small, explainable, verified model on Keras 3.

Parts and tools around plain `keras.Model`s. Every module loads on first use, so that `import kerastrain` costs
milliseconds, starts no TensorFlow and changes nothing of the process it is imported into.
"""

import importlib

__version__ = "0.1.0"

_MODULES = (
    "backbones",
    "callbacks",
    "compress",
    "config",
    "data",
    "distribute",
    "durations",
    "errors",
    "evaluation",
    "explain",
    "export",
    "finders",
    "memory",
    "models",
    "optimizers",
    "recipe",
    "report",
    "runtime",
    "schedules",
    "testing",
    "tuning",
)
_NAMES = {"HubLayer": "kerastrain.hub_layer"}

__all__ = [*_MODULES, *_NAMES]  # noqa: PLE0604, the two tables are the public face


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return importlib.import_module(f"kerastrain.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    raise AttributeError(f"module 'kerastrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
