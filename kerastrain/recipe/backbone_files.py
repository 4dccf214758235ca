"""A checksum of the files that a backbone is read from, so that a resumed run notices that they have changed.

The checkpoints of a run hold what trains, and a frozen backbone is read from its files again. Takes a `Config`, returns a
str. Must not import TensorFlow.
"""

import hashlib
from pathlib import Path

from kerastrain import presets
from kerastrain.config import Config
from kerastrain.hub.handles import split_pin
from kerastrain.system import files

_UNREAD = (".md", ".bin", ".onnx", ".msgpack", ".gguf", ".ot", ".lock")  # beside the weights that are read


def sha256(config: Config) -> str | None:
    """The checksum of the names and contents of a backbone's files.

    Args:
        config: Config.

    Returns:
        str, 64 hexadecimal digits; None for a backbone that is built, ships with kerastrain, is downloaded as a numbered
        version, or is the model of another run, of which a run keeps a copy unless it is a language model.
    """
    if config.model.from_run is not None:
        return files.sha256(Path(config.model.from_run) / "model.keras") if config.is_language else None
    location, _ = split_pin(config.model.backbone)
    places = [Path(config.model.weights)] if config.model.weights not in (None, "imagenet", "random") else []
    if presets.is_preset(location):
        kind = "language" if config.is_language else None
        places.append(Path(presets.read(location, kind=kind).location))
    elif not location.startswith(("kerastrain:", "keras:", "hub:", "kaggle:")) and "://" not in location:
        places.append(Path(location).expanduser())
    places = [place for place in places if place.exists()]
    if not places:
        return None
    total = hashlib.sha256()
    for place in places:
        for path in [place] if place.is_file() else _read(place):
            name = path.relative_to(place).as_posix()
            total.update(f"{files.sha256(path)}  {name}\n".encode())
    return total.hexdigest()


def _read(folder: Path) -> list[Path]:
    """The files of a folder, without hidden ones and those that no network is read from."""
    everything = sorted(folder.rglob("*"))
    return [
        path
        for path in everything
        if path.is_file()
        and path.suffix not in _UNREAD
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    ]
