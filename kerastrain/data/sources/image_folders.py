"""A folder with one folder of images per class, or with such folders for train, validation and test.

Takes a path, gives a `Listing`; counts files and opens none.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError, unknown

CLUTTER = {"thumbs.db", "desktop.ini"}
_PART_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "val", "valid", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None) -> Listing:
    """The image files of a folder, each under the class whose folder it lies in.

    The folder holds one folder per class, or the folders train, validation and test (or val, valid, dev, training,
    testing), each of which does. The labels are the class folders' names in alphabetical order. Folders inside a class
    folder belong to the class. Hidden files, Thumbs.db and desktop.ini are passed over; every other file must be an
    image.

    Args:
        path: folder as above.
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.

    Returns:
        Listing, its keys the paths relative to the folder.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        NotADirectoryError: `path` is a file.
        InputError: no class folders, or a class folder without files.
    """
    root = Path(path).expanduser()
    places = part_folders(root, _folders(root)) or {"": root}
    found = []
    for part, folder in places.items():
        classes = _folders(folder)
        if not classes:
            raise InputError(
                f"'{folder}' holds no folders. Put the images of each class into a folder named like the class."
            )
        found += [(file, name, part) for name in classes for file in _files(folder / name)]
    files, names, parts = zip(*found, strict=True)
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
    return Listing(f"'{root}'", examples, None if "" in places else np.array(parts))


def part_named(name: str) -> str | None:
    """The part that a name stands for, such as "validation" for "val", or None.

    Example:
        >>> part_named("Val"), part_named("cats")
        ('validation', None)
    """
    return _PART_NAMES.get(name.lower())


def checked_marks(names: Iterable[str], *, where: str) -> np.ndarray:
    """The part that each of `names` stands for.

    Args:
        names: n str such as "train" and "val".
        where: str, where they stand, for the message.

    Returns:
        array (n,) of "train", "validation" and "test".

    Raises:
        InputError: a name stands for no part.
    """
    parts = [part_named(name.strip()) for name in names]
    strange = next((name for name, part in zip(names, parts, strict=True) if part is None), None)
    if strange is not None:
        raise InputError(f"{where}: {unknown('part', strange, _PART_NAMES)}")
    return np.array(parts)


def part_folders(root: Path, names: Sequence[str]) -> dict[str, Path]:
    """The folders, or files without their suffix, of the parts by their names; empty where `names` are no parts.

    Raises:
        InputError: the names are of parts, and no one is train, or two are the same part.
    """
    parts = {name: part_named(name) for name in names}
    if not parts or not all(parts.values()):
        return {}
    for part in ("train", "validation", "test"):
        same = [name for name, found in parts.items() if found == part]
        if len(same) > 1:
            raise InputError(f"'{root}' holds the folders {' and '.join(same)}, both for {part}. Keep one.")
    if "train" not in parts.values():
        raise InputError(f"'{root}' holds {', '.join(names)} and no train. Add a folder train.")
    return {part: root / name for name, part in parts.items()}


def _folders(root: Path) -> list[str]:
    if not root.exists():
        raise FileNotFoundError(f"no data at '{root}': there is no such folder.")
    if not root.is_dir():
        raise NotADirectoryError(f"'{root}' must be a folder with one folder per class, and it is a file.")
    return sorted(child.name for child in root.iterdir() if child.is_dir() and not child.name.startswith("."))


def _files(folder: Path) -> list[Path]:
    found, unopened = [], []
    for parent, children, names in os.walk(folder, onerror=unopened.append):
        children[:] = [child for child in children if not child.startswith(".")]
        # A link to a folder may lead back here. It is not followed but listed, so that the scan tells of it.
        names += [child for child in children if os.path.islink(os.path.join(parent, child))]
        found += [Path(parent, name) for name in names if not name.startswith(".") and name.lower() not in CLUTTER]
    found += [Path(fault.filename) for fault in unopened]
    if not found:
        raise InputError(f"class folder '{folder}' is empty. Put images into it or remove it.")
    return sorted(found)
