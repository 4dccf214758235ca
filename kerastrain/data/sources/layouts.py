"""The layout of a folder of examples: which folders are parts, which are classes, and which are neither.

Takes a `Folder`, returns a `Layout`, or refuses a layout that can be read in two ways. Must not open files.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NoReturn

from kerastrain.data.sources import parts
from kerastrain.data.sources.class_names import folded
from kerastrain.data.sources.folders import CONTAINERS, Folder, listed, named_folders, named_with_count
from kerastrain.errors import InputError, counted

PARTS = ("train", "validation", "test")
_TABLES = (".csv", ".tsv", ".parquet")


@dataclasses.dataclass(frozen=True)
class Layout:
    """How a folder is understood.

    Args:
        root: Folder that was asked for.
        noun: "images" or "texts", what an example is.
        parts: dict from "train", "validation" and "test" to Folder; from "" to one Folder if there are no parts.
        notes: list of str, what was left out.
    """

    root: Folder
    noun: str
    parts: dict[str, Folder]
    notes: list[str]


def find(root: Folder, noun: Literal["images", "texts"] = "images") -> Layout:
    """Finds the parts of a folder.

    | the folder contains | it is read as |
    |---|---|
    | folders whose names denote parts, with folders in each | parts; other folders beside them are left out |
    | a held-out part without folders of classes | left out, since the classes are unknown |
    | one folder that contains the above | that folder, also inside each part |
    | anything else | no parts |

    Args:
        root: Folder with examples at some depth.
        noun: "images" or "texts", what an example is. A text file can hold all examples of a class, so that a part needs
            no folders.

    Returns:
        Layout.

    Raises:
        InputError: two folders are the same part, a part has no folders of classes, or it is unclear whether a folder is
            a part or a class.
    """
    top, classes_are_files = _unwrapped(root), noun == "texts"
    named = parts.parts_of([folder.name for folder in top.folders])
    candidates = [folder for folder in top.folders if folder.name in named]
    others = [folder for folder in top.folders if folder.name not in named]
    holding = [folder for folder in candidates if _holds_folders(folder)]
    kinds = set(named.values())
    mixed = parts.mixed_with_classes([folder.name for folder in top.folders if not folder.folders])
    if mixed:
        raise InputError(
            f"the folders {mixed[0]!r} and {mixed[1]!r} of '{top.path}' are named after both a part and a class. Put the "
            "class folders into folders train, validation and test."
        )
    if not candidates or (not holding and others and not {"train"} < kinds):
        notes = _named_like_parts(top, candidates, others) if candidates else []
        return Layout(root, noun, {"": top}, notes)
    held = {named[folder.name] for folder in holding}
    doubled = [folder for folder in candidates if folder not in holding and named[folder.name] in held]
    by_part = _assigned([folder for folder in candidates if folder not in doubled], named, top)
    if set(by_part) == {"train"}:
        _check_neighbours(top, by_part["train"], others)
    if "train" not in by_part and (others or not (holding or classes_are_files)):
        raise InputError(
            f"'{top.path}' contains {', '.join(folder.name for folder in candidates)} but no train. Add a folder train."
        )
    known, unknown = set(), []
    if "train" in by_part:
        train = by_part["train"] = _unwrapped(by_part["train"], inside_part=True)
        if not classes_are_files and not _holds_folders(train) and len(train.folders) != 1:
            _refuse_flat(train, root, noun)
        known = {folded(child.name) for child in train.folders}
    for part in [part for part in by_part if part != "train"]:
        if not (len(by_part[part].folders) == 1 and folded(by_part[part].folders[0].name) in known):
            by_part[part] = _unwrapped(by_part[part], inside_part=True)
        if _is_unlabelled(by_part[part], known, classes_are_files):
            unknown.append(by_part.pop(part))
    if not by_part:
        _refuse_flat(unknown[0], root, noun)
    notes = [
        f"left out {named_with_count(folder, root, noun)}, whose classes are unknown" for folder in [*doubled, *unknown]
    ]
    notes += [f"left out {named_with_count(folder, root, noun)}, which is no part" for folder in others]
    return Layout(root, noun, by_part, notes)


def class_folders(layout: Layout) -> list[tuple[str, Folder, Folder]]:
    """Finds the class folders of a layout in which each file is an example.

    Args:
        layout: Layout.

    Returns:
        list of (part, Folder named like the class, Folder with its examples), in the order of their paths; the part is ""
        if there are no parts. The two folders differ if the parts are inside the classes.

    Raises:
        InputError: there are no folders, or they do not look like classes.
    """
    found = []
    for part, folder in layout.parts.items():
        inside = _parts_inside(folder.folders) if not part else None
        if inside:
            return inside
        found += [(part, child, child) for child in _classes(folder, layout)]
    return found


def _refuse_flat(folder: Folder, root: Folder, noun: str) -> NoReturn:
    """Refuses a folder whose examples are in no class folder; names a table, if there is one."""
    names = [f"{inner.path}/{name}" for inner in root.everything() for name in inner.others if name.endswith(_TABLES)]
    names.sort(key=lambda name: ("submission" in name.lower(), name))
    table = f", or, if '{names[0]}' is a table of the classes, set data.path to it" if names else ""
    one = (
        f" If '{folder.path}' is itself a class, give the folder around it." if folder is root and folder.files else ""
    )
    files = f" Received: {counted(len(folder.files), noun)}, such as '{folder.files[0]}'." if any(folder.files) else ""
    raise InputError(
        f"'{folder.path}' contains no folders. Put the {noun} of each class into a folder named after the class{table}."
        f"{one}{files}"
    )


def _unwrapped(folder: Folder, *, inside_part: bool = False) -> Folder:
    """Goes into a folder as long as everything is in one folder of it, such as flowers/flowers/rose/1.png."""
    while len(folder.folders) == 1 and _holds_folders(folder.folders[0]):
        if not inside_part and parts.part_of(folder.folders[0].name):
            break
        folder = folder.folders[0]
    return folder


def _holds_folders(folder: Folder) -> bool:
    """Whether a folder consists of folders, apart from stray files."""
    return bool(folder.folders) and (not folder.files or len(folder.folders) > 1)


def _assigned(candidates: Sequence[Folder], named: Mapping[str, str], top: Folder) -> dict[str, Folder]:
    names = [folder.name for folder in candidates]
    for part in PARTS:
        same = [name for name in names if named[name] == part]
        if len(same) > 1:
            raise InputError(f"'{top.path}' contains the folders {' and '.join(same)}, both for {part}. Keep one.")
    return {named[folder.name]: folder for folder in candidates}


def _check_neighbours(top: Folder, train: Folder, others: Sequence[Folder]) -> None:
    """Refuses a single part beside folders that may be classes, because it may be a class, too."""
    others = [other.name for other in others]
    if others:
        raise InputError(
            f"'{top.path}' contains {train.name!r}, which looks like the training part, beside the {named_folders(others)}, "
            f"which may be classes. Set data.path to '{train.path}', or, if {train.name!r} is a class, put its "
            "files directly into it."
        )


def _named_like_parts(top: Folder, candidates: Sequence[Folder], others: Sequence[Folder]) -> list[str]:
    """Notes about class folders with the name of a part; refuses a held-out part beside several classes."""
    name = candidates[0].name
    if len(others) > 1 and parts.part_of(name) != "train":
        raise InputError(
            f"'{top.path}' contains {name!r}, whose files are in no class folder, beside the classes "
            f"{listed([other.name for other in others])}. Move it elsewhere, or, if it is a class, rename it."
        )
    return [f"the folder {folder.name!r} is read as a class, because no folders are in it" for folder in candidates]


def _is_unlabelled(folder: Folder, known: set[str], classes_are_files: bool) -> bool:
    """Whether the files of a held-out part are in no class folder, such as test/1.png or test/images/1.png."""
    if not folder.folders:
        stems = {folded(os.path.splitext(name)[0]) for name in folder.files}
        return not classes_are_files or (bool(known) and not stems & known)
    name = folder.folders[0].name
    return len(folder.folders) == 1 and folded(name) not in known and _holds_any_class(folder.folders[0])


def _holds_any_class(folder: Folder) -> bool:
    """Whether a folder is named like one for examples of all classes, such as images or test/test."""
    around = folder.parent.name if folder.parent else ""
    return (
        folder.name.lower() in CONTAINERS
        or parts.part_of(folder.name) is not None
        or folded(folder.name) == folded(around)
    )


def _parts_inside(classes: Sequence[Folder]) -> list[tuple[str, Folder, Folder]] | None:
    """Returns the parts of each class where every class folder holds folders of parts, such as cat/train/1.png."""
    found = []
    for folder in classes:
        named = parts.parts_of([child.name for child in folder.folders])
        is_divided = not folder.files and len(named) == len(folder.folders) and "train" in named.values()
        if not is_divided or len(set(named.values())) < len(named) or any(child.folders for child in folder.folders):
            return None
        found += [(named[child.name], folder, child) for child in folder.folders]
    return found if len({part for part, _, _ in found}) > 1 else None


def _classes(folder: Folder, layout: Layout) -> list[Folder]:
    """Returns the class folders in a folder, after checking that they look like classes."""
    classes = folder.folders
    if not classes:
        _refuse_flat(folder, layout.root, layout.noun)
    if len(classes) == 1 and _holds_any_class(classes[0]) and not classes[0].folders:
        _refuse_flat(classes[0], layout.root, layout.noun)
    for child in classes:
        named = parts.parts_of([inner.name for inner in child.folders])
        if "train" in named.values() and (len(set(named.values())) > 1 or len(child.folders) == 1):
            raise InputError(
                f"'{child.path}' contains {listed(list(named))}, so it is no class but a data set of its own. Set data.path to "
                "it, or keep only class folders."
            )
    _check_names_inside(folder, classes)
    return classes


def _check_names_inside(folder: Folder, classes: Sequence[Folder]) -> None:
    """Refuses folders that hold folders of the same names, which are more likely parts than classes."""
    beside = {folded(child.name) for child in classes}
    inside = {child: {folded(inner.name): inner.name for inner in _unwrapped(child).folders} for child in classes}
    inside = {child: names for child, names in inside.items() if len(names) > 1}
    for child, names in inside.items():
        shared = names.keys() & beside
        if len(shared) > 1:
            raise InputError(
                f"'{child.path}' holds folders with the names of those beside it, {_some(names, shared)}. Move it "
                "elsewhere, or set data.path to it."
            )
    for first, second in itertools.combinations([child for child in inside if not child.files], 2):
        shared = inside[first].keys() & inside[second].keys()
        if len(shared) > 1:
            raise InputError(
                f"the folders {first.name!r} and {second.name!r} of '{folder.path}' hold folders of the same names, "
                f"{_some(inside[first], shared)}, so either may be the classes. Name parts train, validation and test, and "
                "put the files of a class directly into its folder."
            )


def _some(names: Mapping[str, str], shared: Iterable[str]) -> str:
    return listed(sorted(names[key] for key in shared))
