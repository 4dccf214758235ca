"""A folder with one folder of images per class, or with such folders for train, validation and test.

Takes a path, returns a `Listing`. Opens no image files; of files whose suffix is unknown it reads the first bytes.
"""

import os
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import file_signatures
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.sources import class_names, folders, layout_description, layouts
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError

# A file with one of these, or with no suffix, is a broken image if it cannot be read as one.
_IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".mpo")
    + (".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif", ".avif", ".jxl", ".jp2", ".j2k", ".svg", ".psd")
    + (".eps", ".ico", ".tga", ".pcx", ".exr", ".dcm", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf")
)
# Not opened: they often lie beside every image.
_OTHER_SUFFIXES = frozenset((".txt", ".xml", ".json", ".csv", ".tsv", ".md", ".yaml", ".yml", ".npy", ".npz", ".mat"))


def listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None) -> Listing:
    """Lists the image files of a folder; the class of each image is the folder that it is in.

    The folder contains one folder per class, or folders whose names denote train, validation and test, such as train2017
    and valid, that each contain one folder per class; see `layouts.find`. The labels are the names of the class folders,
    in numerical order if all are numbers, else in alphabetical order; names that differ only by case or Unicode
    normalization are one class. Images in subfolders of a class folder belong to that class. Other files are skipped by
    their suffix, and a file with the suffix of an image, or with none, must be an image.

    Args:
        path: folder as above.
        image_size: (height, width) in pixels that every image is stretched to; None if they are only counted.

    Returns:
        Listing; its keys are the paths relative to the folder.

    Raises:
        FileNotFoundError: nothing exists at `path`.
        NotADirectoryError: `path` is a file.
        InputError: there are no class folders, or it is unclear which folders are classes.
    """
    path = Path(path).expanduser()
    folders.check(path, "one folder per class")
    root = folders.read(path, is_image)
    if not root.count and (root.others or root.empty):
        found = folders.contents(root) or "empty folders"
        raise InputError(
            f"there are no images in '{path}', only {found}. Put the images of each class into a folder named after the "
            "class, or, for texts, set data.kind=text."
        )
    layout = layouts.find(root)
    class_folders = layouts.class_folders(layout)
    rows = [(file, named.name, part) for part, named, folder in class_folders for file in folder.examples()]
    paths, names, in_parts = zip(*rows, strict=True)
    targets, labels, notes = class_names.of_files(names)
    keys = tuple(file[len(root.path) + 1 :] for file in paths)
    paths = tuple(file.removeprefix("./") for file in paths)
    return Listing(
        f"'{path}'",
        Examples(targets, labels, ImageFiles(paths, image_size), paths=paths, keys=keys),
        None if "" in in_parts else np.array(in_parts),
        layout=f"one folder of images per class{layout_description.place(layout, class_folders)}",
        notes=(*notes, *layout_description.notes(layout, class_folders), *folders.skipped(root, "images")),
    )


def is_image(path: str) -> bool:
    """Whether a file can be an image.

    Args:
        path: str, path of a file.

    Returns:
        bool, by its suffix; by its first bytes if the suffix says nothing.
    """
    suffix = folders.suffix(path)
    if not suffix or suffix in _IMAGE_SUFFIXES:
        return True
    if suffix in _OTHER_SUFFIXES or not os.path.isfile(path):  # A pipe would wait for its writer.
        return False
    try:
        with open(path, "rb") as file:
            return file_signatures.image_format(file.read(file_signatures.HEAD_BYTES)) is not None
    except OSError:
        return False
