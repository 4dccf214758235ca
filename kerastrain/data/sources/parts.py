"""Which part of a data set a name denotes: train, validation or test.

Takes names of folders, files and values, returns names of parts. Must not open files.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

from kerastrain.errors import InputError, unknown

_PARTS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(
        ("validation", "val", "valid", "validate", "validating", "dev", "development", "eval", "evaluation"),
        "validation",
    ),
    **dict.fromkeys(("test", "tests", "testing", "tst", "holdout", "heldout"), "test"),
}
# Words that say what a folder contains, or which version of it, and not which part.
_FILLERS = frozenset(
    ("set", "data", "dataset", "split", "part", "subset", "folder", "dir", "image", "img", "picture", "photo", "pic")
    + ("text", "file", "sample", "example", "jpg", "jpeg", "png", "raw", "original", "resized", "cropped", "processed")
    + ("preprocessed", "clean", "cleaned", "final", "full", "new", "small", "public", "private", "labeled", "seg")
)
_GLUED = re.compile(r"(.+?)(set|sets|data|dataset|images|imgs|img|files)$")
_WORDS = re.compile(r"[^\W\d_]+")


def part_named(name: str) -> str | None:
    """Maps a synonym of a part to the part.

    Args:
        name: str in any case, such as "Val" or "training".

    Returns:
        "train", "validation" or "test"; None if the name is no such synonym.

    Example:
        >>> part_named("Val"), part_named("cats"), part_named("val2017")
        ('validation', None, None)
    """
    return _PARTS.get(name.strip().lower())


def part_of(name: str) -> str | None:
    """Maps a name to the part that it denotes, also if the name says more than that.

    Args:
        name: str in any case, such as "train2017", "test_set", "ValidationImages" or "PublicTest".

    Returns:
        "train", "validation" or "test"; None if the name denotes no part, or two, or says something else besides.

    Example:
        >>> part_of("train2017"), part_of("test-set"), part_of("seg_train"), part_of("train_station")
        ('train', 'test', 'train', None)
    """
    part, others = _part_and_others(name)
    return part if part and all(word.removesuffix("s") in _FILLERS for word in others) else None


def parts_of(names: Sequence[str]) -> dict[str, str]:
    """Finds the names that denote parts among names that are listed together.

    A name with any other words, such as "letters_train", denotes a part if another name has the same words and another
    part, such as "letters_test".

    Args:
        names: sequence of str, the folders of a folder.

    Returns:
        dict from name to "train", "validation" or "test", with the names that denote parts.

    Example:
        >>> parts_of(["letters_train", "letters_test", "train_station"])
        {'letters_train': 'train', 'letters_test': 'test'}
    """
    split = {name: _part_and_others(name) for name in names}
    families = {}
    for part, others in split.values():
        if part:
            families.setdefault(others, set()).add(part)
    return {
        name: part
        for name, (part, others) in split.items()
        if part and (part_of(name) or ("train" in families[others] and len(families[others]) > 1))
    }


def mixed_with_classes(names: Sequence[str]) -> tuple[str, str] | None:
    """Finds names that say both a part and a class, such as "train_cat", "train_dog" and "test_cat".

    Args:
        names: sequence of str, the folders or files of a folder.

    Returns:
        tuple of the first such name of train and of another part; None if the names are not of this kind.
    """
    split = {name: _part_and_others(name) for name in names}
    classes = {others for part, others in split.values() if part == "train"}
    train = [name for name, (part, _) in split.items() if part == "train"]
    held_out = [name for name, (part, others) in split.items() if part not in (None, "train") and others in classes]
    return (train[0], held_out[0]) if len(classes) > 1 and held_out else None


def part_names(names: Iterable[str], *, where: str) -> np.ndarray:
    """Maps each name to the part that it denotes.

    Args:
        names: iterable of n str such as "train" and "val".
        where: str, the source of the names, for the message.

    Returns:
        array (n,) of "train", "validation" and "test".

    Raises:
        InputError: a name denotes no part.
    """
    names = list(names)
    parts = {name: part_of(name) for name in set(names)}
    invalid = next((name for name in names if parts[name] is None), None)
    if invalid is not None:
        raise InputError(f"{where}: {unknown('part', invalid, ('train', 'val', 'validation', 'test'))}")
    return np.array([parts[name] for name in names])


def _part_and_others(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Returns the part that a name contains, if it is one, and the other words of the name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFKC", name))
    joined = re.sub(r"\b(hold|held)[\W_]*out\b", "holdout", re.sub(r"_", " ", spaced.lower()))
    words = []
    for word in _WORDS.findall(joined):
        glued = _GLUED.match(word)
        words.append(glued[1] if glued and glued[1] in _PARTS else word)
    found = [word for word in words if word in _PARTS]
    if len({_PARTS[word] for word in found}) != 1:
        return None, tuple(words)
    return _PARTS[found[0]], tuple(word for word in words if word not in _PARTS)
