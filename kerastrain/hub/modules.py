"""SavedModels by their handle: found, checked against a pin, loaded, and trusted or refused.

Takes handles as people write them (a URL, a Kaggle handle, a folder, an archive, each with an optional `#sha256=…`);
gives folders and loaded modules. tensorflow_hub resolves URLs and caches them where it always does. A module's graph
is a program, so a `.keras` file that brings or names one only opens when it is trusted. Must not build layers.
"""

import contextlib
import contextvars
import hashlib
import importlib.resources
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.hub import trust
from kerastrain.system import archives, isolated_imports
from kerastrain.system.files import atomic, surface_write_errors

ARCHIVES = (".tar.gz", ".tgz", ".tar")
_PIN = re.compile(r"^(?P<location>.*?)#sha256=(?P<sha256>[0-9a-fA-F]*)$", re.DOTALL)

_allowed = contextvars.ContextVar("kerastrain_allow_modules", default=False)
# SavedModel folders that this process has loaded on a person's word: fingerprint -> folder.
_loaded: dict[str, Path] = {}
# Folders unpacked from `.keras` files live until the process ends: tables read their vocabulary files again at export.
_unpacked: list[tempfile.TemporaryDirectory] = []


def split_pin(handle: str) -> tuple[str, str | None]:
    """The location and the pinned fingerprint of a handle.

    Args:
        handle: str, such as "models/flowers#sha256=3fc9…".

    Returns:
        (str, str | None), the location and 64 lower-case hexadecimal digits, or None where nothing is pinned.

    Raises:
        InputError: the pin is not 64 hexadecimal digits.

    Example:
        >>> split_pin("models/flowers")
        ('models/flowers', None)
    """
    match = _PIN.match(handle)
    if match is None:
        return handle, None
    if len(match["sha256"]) != 64:
        raise InputError(
            f"the pin of a handle must be `#sha256=` and 64 hexadecimal digits. Received: {handle!r}. "
            "`kerastrain doctor --backbone HANDLE` prints the right one."
        )
    return match["location"], match["sha256"].lower()


def fingerprint(folder: str | os.PathLike) -> str:
    r"""The sha256 of a SavedModel folder, of its file names and contents alone.

    The same digits come from a shell, inside the folder:
    `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum`.

    Args:
        folder: path of the SavedModel.

    Returns:
        str, 64 hexadecimal digits.

    Raises:
        InputError: a file's name holds a line break or a backslash, with which two folders could share a fingerprint.
    """
    folder = Path(folder)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    total = hashlib.sha256()
    for name in sorted(names, key=str.encode):
        if "\n" in name or "\\" in name:
            raise InputError(f"a SavedModel's files must have plain names. Received: {name!r} in {str(folder)!r}.")
        with open(folder / name, "rb") as file:
            content = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _digest(file)
        total.update(f"{content.hexdigest()}  {name}\n".encode())
    return total.hexdigest()


def resolve(handle: str | os.PathLike) -> Path:
    """The local folder of the SavedModel that `handle` names, downloaded or unpacked if need be.

    Args:
        handle: str or path: a folder; a `.tar.gz`, `.tgz` or `.tar` file; an `https://` address as tensorflow_hub
            takes it; "hub:PUBLISHER/MODEL/VERSION", which is that place on tfhub.dev;
            "kaggle:OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"; a folder on a file system that TensorFlow
            reads, such as `gs://BUCKET/FOLDER`. Any may end in `#sha256=…`, the fingerprint that the folder must have.

    Returns:
        Path of a folder with a `saved_model.pb`.

    Raises:
        FileNotFoundError: a local path does not exist.
        ConnectionError: a remote handle could not be fetched; the message names the cache folder and how to fill it.
        InputError: the folder holds no SavedModel, or its fingerprint is not the pinned one.
    """
    location, pinned = split_pin(os.fspath(handle))
    if location.startswith("hub:"):
        location = "https://tfhub.dev/" + location.removeprefix("hub:")
    if location.startswith("kaggle:"):
        location = "https://www.kaggle.com/models/" + location.removeprefix("kaggle:")
    if "://" in location:
        folder = _download(location)
    elif location.endswith(ARCHIVES):
        folder = _unpack(Path(location).expanduser())
    else:
        folder = Path(location).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"no SavedModel at {location!r}: the path does not exist.")
    if not any((folder / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        model = folder / "model.keras"
        hint = f" A run's model is {str(model)!r}." if model.is_file() else ""
        raise InputError(f"{location!r} is no SavedModel: it holds no saved_model.pb.{hint}")
    if pinned is not None and (found := fingerprint(folder)) != pinned:
        raise InputError(
            f"the module at {location!r} is not the pinned one: its sha256 is {found}, the handle says {pinned}. "
            "Do not use it unless you know why it changed."
        )
    return folder


def load(folder: str | os.PathLike, *, tags: list[str] | None = None, options: object = None) -> object:
    """The module in a SavedModel folder, as `tensorflow_hub.load` gives it; its folder counts as trusted from now on.

    Args:
        folder: path from `resolve`.
        tags: list of str, which graph of a TF1 module to take; None for its only one.
        options: tf.saved_model.LoadOptions or None.

    Returns:
        object with what the SavedModel holds: callables, `variables`, `signatures`.

    Raises:
        InputError: TensorFlow cannot read the files, or none of its graphs carries `tags`.
    """
    try:
        module = isolated_imports.tensorflow_hub().load(os.fspath(folder), tags=tags, options=options)
    except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"the SavedModel at {os.fspath(folder)!r} cannot be loaded: {reason}") from error
    _loaded[fingerprint(folder)] = Path(folder)
    return module


@contextlib.contextmanager
def allow_modules() -> Iterator[None]:
    """Lets `.keras` files that bring or name Hub modules open under Keras's safe mode inside the block.

    A module's graph is a program, which can read and write files: allow only files whose maker you trust. A module
    that this process has already loaded itself, and the ones that ship with kerastrain, need no allowing.

    Example:
        >>> with allow_modules():
        ...     model = keras.models.load_model("run/model.keras")  # doctest: +SKIP
    """
    token = _allowed.set(True)
    try:
        yield
    finally:
        _allowed.reset(token)


def check_trusted(sha256: str, source: str) -> None:
    """Refuses a module of a file that is opened in safe mode.

    Let through are modules that are allowed, that ship with kerastrain, that this process already uses, and that the
    user has trained with before (see `trust`).

    Raises:
        InputError: it is none of these; the message says how to allow it.
    """
    if _allowed.get() or known_folder(sha256) is not None or sha256 in trust.remembered():
        return
    raise InputError(
        f"this file brings the Hub module {source!r}, whose graph is a program, and safe mode is on. If you trust "
        "where the file came from, open it with `kerastrain.models.load(path, allow_modules=True)`, inside "
        "`with kerastrain.hub.modules.allow_modules():`, or with `safe_mode=False`; for a run, `kerastrain trust RUN`."
    )


def known_folder(sha256: str) -> Path | None:
    """The folder of a module that this process has loaded or that ships with kerastrain, by its fingerprint."""
    folder = _loaded.get(sha256)
    if folder is not None and folder.is_dir():
        return folder
    return next((folder for folder in bundled().values() if fingerprint(folder) == sha256), None)


def bundled() -> dict[str, Path]:
    """The SavedModels that ship with kerastrain, by name."""
    here = Path(str(importlib.resources.files("kerastrain"))).resolve()
    places = (here / "saved_models", here.parent / "saved_models")
    return {path.parent.name: path.parent for place in places for path in sorted(place.glob("*/saved_model.pb"))}


def copy(folder: str | os.PathLike, to: str | os.PathLike) -> None:
    """Copies a SavedModel folder's files into the folder `to`, which is made if it is missing."""
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the SavedModel folder {str(folder)!r} is gone, so the module cannot travel in the file. Put it back, or "
            "make the layer with `embed=False`."
        )
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = Path(to) / path.relative_to(folder)
            with surface_write_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())


