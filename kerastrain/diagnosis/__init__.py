"""Findings about a finished run: what is wrong with its model, its training and its data, and what to try next.

Takes records and arrays; returns findings. Must not know of configs, of folders of runs or of data sources, and must not
import TensorFlow.

Modules are imported on first use, because printing a verdict needs none of the statistics that lead to it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["curves", "descriptors", "verdict"],
    submod_attrs={
        "records": ["Change", "Finding", "Part", "Record"],
        "verdict": ["findings", "setting"],
    },
)
