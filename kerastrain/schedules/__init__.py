"""Learning-rate schedules: pure curves, the one Keras class that carries them, and a look at them without training.

Loaded on first use, because a config's schedule is checked and drawn without TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "curves": ["CURVES"],
        "plotting": ["plot"],
        "schedule": ["Schedule", "make"],
        "simulation": ["simulate"],
    },
)
