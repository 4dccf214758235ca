"""What a folder contains: the files that can be examples, and the others.

Takes a path and a rule for files, returns a tree of `Folder`. Must not know classes or parts.
"""

import dataclasses
import difflib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from kerastrain.data.image_files import file_signatures
from kerastrain.errors import counted

# Files and folders that programs leave everywhere, besides the hidden ones.
_CLUTTER_FILES = {"thumbs.db", "desktop.ini", "_ds_store", "icon\r", "ehthumbs.db"}
_CLUTTER_FOLDERS = {"__macosx", "@eadir", "__pycache__", "lost+found", "$recycle.bin", "system volume information"}
# Folders of examples of any class, and of annotations of them.
CONTAINERS = {"images", "image", "imgs", "img", "jpegimages", "pictures", "photos", "jpg", "png", "texts", "documents"}
CONTAINERS |= {"data", "dataset", "all", "files", "unknown", "unlabeled", "unlabelled", "samples", "frames"}
_ANNOTATIONS = {"annotations", "annotation", "labels", "masks", "segmentations", "ground_truth", "groundtruth"}
_ANNOTATIONS |= {"segmentationclass", "segmentationobject", "imagesets", "trimaps", "bounding_boxes"}
_ABOUT = {"readme", "license", "licence", "repo_license", "copying", "changelog", "authors", "makefile"}
_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")
_MOST_SUFFIXES = 6
_MOST_FOLDERS = 5


@dataclasses.dataclass(eq=False)
class Folder:
    """A folder and what is in it.

    Attributes:
        path: str, its path.
        name: str, its name.
        parent: Folder, or None for the one that was asked for.
        files: list of str, the names of its files that can be examples, sorted; "" stands for the folder itself if it
            cannot be read.
        folders: list of Folder, those that hold examples at any depth, by name.
        annotations: list of Folder, those whose files look like examples but annotate others, by their names.
        others: list of str, the names of its other files.
        empty: list of str, the names of the folders in it that hold no examples.
        clutter: list of str, the names of the folders in it that were not looked into: hidden ones, those of archive
            programs, and links that lead back.
        count: int, the number of examples in it at any depth.
    """

    path: str
    name: str
    parent: "Folder | None" = None
    files: list[str] = dataclasses.field(default_factory=list)
    folders: list["Folder"] = dataclasses.field(default_factory=list)
    annotations: list["Folder"] = dataclasses.field(default_factory=list)
    others: list[str] = dataclasses.field(default_factory=list)
    empty: list[str] = dataclasses.field(default_factory=list)
    clutter: list[str] = dataclasses.field(default_factory=list)
    count: int = 0

    def everything(self) -> Iterator["Folder"]:
        """Iterates over the folder and those in it that hold examples, at any depth.

        Yields:
            Folder.
        """
        pending = [self]
        while pending:
            folder = pending.pop()
            yield folder
            pending += folder.folders

    def examples(self) -> list[str]:
        """Returns the paths of the examples, at any depth, in the order of their folders and names."""
        found = [
            os.path.join(folder.path, name) if name else folder.path
            for folder in self.everything()
            for name in folder.files
        ]
        return sorted(found, key=lambda path: path.replace(os.sep, "\0"))  # folder by folder

    def relative(self, root: "Folder") -> str:
        """Returns its path relative to a folder around it.

        Args:
            root: Folder.

        Returns:
            str, with slashes.
        """
        return Path(os.path.relpath(self.path, root.path)).as_posix()


def read(path: str | os.PathLike, is_example: Callable[[str], bool]) -> Folder:
    """Reads a folder and all folders in it. Links to folders are followed unless they lead back.

    Args:
        path: path of an existing folder.
        is_example: callable that takes the path of a file and returns whether it can be an example. It is not asked about
            hidden files and those that systems leave everywhere.

    Returns:
        Folder.

    Raises:
        OSError: the folder itself cannot be read.
    """
    root = Folder(os.fspath(path), Path(path).resolve().name)
    read_folders, pending, others = [], [root], {}
    while pending:
        folder = pending.pop()
        read_folders.append(folder)
        try:
            with os.scandir(folder.path) as entries:
                entries = sorted(entries, key=lambda entry: entry.name)
        except OSError:
            if folder is root:
                raise
            folder.files.append("")  # So that the scan reports it.
            continue
        for entry in entries:
            if not _is_folder(entry):
                is_listed = not is_clutter(entry.name) and is_example(entry.path)
                (folder.files if is_listed else folder.others).append(entry.name)
            elif (
                entry.name.startswith(".")
                or entry.name.lower() in _CLUTTER_FOLDERS
                or (entry.is_symlink() and _leads_back(entry.path, folder))
            ):
                folder.clutter.append(entry.name)
            else:
                child = Folder(entry.path, entry.name, folder)
                others.setdefault(id(folder), []).append(child)
                pending.append(child)
    for folder in reversed(read_folders):  # Those inside a folder come after it.
        children = others.get(id(folder), [])
        folder.folders = [child for child in children if child.count]
        folder.annotations = _annotations(folder)
        folder.folders = [child for child in folder.folders if child not in folder.annotations]
        folder.empty = [child.name for child in children if not child.count]
        folder.others += [name for child in children if not child.count for name in child.others]
        folder.count = len(folder.files) + sum(child.count for child in folder.folders)
    return root


