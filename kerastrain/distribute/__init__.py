"""Training on several devices and several machines, with the results of one device.

`make` returns the strategy of the process, `shard` distributes a dataset over its devices, `collectives` exchanges values
between workers, `launch` starts worker processes on this machine, `place` splits one large model over devices. Names are
loaded on first use, because `launch` does not need TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "cluster": ["Cluster"],
        "launcher": ["launch"],
        "placement": ["place"],
        "sharding": ["Devices", "rows_of_devices", "shard"],
        "strategies": ["Choice", "choose", "is_chief", "make"],
    },
)
