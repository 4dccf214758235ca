"""Numbered folders of state, each with a manifest of checksums; incomplete ones are reported and skipped.

Takes nested values with tensors and files in them, and returns them. Must not know what they mean.

A folder contains `tensors.*` (TensorFlow's bundle format, read by `tf.train.load_checkpoint`), `state.json` (all other
values, with references to the tensors and files), `files/` (hard links to files that never change) and `manifest.json`.
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
    """One complete checkpoint.

    Args:
        directory: Path of its folder.
        outline: dict, the state, with references in place of its tensors and files.
    """

    directory: Path
    outline: dict

    def read(self) -> dict:
        """The state that was passed to `write`, with tensors as NumPy arrays and files as Paths inside the checkpoint."""
        reader = tf.train.load_checkpoint(str(self.directory / "tensors"))
        return _unpacked(self.outline, reader, self.directory / "files")


def write(directory: Path, state: Mapping, *, keep: int = 3) -> Path:
    """Writes one more checkpoint and deletes the oldest ones.

    Args:
        directory: Path of the folder of checkpoints; created if missing. Only one process may write there at a time.
        state: nested dicts (with str keys), lists, numbers, str, None, tensors and arrays; and Paths of files that are
            only replaced through `files.atomic`, which are hard-linked and so take no extra space.
        keep: int >= 1, the number of checkpoints to keep.

    Returns:
        Path of the new checkpoint, named by the next number: `000001`, `000002`, ….

    Raises:
        WriteError: the checkpoint cannot be written; all earlier checkpoints remain complete.
        TypeError: the state contains a value of another type.
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
    """The newest complete checkpoint; logs a warning for each newer one that is incomplete.

    Args:
        directory: Path of the folder of checkpoints; it may not exist.

    Returns:
        Stored, or None if there is no complete checkpoint.
    """
    for folder in reversed(_folders(directory)):
        fault = _fault(folder)
        if fault is None:
            return Stored(folder, json.loads((folder / "state.json").read_text(encoding="utf-8")))
        logger.warning("skipped the checkpoint %s, which is incomplete: %s; trying the one before it", folder, fault)
    return None


def _folders(directory: Path) -> list[Path]:
    return sorted(path for path in directory.glob("[0-9]*") if path.name.isdecimal() and path.is_dir())


def _checked(path: Path) -> dict:
    return {"bytes": path.stat().st_size, "sha256": files.sha256(path)}


def _fault(folder: Path) -> str | None:
    """Why a checkpoint is incomplete, or None if it is complete."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return f"its format is {manifest['format']}, but this version reads {FORMAT}"
        for name, expected in manifest["files"].items():
            path = folder / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != expected["bytes"]:
                return f"{name} has {path.stat().st_size} of {expected['bytes']} bytes"
            if "sha256" in expected and files.sha256(path) != expected["sha256"]:
                return f"{name} has a wrong checksum"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "manifest.json cannot be read"
    return None


def _packed(value, place: str, tensors: dict, folder: Path):
    """`value` in a form that JSON can hold; adds its tensors to `tensors` and links its files into `folder`."""
    if isinstance(value, Mapping):
        return {key: _packed(item, f"{place}/{key}", tensors, folder) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_packed(item, f"{place}/{number}", tensors, folder) for number, item in enumerate(value)]
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
        f"the state of a training may contain only numbers, text, arrays, Paths, lists and dicts. Received: "
        f"{type(value).__module__}.{type(value).__qualname__} at {place[1:]!r}."
    )


def _unpacked(value, reader, folder: Path):
    if isinstance(value, list):
        return [_unpacked(item, reader, folder) for item in value]
    if not isinstance(value, dict):
        return value
    if "<tensor>" in value:
        return np.asarray(reader.get_tensor(value["<tensor>"]))
    if "<file>" in value:
        return folder / value["<file>"]
    return {key: _unpacked(item, reader, folder) for key, item in value.items()}