def keep(folder: str | os.PathLike) -> Path:
    """A copy of a SavedModel folder that lasts as long as the process."""
    place = tempfile.TemporaryDirectory(prefix="kerastrain-module-")
    _unpacked.append(place)
    copy(folder, place.name)
    return Path(place.name)


def export(module: object) -> Path:
    """The folder of a module that was given as an object: written as a SavedModel, kept until the process ends."""
    place = tempfile.TemporaryDirectory(prefix="kerastrain-module-")
    _unpacked.append(place)
    try:
        tf.saved_model.save(module, place.name)
    except (ValueError, TypeError, AssertionError) as error:
        raise InputError(
            f"a layer around the {type(module).__qualname__} object cannot be saved, since TensorFlow cannot write it "
            f"as a SavedModel: {error} Save it yourself and give its folder as the handle."
        ) from error
    return Path(place.name)


def _digest(file) -> "hashlib._Hash":
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest


def _cache_folder() -> Path:
    return isolated_imports.tensorflow_hub_cache_folder()


def _download(location: str) -> Path:
    hub, cached = isolated_imports.tensorflow_hub(), _cache_folder() / hashlib.sha1(location.encode()).hexdigest()
    try:
        if location.startswith(("http://", "https://")) or location.endswith(ARCHIVES):
            return Path(hub.resolve(location))
        if not cached.is_dir():
            with atomic(cached) as temporary:
                _copy_remote(location, temporary)
        return cached
    except (OSError, tf.errors.OpError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ConnectionError(
            f"the module {location!r} is not in the cache and could not be fetched: {reason}. On a machine with a "
            f"network, load it once and copy the folder {cached} here, or give the path of a downloaded SavedModel; "
            "the environment variable TFHUB_CACHE_DIR moves the cache."
        ) from error


def _copy_remote(location: str, target: Path) -> None:
    # tensorflow_hub would read these in place, at every start, and nothing there could be held against a pin.
    if not tf.io.gfile.stat(location).is_directory:
        raise NotADirectoryError("it is a file, and no archive")
    for folder, _, names in tf.io.gfile.walk(location):
        inner = PurePosixPath(folder[len(location) :].strip("/"))
        if ".." in inner.parts or any(name == ".." or "/" in name for name in names):
            raise ValueError("a path in it leads out of it")
        (target / inner).mkdir(parents=True, exist_ok=True)
        for name in names:
            tf.io.gfile.copy(f"{folder.rstrip('/')}/{name}", os.fspath(target / inner / name))


def _unpack(archive: Path) -> Path:
    if not archive.is_file():
        raise FileNotFoundError(f"no archive at {str(archive)!r}: the path does not exist.")
    with open(archive, "rb") as file:
        target = _cache_folder() / _digest(file).hexdigest()
    if not target.is_dir():
        with atomic(target) as temporary:
            archives.unpack(archive, temporary)
    if (target / "saved_model.pb").is_file():
        return target
    return next((path.parent for path in sorted(target.glob("*/saved_model.pb"))), target)
