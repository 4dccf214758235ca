"""Several devices and several machines, with the answer of one device.

`make` gives the strategy of the process, `shard` the data for its devices, `agreement` what its workers tell each
other, `launch` starts the worker processes of this machine, `place` spreads one large model. Loaded on first use,
because `launch` needs no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cluster": ["Cluster"],
        "launcher": ["launch"],
        "placement": ["place"],
        "sharding": ["shard"],
        "strategies": ["Choice", "choose", "is_chief", "make"],
    },
)
