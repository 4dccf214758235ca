"""Says where the classes of a layout are, and what is left out.

Takes a `Layout`, returns words. Must not open files.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from kerastrain.data.sources import parts
from kerastrain.data.sources.folders import Folder, joined, listed, named_folders
from kerastrain.data.sources.layouts import PARTS, Layout
from kerastrain.errors import counted


def place(layout: Layout, classes: Sequence[tuple[str, Folder, Folder]] = ()) -> str:
    """Says where the classes are.

    Args:
        layout: Layout.
        classes: sequence of (part, Folder, Folder) from `class_folders`; empty if the classes are files.

    Returns:
        str, the end of a sentence such as ", in train and test (test_set)"; may be empty.
    """
    root = layout.root
    if "" not in layout.parts:
        paths = {part: layout.parts[part].relative(root) for part in PARTS if part in layout.parts}
        words = ", in " + joined([part if path.lower() == part else f"{part} ({path})" for part, path in paths.items()])
    else:
        words = "" if layout.parts[""] is root else f", in {layout.parts[''].relative(root)}"
        inside = {part for part, _, _ in classes}
        words += f", with {joined([part for part in PARTS if part in inside])} inside each" if inside - {""} else ""
    return words + (", also in folders inside them" if any(folder.folders for _, _, folder in classes) else "")


def notes(layout: Layout, classes: Sequence[tuple[str, Folder, Folder]] = ()) -> list[str]:
    """Says what is left out, and what is not seen because it lies outside.

    Args:
        layout: Layout.
        classes: sequence of (part, Folder, Folder) from `class_folders`; empty if the classes are files.

    Returns:
        list of str.
    """
    root, outer = layout.root, []
    for folder in [folder for _, _, folder in classes] or list(layout.parts.values()):
        while (folder := folder.parent) is not None and folder not in outer:
            outer.append(folder)
    outer.sort(key=lambda folder: folder.path)
    found = list(layout.notes)
    for folder in outer:
        if folder.files:
            found.append(
                f"left out {counted(len(folder.files), layout.noun)} directly in '{folder.path}', such as '{folder.files[0]}'"
            )
    empty = [Folder(f"{folder.path}/{name}", name).relative(root) for folder in outer for name in folder.empty]
    if empty:
        found.append(f"left out the {named_folders(empty)} without {layout.noun}")
    annotations = {}
    for folder in root.everything():
        for child in folder.annotations:
            annotations[child.name] = annotations.get(child.name, 0) + child.count
    found += [
        f"left out {name!r} ({counted(count, layout.noun)}), which annotates others by its name"
        for name, count in annotations.items()
    ]
    clutter = sorted({name for folder in root.everything() for name in folder.clutter})
    if clutter:
        found.append(f"did not look into the {named_folders(clutter)}")
    return found + _parts_outside(layout)


def _parts_outside(layout: Layout) -> list[str]:
    """Notes that a folder without parts is one itself, if others lie beside it."""
    path = Path(layout.root.path).resolve()
    if "" not in layout.parts or parts.part_of(path.name) is None:
        return []
    with contextlib.suppress(OSError):
        named = parts.parts_of([child.name for child in path.parent.iterdir() if child.is_dir()])
        others = sorted(name for name in named if named[name] != parts.part_of(path.name))
        if others:
            return [f"'{path.name}' is one part of '{path.parent}', whose other parts are not read: {listed(others)}"]
    return []
