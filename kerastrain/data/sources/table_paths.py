"""Finds the image files that a table names: by their paths, by ids without a suffix, or by paths of another machine.

Takes names and a folder, returns paths. A file that several places may hold is not guessed but refused. Lists folders;
must not open the images.
"""

import dataclasses
import difflib
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from kerastrain.data.sources.parts import part_of, parts_of
from kerastrain.data.sources.table_roles import IMAGE_SUFFIXES, is_image_name
from kerastrain.errors import InputError

_MOST_NAMED = 3
_MOST_ENTRIES = 1_000_000
_MOST_NEAR = 20
_BESIDE = re.compile(
    r"(?i)(images?|imgs?|pictures?|pics?|photos?|jpe?gs?|jpegimages|pngs?|data|train|test|val|valid|validation)"
    r"([-_ ]?(images?|imgs?|data|\d+))?"
)


@dataclasses.dataclass(frozen=True)
class Found:
    """The image files of a table.

    Args:
        paths: tuple of n str, the path of each image, also of those that do not exist.
        missing: dict from the index of each image that does not exist to the reason, the rest of a sentence about it.
        notes: tuple of str, where the images were found, unless it is where the table says.
    """

    paths: tuple[str, ...]
    missing: dict[int, str]
    notes: tuple[str, ...] = ()


def find(
    names: Sequence[str],
    root: Path,
    source: str,
    *,
    folder: str | None = None,
    suffix: str | None = None,
    stem: str = "",
    classes: Sequence[str] | None = None,
    is_required: bool = True,
) -> Found:
    r"""Finds the image file of each name.

    The names are relative to `folder`, or absolute. If most of those files do not exist, the folder of the table is
    searched: for files of that name with any suffix of images, and in place of a path that does not exist for the files
    that share the longest end with it.

    Args:
        names: sequence of n str, such as "cat/1.png", "1", or "C:\photos\1.png".
        root: Path of the folder of the table.
        source: str, the name of the table in messages.
        folder: str, the folder of the images, relative to `root`; None for `root`, or one that is found.
        suffix: str, the suffix to add to the names; None for the one that is found, if they have none.
        stem: str, the name of the table without its suffix: that of "train.csv" prefers the folder "train".
        classes: sequence of n str, the class of each image; among several files of a name, the one in the folder of that
            class is its. None if there are none.
        is_required: bool, whether at least one image must exist.

    Returns:
        Found.

    Raises:
        InputError: `folder` does not exist, no image exists, or an image may be in several places.
    """
    base, directories = root if folder is None else root / Path(folder).expanduser(), _Directories()
    if not base.is_dir():
        raise InputError(f"the folder '{base}' of `data.columns.folder` does not exist. It is relative to '{root}'.")
    suffix = suffix and f".{suffix.lstrip('.')}"
    added = [name if not suffix or name.lower().endswith(suffix.lower()) else name + suffix for name in names]
    paths = [os.path.normpath(base / name) for name in added]
    absent = [index for index, path in enumerate(paths) if not directories.has(path)]
    notes = []
    if any("\\" in added[index] for index in absent):
        for index in absent:
            paths[index] = os.path.normpath(base / added[index].replace("\\", "/"))
        read = [index for index in absent if directories.has(paths[index])]
        absent = [index for index in absent if not directories.has(paths[index])]
        notes += [f"backslashes in the image paths of {source} are read as slashes"] if read else []
    if len(absent) > len(names) / 2 or any(_is_absolute(added[index]) for index in absent):
        of_class = [classes[index] if classes else "" for index in absent]
        search = _Search([added[index] for index in absent], base, source, stem, of_class)
        for index, path in zip(absent, search.paths, strict=True):
            paths[index] = path or paths[index]
        notes += search.notes
        absent = [index for index, path in zip(absent, search.paths, strict=True) if not path]
    if is_required and len(absent) == len(names):
        raise InputError(_none(names, paths, base, source, directories))
    missing = {index: "it is missing" for index in absent}
    for index in absent[:_MOST_NEAR]:
        near = directories.near(paths[index])
        missing[index] += f", and the nearest is {near!r}" if near else ""
    return Found(tuple(paths), missing, tuple(notes))


class _Directories:
    """Which files exist; each folder is listed once, which on a network is faster than asking for each file."""

    def __init__(self):
        self._names = {}

    def has(self, path: str) -> bool:
        folder, name = os.path.split(path)
        return name in self._listed(folder)

    def near(self, path: str) -> str:
        """The most similar name in the folder, or the deepest folder that exists; "" if there is nothing like it."""
        folder, name = os.path.split(path)
        close = difflib.get_close_matches(name, sorted(self._listed(folder))[:10_000], n=1, cutoff=0.8)
        return os.path.join(folder, close[0]) if close else ""

    def _listed(self, folder: str) -> frozenset[str]:
        if folder not in self._names:
            try:
                self._names[folder] = frozenset(os.listdir(folder or "."))
            except OSError:
                self._names[folder] = frozenset()
        return self._names[folder]


