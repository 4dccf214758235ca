"""Learning-rate schedules: pure functions of the step, the Keras class around them, and their simulation and plots.

Loaded on first use, because a config's schedule is checked and plotted without TensorFlow.
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
