"""Numbered folders of state, each with a manifest of its files' checksums; a torn one is told and passed over.

Takes nested values with tensors and files in them, gives them back. Must not know what they mean.

A folder holds `tensors.*` (TensorFlow's bundle format, read by `tf.train.load_checkpoint`), `state.json` (all else, in
which a tensor or a file is named by its place), `files/` (second names of files that never change) and `manifest.json`.
"""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerastrain.system import files

FORMAT = 1

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class Stored:
    """One whole checkpoint.

    Args:
        directory: Path of its folder.
        outline: dict, the state with its tensors and files still on the disk.
    """

    directory: Path
    outline: dict

    def read(self) -> dict:
        """The state as it was given to `write`: tensors as arrays, files as Paths inside the checkpoint."""
        reader = tf.train.load_checkpoint(str(self.directory / "tensors"))
        return _unpacked(self.outline, reader, self.directory / "files")


def write(directory: Path, state: Mapping, *, keep: int = 3) -> Path:
    """Writes one more checkpoint and removes the oldest ones.

    Args:
        directory: Path of the folder of checkpoints; made if missing. One process at a time writes there.
        state: nested dicts (keys are str), lists, numbers, str, None, tensors and arrays; and Paths of files that are
            only ever replaced through `files.atomic`, which get a second name and cost no room.
        keep: int > 0, checkpoints that stay.

    Returns:
        Path of the new checkpoint, whose name counts up: `000001`, `000002`, ….

    Raises:
        WriteError: it could not be written; all checkpoints before it are untouched.
        TypeError: the state holds a value of another kind.
    """
    numbers = [int(path.name) for path in _folders(directory)]
    target = directory / f"{max(numbers, default=0) + 1:06d}"
    with files.atomic(target) as folder:
        (folder / "files").mkdir(parents=True)
        tensors = {"format": tf.constant(FORMAT)}  # a bundle must not be empty
        packed = _packed(state, "", tensors, folder / "files")
        tf.raw_ops.SaveV2(
            prefix=str(folder / "tensors"),
            tensor_names=[*tensors],
            shape_and_slices=[""] * len(tensors),
            tensors=[*tensors.values()],
        )
        (folder / "state.json").write_text(json.dumps(packed), encoding="utf-8")
        written = {path.name: _checked(path) for path in sorted(folder.iterdir()) if path.is_file()}
        linked = {f"files/{path.name}": {"bytes": path.stat().st_size} for path in sorted(folder.glob("files/*"))}
        manifest = {"format": FORMAT, "files": written | linked}
        (folder / "manifest.json").write_text(json.dumps(manifest, indent=2), encoding="utf-8")
    for path in _folders(directory)[:-keep]:
        files.remove(path)
    return target


def latest(directory: Path) -> Stored | None:
    """The newest checkpoint that is whole, or None; each torn one that is passed over is told to the log."""
    for folder in reversed(_folders(directory)):
        fault = _fault(folder)
        if fault is None:
            return Stored(folder, json.loads((folder / "state.json").read_text(encoding="utf-8")))
        logger.warning("the checkpoint %s is torn (%s) and is passed over for the one before it", folder, fault)
    return None


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())


def _checked(path: Path) -> dict:
    return {"bytes": path.stat().st_size, "sha256": files.sha256(path)}


def _fault(folder: Path) -> str | None:
    """What is wrong with a checkpoint, or None if it is whole."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']}, and this version reads {FORMAT}"
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size} bytes of {expected['bytes']}"
            if "sha256" in expected and files.sha256(path) != expected["sha256"]:
                return f"{name} has another checksum"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "manifest.json cannot be read"
    return None


def _packed(value, place: str, tensors: dict, folder: Path):
    """`value` as JSON can hold it, its tensors put into `tensors` and its files into `folder`."""
    if isinstance(value, Mapping):
        return {key: _packed(one, f"{place}/{key}", tensors, folder) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(one, f"{place}/{number}", tensors, folder) for number, one in enumerate(value)]
    if isinstance(value, np.ndarray) or tf.is_tensor(value):
        name = f"{len(tensors)}{place}"
        tensors[name] = tf.convert_to_tensor(value)
        return {"<tensor>": name}
    if isinstance(value, Path):
        name = f"{len(os.listdir(folder))}_{value.name}"
        files.link(value, folder / name)
        return {"<file>": name}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(
        f"the state of a training is made of numbers, text, arrays, Paths, lists and dicts. Received: "
        f"{type(value).__module__}.{type(value).__qualname__} at {place[1:]!r}."
    )


def _unpacked(value, reader, folder: Path):
    if isinstance(value, list):
        return [_unpacked(one, reader, folder) for one in value]
    if not isinstance(value, dict):
        return value
    if "<tensor>" in value:
        return np.asarray(reader.get_tensor(value["<tensor>"]))
    if "<file>" in value:
        return folder / value["<file>"]
    return {key: _unpacked(one, reader, folder) for key, one in value.items()}
