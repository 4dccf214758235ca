"""A folder with one folder of images per class, or with such folders for train, validation and test.

Takes a path, returns a `Listing`. Must not open the image files.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.sources.parts import part_named
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError

CLUTTER = {"thumbs.db", "desktop.ini"}


def listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None) -> Listing:
    """Lists the image files of a folder; the class of each image is the folder that it is in.

    The folder contains one folder per class, or the folders train, validation and test (or val, valid, dev, training,
    testing) that each contain one folder per class. The labels are the names of the class folders in alphabetical
    order. Images in subfolders of a class folder belong to that class. Hidden files, Thumbs.db and desktop.ini are
    skipped; every other file must be an image.

    Args:
        path: folder as above.
        image_size: (height, width) in pixels that every image is stretched to; None if they are only counted.

    Returns:
        Listing; its keys are the paths relative to the folder.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        NotADirectoryError: `path` is a file.
        InputError: there are no class folders, or a class folder has no files.
    """
    root = Path(path).expanduser()
    folders = part_folders(root, _folders(root)) or {"": root}
    rows = []
    for part, folder in folders.items():
        classes = _folders(folder)
        if not classes:
            raise InputError(
                f"'{folder}' contains no folders. Put the images of each class into a folder named after the class."
            )
        rows += [(file, name, part) for name in classes for file in _files(folder / name)]
    files, names, parts = zip(*rows, strict=True)
    labels = tuple(sorted(set(names)))
    numbers = {label: number for number, label in enumerate(labels)}
    paths = tuple(map(str, files))
    examples = Examples(
        np.array([numbers[name] for name in names], np.int64),
        labels,
        ImageFiles(paths, image_size),
        paths=paths,
        keys=tuple(file.relative_to(root).as_posix() for file in files),
    )
    return Listing(f"'{root}'", examples, None if "" in folders else np.array(parts))


def part_folders(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """Finds the folder of each part.

    Args:
        root: Path of the folder that contains `names`.
        names: sequence of str, the folders in `root`.

    Returns:
        dict from "train", "validation" and "test" to their folders; empty unless all of `names` denote parts.

    Raises:
        InputError: the names denote parts, but none is train, or two are the same part.
    """
    parts = {name: part_named(name) for name in names}
    if not parts or not all(parts.values()):
        return {}
    for part in ("train", "validation", "test"):
        same = [name for name, denoted in parts.items() if denoted == part]
        if len(same) > 1:
            raise InputError(f"'{root}' contains the folders {' and '.join(same)}, both for {part}. Keep one.")
    if "train" not in parts.values():
        raise InputError(f"'{root}' contains {', '.join(names)} but no train. Add a folder train.")
    return {part: root / name for name, part in parts.items()}


def _folders(root: Path) -> list[str]:
    if not root.exists():
        raise FileNotFoundError(f"no data at '{root}': there is no such folder.")
    if not root.is_dir():
        raise NotADirectoryError(f"'{root}' must be a folder with one folder per class, but it is a file.")
    return sorted(child.name for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    files, errors = [], []
    for parent, children, names in os.walk(folder, onerror=errors.append):
        children[:] = [child for child in children if not child.startswith(".")]
        # A link to a folder may form a loop. It is listed instead of followed, so that the scan reports it.
        names += [child for child in children if os.path.islink(os.path.join(parent, child))]
        files += [Path(parent, name) for name in names if not name.startswith(".") and name.lower() not in CLUTTER]
    files += [Path(error.filename) for error in errors]
    if not files:
        raise InputError(f"class folder '{folder}' is empty. Put images into it or remove it.")
    return sorted(files)