def is_clutter(name: str) -> bool:
    """Whether a file is hidden, or one that a system leaves everywhere, or describes the data.

    Args:
        name: str, the name of a file.

    Returns:
        bool.
    """
    stem = os.path.splitext(name)[0].lower()
    return (
        name.startswith(".")
        or name.lower() in _CLUTTER_FILES
        or (stem in _ABOUT and suffix(name) in ("", ".md", ".txt", ".rst"))
    )


def suffix(name: str) -> str:
    """Suffix of a file.

    Args:
        name: str, the name or path of a file.

    Returns:
        str in lower case such as ".jpg"; "" if the name has none.
    """
    found = os.path.splitext(name)[1].strip().lower()
    return "" if found == "." else found


def check(path: Path, expected: str, *, noun: str = "data") -> None:
    """Checks that a path is a folder.

    Args:
        path: Path.
        expected: str, what the folder must contain, for the message.
        noun: str, what is looked for, for the message.

    Raises:
        FileNotFoundError: nothing exists at `path`; the message names what does, if the names are similar.
        NotADirectoryError: `path` is a file.
    """
    if path.is_dir():
        return
    if os.path.lexists(path):
        raise NotADirectoryError(f"'{path}' must be a folder with {expected}, but it is {_file(path)}")
    around = path.parent
    names = os.listdir(around) if around.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1) or [n for n in names if n.lower() == path.name.lower()]
    raise FileNotFoundError(
        f"no {noun} at '{path}': there is no such folder." + (f" Did you mean '{around / near[0]}'?" if near else "")
    )


def contents(folder: Folder) -> str:
    """Counts the files that are no examples, by suffix.

    Args:
        folder: Folder; those in it count, too.

    Returns:
        str such as "12 .xml and 1 Thumbs.db"; "" if there are none.
    """
    names = [name for inner in folder.everything() for name in inner.others]
    counts = sorted(Counter(map(_kind, names)).items(), key=lambda item: (-item[1], item[0].lower()))
    shown = [f"{count:,} {kind}" for kind, count in counts[:_MOST_SUFFIXES]]
    rest = sum(count for _, count in counts[_MOST_SUFFIXES:])
    return joined([*shown, f"{rest:,} others"] if rest else shown)


def skipped(folder: Folder, noun: str) -> list[str]:
    """Notes about the files that are no examples.

    Args:
        folder: Folder; those in it count, too.
        noun: str, what an example is, such as "images".

    Returns:
        list of one str, or none.
    """
    counted = contents(folder)
    return [f"skipped files that are no {noun} by their names: {counted}"] if counted else []


def listed(names: Sequence[str]) -> str:
    """Joins names for a sentence, and leaves out all but the first few.

    Args:
        names: sequence of str, not empty.

    Returns:
        str such as "'a', 'b' and 'c'".
    """
    shown = [f"'{name}'" for name in names[:_MOST_FOLDERS]]
    return joined([*shown, f"{len(names) - _MOST_FOLDERS:,} more"] if len(names) > _MOST_FOLDERS else shown)


def joined(words: Sequence[str]) -> str:
    """Joins words for a sentence.

    Args:
        words: sequence of str.

    Returns:
        str such as "a, b and c".
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else ""


def named_folders(names: Sequence[str]) -> str:
    """Names folders in a sentence.

    Args:
        names: sequence of str, not empty.

    Returns:
        str such as "folders 'a' and 'b'".
    """
    return f"{'folder' if len(names) == 1 else 'folders'} {listed(names)}"


def named_with_count(folder: Folder, root: Folder, noun: str) -> str:
    """Names a folder in a sentence, with the number of examples in it.

    Args:
        folder: Folder.
        root: Folder that its path is relative to.
        noun: str, the plural of what an example is, such as "images".

    Returns:
        str such as "'test' (3 images)".
    """
    return f"{folder.relative(root)!r} ({counted(folder.count, noun)})"


def _kind(name: str) -> str:
    if name.lower() in _CLUTTER_FILES | {".ds_store"} or os.path.splitext(name)[0].lower() in _ABOUT:
        return name.strip()
    return "hidden" if name.startswith(".") else suffix(name) or "without a suffix"


def _file(path: Path) -> str:
    """Says what kind of file is at a path, and what to do with it, the rest of a sentence."""
    if not path.exists():
        return "a link to nothing. Repair it."
    if not path.is_file():
        return "a pipe, a socket or a device. Give a folder."
    if path.name.lower().endswith(_ARCHIVES):
        return "an archive. Unpack it and give the folder."
    with open(path, "rb") as file:
        if file_signatures.image_format(file.read(file_signatures.HEAD_BYTES)):
            return "one image. Give the folder that contains the folders of the classes."
    return "a file."


def _annotations(folder: Folder) -> list[Folder]:
    """Returns the folders in a folder that annotate what lies beside them, such as images/ and masks/."""
    named = [child for child in folder.folders if child.name.lower() in _ANNOTATIONS]
    beside = [child.name.lower() for child in folder.folders if child not in named]
    return named if folder.files or len(beside) > 1 or set(beside) & CONTAINERS else []


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _leads_back(path: str, folder: Folder) -> bool:
    """Whether a link to a folder leads to a folder that it lies in, so that following it would not end."""
    target = os.path.realpath(path)
    while folder is not None:
        around = os.path.realpath(folder.path)
        if around == target or around.startswith(target.rstrip(os.sep) + os.sep):
            return True
        folder = folder.parent
    return False
