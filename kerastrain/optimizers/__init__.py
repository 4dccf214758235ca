"""Keras's optimizers by name, whose result does not depend on the number of devices.

Loaded on first use, because a config's optimizer arguments are checked without TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"registry": ["OPTIMIZERS", "make"]})
