"""The arrays of an .npz file by their role and part, whatever they are called.

Takes a path, returns arrays. Must not interpret their values.
"""

import difflib
import os
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kerastrain.data.sources.parts import part_named
from kerastrain.errors import InputError, unknown

_ROLES = {
    "inputs": ("inputs", "input", "x", "images", "image", "imgs", "img", "data", "features", "pixels", "photos")
    + ("texts", "text", "sentences"),
    "targets": ("targets", "target", "y", "labels", "label", "classes", "class"),
    "labels": ("class_names", "label_names", "target_names", "names", "categories"),
    "weights": ("weights", "weight", "sample_weights", "sample_weight"),
    "groups": ("groups", "group"),
    "marks": ("marks", "predefined_split", "split", "splits"),
}
_ROLE_OF = {name: role for role, names in _ROLES.items() for name in names}
_NAMES_OF_CLASSES = ("labels", "classes")  # Beside other targets.
_OWN = ("inputs", "targets", "labels", "weights", "groups", "marks")
_FILLERS = {"set", "data", "array", "arr"}
_GLUED = re.compile(r"(x|y)(train|test|val|valid|validation|dev)|(train|test|val|valid|validation|dev)(x|y)")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_OBJECTS = "Object arrays cannot be loaded"
_OTHERS = {
    ".npy": "one array and no targets",
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".mat": "MATLAB",
    ".pkl": "pickle, which can run programs when it is opened",
    ".pickle": "pickle, which can run programs when it is opened",
    ".pt": "PyTorch",
    ".pth": "PyTorch",
}