class _Search:
    """Searches the folders below and beside a table for files with given names.

    A place is a folder and a suffix that turn the end of a name into the path of a file.
    """

    def __init__(self, names: Sequence[str], root: Path, source: str, stem: str, classes: Sequence[str]):
        self._root, self._source, self._stem, self._classes = root, source, stem, classes
        tails = [_parts(name) for name in names]
        places, self.notes = self._places(tails, [root]), []
        if not any(places):
            places = self._places(tails, _folders_beside(root))
        chosen = self._chosen(names, tails, places)
        chosen = _without_strangers(names, chosen)
        self.paths = [os.path.join(*place[1][1]) if place else "" for place in chosen]
        if any(self.paths):
            self.notes = [self._note([place for place in chosen if place])]

    def _places(self, tails: list, roots: Sequence[Path]) -> list[dict]:
        """Returns for each name its places at the longest end that any file shares: (folder, suffix) -> (cut, path)."""
        wanted = {_folded(tail[-1]) for tail in tails if tail}
        files = {}
        for path in _walk(roots):
            name = _folded(path[-1])
            bare, dot, suffix = name.rpartition(".")
            if name in wanted:
                files.setdefault(name, []).append((path, ""))
            if bare in wanted and f"{dot}{suffix}" in IMAGE_SUFFIXES:
                files.setdefault(bare, []).append((path, path[-1][len(path[-1]) - len(suffix) - 1 :]))
        result = []
        for tail in tails:
            best, places = 0, {}
            for path, suffix in files.get(_folded(tail[-1]), ()) if tail else ():
                shared = _shared(path, tail)
                exact = not suffix and path[len(path) - shared :] == tail[len(tail) - shared :]
                if shared > best:
                    best, places = shared, {}
                if shared == best:
                    place = (path[: len(path) - shared], suffix)
                    if exact or place not in places:
                        places[place] = (len(tail) - shared, path)
            result.append(places)
        return result

    def _chosen(self, names: Sequence[str], tails: Sequence, places: list[dict]) -> list[tuple | None]:
        cuts = Counter(cut for of_name in places for cut, _ in of_name.values())
        usual = cuts.most_common(1)[0][0] if cuts else 0
        # A file that shares less of its name with a path than those of the other rows is another one.
        places = [
            {place: (cut, path) for place, (cut, path) in of_name.items() if cut == usual or _is_absolute(name)}
            for name, of_name in zip(names, places, strict=True)
        ]
        places = [_of_class(of_name, label) for of_name, label in zip(places, self._classes, strict=True)]
        found = [of_name for of_name in places if of_name]
        if all(len(of_name) == 1 for of_name in found):
            return [next(iter(of_name.items()), None) for of_name in places]
        everywhere = [place for place in found[0] if all(place in of_name for of_name in found)]
        if len(everywhere) > 1:
            part = part_of(self._stem) or parts_of([self._stem, "train", "test"]).get(self._stem)
            alike = [place for place in everywhere if part and place[0] and part_of(place[0][-1]) == part]
            everywhere = alike if len(alike) == 1 else everywhere
        if len(everywhere) != 1:
            raise InputError(self._ambiguous(names, places))
        place = everywhere[0]
        return [(place, of_name[place]) if of_name else None for of_name in places]

    def _ambiguous(self, names: Sequence[str], places: list[dict]) -> str:
        name, several = next((name, of_name) for name, of_name in zip(names, places, strict=True) if len(of_name) > 1)
        candidates = [os.path.relpath(os.path.join(*path), self._root) for _, path in several.values()]
        shown = ", ".join(map(repr, candidates[:_MOST_NAMED])) + (", …" if len(candidates) > _MOST_NAMED else "")
        keys = []
        if len({folder for folder, _ in several}) > 1:
            keys.append("`data.columns.folder`")
        if len({suffix for _, suffix in several}) > 1:
            keys.append("`data.columns.suffix`")
        return (
            f"the image {name!r} of {self._source} may be any of {shown}. Set {' and '.join(keys)} to that of the images, "
            f"relative to '{self._root}'."
        )

    def _note(self, chosen: Sequence) -> str:
        prefixes = {folder for (folder, _), _ in chosen}
        folders = sorted(os.path.relpath(os.path.join(*folder), self._root) for folder in prefixes)
        how = []
        if folders != ["."]:
            shown = ", ".join(map(repr, folders[:_MOST_NAMED])) + (", …" if len(folders) > _MOST_NAMED else "")
            how.append(f"in {shown}")
        suffixes = sorted({suffix for (_, suffix), _ in chosen if suffix})
        how += [f"with the suffix {' or '.join(suffixes)}"] if suffixes else []
        how += ["by the ends of their paths"] if any(cut for _, (cut, _) in chosen) else []
        return f"the images of {self._source} are found {' '.join(how) or 'under names in another case'}"


