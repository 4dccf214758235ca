"""Names pictures after the files that they explain.

Takes paths; returns names without suffix. Must not open files or import TensorFlow.
"""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

_LONGEST = 100  # characters


def picture_names(paths: Sequence[str]) -> list[str]:
    """Names a picture after each image file, so that all names differ, also without regard to case.

    Args:
        paths: sequence of n different str.

    Returns:
        list of n str: the stem of each file, with its suffix if only that tells it from another; preceded by as many of the
        folders above as tell it from the others; else followed by a number.

    Example:
        >>> picture_names(["day1/0.png", "day2/0.png", "cat.jpg"])
        ['day1_0', 'day2_0', 'cat']
    """
    files = [Path(os.path.abspath(path)) for path in paths]
    alike = Counter((str(file.parent), file.stem.casefold()) for file in files)
    leaves = [
        file.stem if alike[str(file.parent), file.stem.casefold()] == 1 else file.name.replace(".", "_")
        for file in files
    ]
    folders = [file.parent.parts[1:] for file in files]
    names, clashing = list(leaves), _clashing(leaves)
    for depth in range(1, max(map(len, folders), default=0) + 1):
        for index in clashing:
            names[index] = "_".join((*folders[index][-depth:], leaves[index]))
        clashing = _clashing(names)
    taken = {name.casefold() for index, name in enumerate(names) if index not in set(clashing)}
    for index in clashing:
        number, name = 1, names[index]
        while name.casefold() in taken:
            number += 1
            name = f"{names[index]}_{number}"
        taken.add(name.casefold())
        names[index] = name
    return names


def _clashing(names: Sequence[str]) -> list[int]:
    indices = {}
    for index, name in enumerate(names):
        indices.setdefault(name.casefold(), []).append(index)
    return [index for same in indices.values() if len(same) > 1 for index in same]


def safe(label: str) -> str:
    """A label as a part of a file name.

    Args:
        label: str.
    """
    return "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in label)[:_LONGEST]
