"""The config of a run: its keys, their defaults and rules, and reading and writing of YAML.

`load` takes a YAML file and overrides, returns a frozen `Config`, and reports every fault of the file at once. Only
`recipe`, `compression_search`, `run_directory` and `cli` import this package. Must not import TensorFlow.
"""

from kerastrain.config import automatic, folds, no_validation
from kerastrain.config.compression import BudgetConfig, CompressConfig
from kerastrain.config.jobs import SearchConfig
from kerastrain.config.loading import dump, load, override, put, schema, to_yaml, validate
from kerastrain.config.model import AUTO_BACKBONE
from kerastrain.config.reading import read_yaml
from kerastrain.config.sections import Config
from kerastrain.config.training import EPOCHS

__all__ = [
    "AUTO_BACKBONE",
    "BudgetConfig",
    "CompressConfig",
    "Config",
    "EPOCHS",
    "SearchConfig",
    "automatic",
    "dump",
    "folds",
    "load",
    "no_validation",
    "override",
    "put",
    "read_yaml",
    "schema",
    "to_yaml",
    "validate",
]
