"""Learning-rate schedules: pure curves, the one Keras class that carries them, and a look at them without training.

Loaded on first use, because a config's schedule is checked and drawn without TensorFlow.
"""

import importlib

_HOMES = {"CURVES": "curves", "Schedule": "schedule", "make": "schedule", "plot": "picture", "simulate": "simulation"}

__all__ = [*_HOMES]  # noqa: PLE0604, the table is the public face


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(importlib.import_module(f"kerastrain.schedules.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'kerastrain.schedules' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
