"""Where the SavedModels that ship with kerastrain are. Must not import TensorFlow."""

import importlib.resources
from pathlib import Path


def bundled() -> dict[str, Path]:
    """The SavedModels that ship with kerastrain, by name."""
    package = Path(str(importlib.resources.files("kerastrain"))).resolve()
    folders = (package / "saved_models", package.parent / "saved_models")
    return {path.parent.name: path.parent for folder in folders for path in sorted(folder.glob("*/saved_model.pb"))}
