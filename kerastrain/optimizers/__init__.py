"""Keras's optimizers by name, whose result does not depend on the number of devices.

Loaded on first use, because a config's optimizer arguments are checked without TensorFlow.
"""

import lazy_loader

_CLASSES = [
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Ftrl",
    "Lamb",
    "Lion",
    "Muon",
    "Nadam",
    "RMSprop",
    "ScheduleFreeAdamW",
]

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__, submod_attrs={"registry": ["OPTIMIZERS", "make", *_CLASSES]}
)
