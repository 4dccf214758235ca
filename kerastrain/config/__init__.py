"""The config of a run: its keys, their defaults and rules, and reading and writing of YAML.

`load` takes a YAML file and overrides, returns a frozen `Config`, and reports every fault of the file at once. Only
`recipe`, `compression_search`, `run_directory` and `cli` import this package. Must not import TensorFlow.

Modules are imported on first use, because `kerastrain --help` needs none of them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submodules=["automatic", "folds", "keys", "no_validation"],
    submod_attrs={
        "compression": ["BudgetConfig", "CompressConfig"],
        "jobs": ["SearchConfig"],
        "loading": ["dump", "load", "override", "put", "schema", "to_yaml", "validate"],
        "model": ["AUTO_BACKBONE"],
        "reading": ["read_yaml"],
        "sections": ["Config"],
        "training": ["EPOCHS"],
        "values": ["Section"],
    },
)