def _of_class(places: dict, label: str) -> dict:
    """Returns the only place in a folder that is named after the class, if there is one among several."""
    if len(places) < 2 or not label:
        return places
    alike = {place: found for place, found in places.items() if _folded(found[1][-2]) == _folded(label)}
    return alike if len(alike) == 1 else places


def _without_strangers(names: Sequence[str], chosen: Sequence[tuple | None]) -> list[tuple | None]:
    """Drops the file of a name that shares less with it than another name does."""
    least = {}
    for place in filter(None, chosen):
        cut, path = place[1]
        least[path] = min(cut, least.get(path, cut))
    owners = {}
    for name, place in zip(names, chosen, strict=True):
        if place and place[1][0] == least[place[1][1]]:
            owners.setdefault(place[1][1], set()).add(name)
    return [
        place if place and place[1][0] == least[place[1][1]] and len(owners[place[1][1]]) == 1 else None
        for place in chosen
    ]


def _walk(roots: Sequence[Path]) -> Iterator[tuple[str, ...]]:
    """Yields the parts of the path of each file below some folders, except hidden ones. Links are followed once."""
    count, seen = 0, set()
    for root in roots:
        for parent, children, names in os.walk(root, followlinks=True):
            seen.add(os.path.realpath(parent))
            children[:] = sorted(
                child
                for child in children
                if not child.startswith(".") and os.path.realpath(os.path.join(parent, child)) not in seen
            )
            above = (parent,) if parent == str(root) else (str(root), *os.path.relpath(parent, root).split(os.sep))
            for name in sorted(names):
                yield (*above, name)
            count += len(names) + len(children)
            if count > _MOST_ENTRIES:
                return


def _folders_beside(root: Path) -> list[Path]:
    """The folders beside that of a table whose names are those of folders of images."""
    root = root.absolute()
    try:
        with os.scandir(root.parent) as entries:
            return [Path(entry.path) for entry in entries if entry.is_dir() and entry.name != root.name
                    and not entry.name.startswith(".") and _BESIDE.fullmatch(entry.name)]  # fmt: skip
    except OSError:
        return []


def _parts(name: str) -> tuple[str, ...]:
    name = re.sub(r"^file://", "", name).replace("\\", "/")
    return tuple(part for part in PurePosixPath(re.sub(r"^[A-Za-z]:", "", name)).parts if part not in ("/", ".", ".."))


def _is_absolute(name: str) -> bool:
    return bool(re.match(r"([A-Za-z]:)?[/\\]|file://", name))


def _shared(path: Sequence[str], tail: Sequence[str]) -> int:
    """Number of parts at the end that a path and a name share, the last of which is known to match."""
    shared = 1
    while shared < len(tail) and shared < len(path) - 1 and _folded(path[-1 - shared]) == _folded(tail[-1 - shared]):
        shared += 1
    return shared


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _none(names: Sequence[str], paths: Sequence[str], base: Path, source: str, directories: _Directories) -> str:
    some = ", ".join(map(repr, names[:_MOST_NAMED])) + (", …" if len(names) > _MOST_NAMED else "")
    near = next(filter(None, map(directories.near, paths[:_MOST_NEAR])), "") or _near(names[0], base)
    folder = Path(paths[0]).parent
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    if len(names[0].split()) > 3 and not is_image_name(names[0]):
        return (
            f"none of the images in {source} exists: {some}. If they are texts, set data.kind=text; paths are relative to "
            f"the folder of the table, '{base}'."
        )
    return (
        f"none of the images in {source} exists: {some}. Paths are relative to the folder of the table, '{base}', and no "
        f"folder in it has files with these names. The nearest that exists is '{near or folder}'. Correct the paths, or "
        "set `data.columns.folder` to the folder of the images."
    )


def _near(name: str, base: Path) -> str:
    """The most similar file below a folder, also if its number has other zeros in front."""
    wanted = _parts(name)[-1:] or ("",)
    files = {}
    for path in itertools.islice(_walk([base]), 10_000):
        files.setdefault(PurePosixPath(path[-1]).stem.lstrip("0"), path)
        files.setdefault(path[-1], path)
    close = difflib.get_close_matches(PurePosixPath(wanted[0]).stem.lstrip("0"), files, n=1, cutoff=0.7)
    close = close or difflib.get_close_matches(wanted[0], files, n=1, cutoff=0.7)
    return os.path.join(*files[close[0]]) if close else ""
