"""The names of the presets that KerasHub ships, read without importing it, which would start TensorFlow.

Takes nothing; returns names, families and addresses. Must not import KerasHub.

The private name is the layout `keras_hub/src/models/FAMILY/*_presets.py`, read in KerasHub 0.32: each such module assigns
dicts of literals from a preset's name to its metadata and "kaggle_handle". `tests/keras_internals/test_kerashub_presets.py`
compares them with `keras_hub.models.Backbone.presets` and fails when the layout moves.
"""

import ast
import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Builtin:
    """A preset that KerasHub ships.

    Args:
        family: str, the folder of its network in KerasHub, such as "vit".
        address: str, such as "kaggle://keras/vit/keras/vit_base_patch16_224_imagenet/4".
        parameters: int or None, the number of parameters.
    """

    family: str
    address: str
    parameters: int | None


@functools.cache
def builtin_presets() -> dict[str, Builtin]:
    """The presets of the installed KerasHub by name; empty if it is not installed."""
    spec = importlib.util.find_spec("keras_hub")
    if spec is None or spec.origin is None:
        return {}
    found = {}
    for path in sorted(Path(spec.origin).parent.glob("src/models/*/*_presets.py")):
        for entries in _literal_dicts(path):
            for name, entry in entries.items():
                if isinstance(entry, dict) and "kaggle_handle" in entry:
                    parameters = entry.get("metadata", {}).get("params")
                    found[name] = Builtin(path.parent.name, entry["kaggle_handle"], parameters)
    return found


def _literal_dicts(path: Path) -> list[dict]:
    dicts = []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            try:
                value = ast.literal_eval(node.value)
            except ValueError:  # A dict that is merged from others, whose entries are read on their own.
                continue
            if isinstance(value, dict):
                dicts.append(value)
    return dicts
