"""The config of a run as data: what can be set, what it may be, and every fault of a file at once.

Parts and tools never see a config: only `recipe`, `tuning` and `cli` do. Must not import TensorFlow.
"""

from kerastrain.config.compression import BudgetConfig, CompressConfig
from kerastrain.config.jobs import SearchConfig
from kerastrain.config.loading import dump, load, override, put, read_yaml, schema, to_yaml, validate
from kerastrain.config.sections import Config

__all__ = [
    "BudgetConfig",
    "CompressConfig",
    "Config",
    "SearchConfig",
    "dump",
    "load",
    "override",
    "put",
    "read_yaml",
    "schema",
    "to_yaml",
    "validate",
]