@dataclass(frozen=True, eq=False)
class Part:
    """The arrays of one part of a data set.

    Args:
        arrays: mapping from "inputs", "targets", "weights", "groups" and "marks", those that exist, to the arrays.
        names: mapping from the same roles to the names of the arrays in the file.
    """

    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of a file.

    Args:
        parts: mapping from "train", "validation" and "test" to Part; from "" if the file has no parts.
        labels: array of the class names, or None.
        layout: str, which arrays are used.
        notes: tuple of str, which are not.
    """

    parts: Mapping[str, Part]
    labels: np.ndarray | None
    layout: str
    notes: tuple[str, ...]


def refuse_others(path: str | os.PathLike) -> None:
    """Raises for files of arrays that are not .npz files, and for folders of .npy files.

    Args:
        path: path of a file or folder, which need not exist.

    Raises:
        InputError: it is such a file or folder; the message says how to make an .npz file.
    """
    path = Path(path)
    if path.suffix.lower() in _OTHERS and not path.is_dir():
        loaded = "np.load('x.npy')" if path.suffix.lower() == ".npy" else "x"
        targets = "np.load('y.npy')" if path.suffix.lower() == ".npy" else "y"
        raise InputError(
            f"arrays must be in an .npz file. Received: '{path}' ({_OTHERS[path.suffix.lower()]}). Write one in Python: "
            f"np.savez('data.npz', inputs={loaded}, targets={targets})."
        )
    if path.is_dir():
        names = sorted(entry.name for entry in os.scandir(path) if not entry.name.startswith("."))
        if names and all(name.lower().endswith(".npy") for name in names):
            pairs = ", ".join(f"{_identifier(name)}=np.load('{name}')" for name in names[:6])
            raise InputError(
                f"arrays must be in one .npz file. Received: '{path}', a folder of {', '.join(names[:6])}. Write one in "
                f"Python, in that folder: np.savez('data.npz', {pairs})."
            )


def read(path: Path) -> Arrays:
    """Reads an .npz file and recognizes the roles and parts of its arrays by their names.

    Args:
        path: Path of the file.

    Returns:
        Arrays.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not an .npz file, holds Python objects, or an array is missing or ambiguous.
    """
    columns = _loaded(path)
    parts, labels, ignored = _recognized(columns, path)
    notes = [f"arrays that are not used: {', '.join(ignored)}"] if ignored else []
    for part in list(parts):
        arrays, names = parts[part].arrays, parts[part].names
        if "inputs" in arrays and "targets" in arrays:
            continue
        if part in ("", "train") or not {"inputs", "targets"} & set(arrays):
            missing = "inputs" if "inputs" not in arrays else "targets"
            in_part = f" for {part}" if part else ""
            raise InputError(
                f"'{path}' has no array {missing!r}{in_part}. Its arrays are: {', '.join(columns)}. Name them inputs and "
                "targets, or x_train, y_train, x_test and y_test."
            )
        notes.append(f"left out {', '.join(names.values())}: the {part} part has inputs or targets only")
        del parts[part]
    layout = "; ".join(f"{part.names['inputs']} with {part.names['targets']}" for part in parts.values())
    return Arrays(parts, labels, f"arrays {layout}", tuple(notes))


def _recognized(columns: Mapping[str, np.ndarray], path: Path) -> tuple[dict[str, Part], np.ndarray | None, list[str]]:
    """Returns the parts, the class names, and the names of arrays without a role."""
    places = {name: _place(name) for name in columns}
    if set(columns) == {"arr_0", "arr_1"}:
        places = _places_of_positional(columns, path)
    has_targets = {part for name, (part, role) in places.items() if role == "targets" and name not in _NAMES_OF_CLASSES}
    parts, labels, ignored = {}, None, []
    for name, (part, role) in places.items():
        if role == "labels" or (name in _NAMES_OF_CLASSES and has_targets):
            labels = columns[name]
        elif role is None:
            close = difflib.get_close_matches(name, _OWN, n=1, cutoff=0.8)
            if close:
                raise InputError(f"'{path}': {unknown('array', name, _OWN)}")
            ignored.append(name)
        else:
            entry = parts.setdefault(part, Part())
            if role in entry.arrays:
                raise InputError(
                    f"'{path}' must have one array for each role. Received: {entry.names[role]!r} and {name!r}, both "
                    f"{role}. Remove one."
                )
            entry.arrays[role], entry.names[role] = columns[name], name
    if len(parts) > 1 and "" in parts:  # `X, y, X_test, y_test`
        rest = parts.pop("")
        if "train" in parts:
            both = [*rest.names.values(), *parts["train"].names.values()]
            raise InputError(
                f"'{path}' must say which arrays are for training. Received: {', '.join(both)}. Remove some."
            )
        parts = {"train": rest, **parts}
    if not parts:
        raise InputError(
            f"'{path}' must have arrays inputs and targets. Received: {', '.join(columns) or 'no arrays'}. Rename them: "
            "np.savez('data.npz', inputs=…, targets=…)."
        )
    return ({"": parts["train"]} if set(parts) == {"train"} else parts), labels, ignored


def _place(name: str) -> tuple[str, str | None]:
    """Part and role that a name says."""
    if name.lower() in _ROLE_OF:
        return "", _ROLE_OF[name.lower()]
    glued = _GLUED.fullmatch(name.lower())
    words = [word for word in glued.groups() if word] if glued else [word.lower() for word in _WORDS.findall(name)]
    parts = [word for word in words if part_named(word)]
    if len(parts) > 1:
        return "", None
    part = part_named(parts[0]) if parts else ""
    left = [word for word in words if word not in parts]
    for candidate in (left, [word for word in left if word not in _FILLERS]):
        role = _ROLE_OF.get("_".join(candidate))
        if role:
            return part, role
    return part, "inputs" if part and not left else None


def _places_of_positional(columns: Mapping[str, np.ndarray], path: Path) -> dict[str, tuple[str, str]]:
    """Roles of arrays that were saved without names: the targets have fewer axes."""
    first, second = columns["arr_0"], columns["arr_1"]
    if first.ndim == second.ndim or first.shape[:1] != second.shape[:1]:
        raise InputError(
            f"'{path}' must name its arrays. Received: arr_0 {first.shape} and arr_1 {second.shape}, either of which may be "
            "the targets. Write it with np.savez('data.npz', inputs=…, targets=…)."
        )
    roles = ("inputs", "targets") if first.ndim > second.ndim else ("targets", "inputs")
    return {"arr_0": ("", roles[0]), "arr_1": ("", roles[1])}


def _loaded(path: Path) -> dict[str, np.ndarray]:
    try:
        if not path.is_file():
            raise FileNotFoundError(f"no data at '{path}': there is no such file.")
        with open(path, "rb") as file:
            is_one_array = file.read(6) == b"\x93NUMPY"
        if is_one_array:
            raise InputError(
                f"'{path}' must be an .npz file. Received: an .npy file, which holds one array. Write one with "
                "np.savez('data.npz', inputs=…, targets=…)."
            )
        columns = {}
        with np.load(path, allow_pickle=False) as file:
            for name in file.files:
                columns[name] = _read_array(file, name, path)
        return columns
    except InputError:
        raise
    except (ValueError, zipfile.BadZipFile, EOFError, AttributeError, TypeError) as error:
        raise InputError(f"cannot read '{path}' as an .npz file: {str(error).rstrip('.')}.") from None


def _read_array(file, name: str, path: Path) -> np.ndarray:
    try:
        return file[name]
    except ValueError as error:
        if _OBJECTS not in str(error):
            raise
        raise InputError(
            f"the array {name!r} of '{path}' must hold numbers or texts. Received: Python objects, which can run programs "
            f"when they are opened. Convert it before it is saved: names with {name}.astype(str), images of one size with "
            f"numpy.stack(list({name})); images of several sizes must be files."
        ) from None


def _identifier(name: str) -> str:
    return re.sub(r"\W", "_", Path(name).stem)


def shapes(part: Part, roles: Sequence[str]) -> str:
    """Describes arrays in a message.

    Args:
        part: Part.
        roles: sequence of str, keys of `Part.arrays`.

    Returns:
        str, such as "x_train (100, 28, 28), y_train (100,)".
    """
    return ", ".join(f"{part.names[role]} {part.arrays[role].shape}" for role in roles)
