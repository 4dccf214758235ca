"""Finds, verifies and loads SavedModels by their handle, and refuses those that are not trusted.

Takes handles (a URL, a Kaggle handle, a folder or an archive, each with an optional `#sha256=…`); returns folders and
loaded modules. tensorflow_hub downloads URLs into its own cache. A module's graph is a program, so a `.keras` file that
contains or names one opens only if the module is trusted. Must not build layers.
"""

import contextlib
import contextvars
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import tensorflow as tf

from kerastrain.errors import InputError
from kerastrain.hub import cache, operations, trust
from kerastrain.hub.bundled import bundled
from kerastrain.hub.handles import ARCHIVES, check_saved_model, refuse_page, split_pin
from kerastrain.system import archives, isolated_imports
from kerastrain.system.files import atomic, surface_write_errors

_TF1_FILE = "tfhub_module.pb"  # by which tensorflow_hub recognizes a module of TF1

_allowed = contextvars.ContextVar("kerastrain_allow_modules", default=False)
# SavedModel folders that the user of this process has loaded by their handles: fingerprint -> folder.
_loaded: dict[str, Path] = {}
# Folders unpacked from `.keras` files are kept until the process ends: tables read their vocabulary files again at export.
_unpacked: list[tempfile.TemporaryDirectory] = []


def fingerprint(folder: str | os.PathLike) -> str:
    r"""The sha256 of a SavedModel folder, computed from its file names and contents.

    A shell computes the same digits inside the folder:
    `find . -type f -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum | sha256sum`.

    Args:
        folder: path of the SavedModel.

    Returns:
        str, 64 hexadecimal digits.

    Raises:
        InputError: a file name contains a line break or a backslash, which would let two folders share a fingerprint.
    """
    folder = Path(folder)
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    total = hashlib.sha256()
    for name in sorted(names, key=str.encode):
        if "\n" in name or "\\" in name:
            raise InputError(
                f"the file names of a SavedModel must not contain line breaks or backslashes. Received: {name!r} in "
                f"{str(folder)!r}."
            )
        with open(folder / name, "rb") as file:
            content = hashlib.file_digest(file, "sha256") if hasattr(hashlib, "file_digest") else _digest(file)
        total.update(f"{content.hexdigest()}  {name}\n".encode())
    return total.hexdigest()


def resolve(handle: str | os.PathLike) -> Path:
    """The local folder of the SavedModel of a handle, downloaded or unpacked if necessary.

    Args:
        handle: str or path: a folder; a `.tar.gz`, `.tgz` or `.tar` file; an `https://` URL that tensorflow_hub
            understands; "hub:PUBLISHER/MODEL/VERSION" for a module of tfhub.dev;
            "kaggle:OWNER/MODEL/FRAMEWORK/VARIATION/VERSION"; or a folder on a file system that TensorFlow reads, such as
            `gs://BUCKET/FOLDER`. Each may end in `#sha256=…`, the fingerprint that the folder must have.

    Returns:
        Path of a folder with a `saved_model.pb`.

    Raises:
        FileNotFoundError: a local path does not exist.
        ConnectionError: a remote handle could not be downloaded; the message names the cache folder and how to fill it.
        InputError: the folder holds no SavedModel, or its fingerprint differs from the pinned one.
    """
    location, pinned = split_pin(os.fspath(handle))
    location = cache.address(location)
    if "://" in location:
        refuse_page(location)
        folder = _download(location)
    elif location.endswith(ARCHIVES):
        folder = _unpack(Path(location).expanduser())
    else:
        folder = Path(location).expanduser()
    check_saved_model(folder, location)
    if pinned is not None and (sha256 := fingerprint(folder)) != pinned:
        raise InputError(
            f"the module at {location!r} is not the pinned one: its sha256 is {sha256}, the handle says {pinned}. "
            "Do not use it unless you know why it changed."
        )
    return folder


def load(folder: str | os.PathLike, *, tags: list[str] | None = None, options: object = None) -> object:
    """Loads the module in a SavedModel folder as `tensorflow_hub.load` does; this process trusts it afterwards.

    tensorflow_hub itself, which imports tf_keras, is needed only for downloads.

    Args:
        folder: path from `resolve`.
        tags: list of str, the tags of the graph of a TF1 module to load; None for its only graph.
        options: tf.saved_model.LoadOptions or None.

    Returns:
        object with the contents of the SavedModel: callables, `variables`, `signatures`.

    Raises:
        InputError: TensorFlow cannot read the files, or none of its graphs has these `tags`.
        MissingExtra: the module needs operations of tensorflow_text, which is not installed.
    """
    path = os.fspath(folder)
    is_tf1 = Path(path, _TF1_FILE).is_file()
    tags = [] if tags is None and is_tf1 else tags
    try:
        module = operations.load(lambda: tf.saved_model.load(path, tags=tags, options=options), path)
    except InputError:
        raise
    except (tf.errors.OpError, OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        advice = ""
        if _cache_folder() in Path(folder).absolute().parents:
            advice = f" The folder is a cached copy, and may be damaged: delete {path!r} to fetch it again."
        raise InputError(f"the SavedModel at {path!r} cannot be loaded: {reason}{advice}") from error
    module._is_hub_module_v1 = is_tf1  # as tensorflow_hub does
    _loaded[fingerprint(folder)] = Path(folder)
    return module


@contextlib.contextmanager
def allow_modules() -> Iterator[None]:
    """Lets `.keras` files with Hub modules open under Keras's safe mode inside the block.

    A module's graph is a program that can read and write files: allow only files from authors whom you trust. Modules
    that this process has already loaded, and those that ship with kerastrain, are always allowed.

    Yields:
        None.

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
    """Refuses an unknown module of a file that is opened in safe mode.

    Accepted are modules inside `allow_modules`, modules that ship with kerastrain, modules that this process has loaded,
    and modules that the user has trained with before (see `trust`).

    Args:
        sha256: str, 64 hexadecimal digits, the module's fingerprint.
        source: str, the module's handle, for the message.

    Raises:
        InputError: the module is none of these; the message says how to allow it.
    """
    if _allowed.get() or known_folder(sha256) is not None or sha256 in trust.remembered():
        return
    raise InputError(
        f"this file contains the Hub module {source!r}, whose graph is a program, and safe mode is on. If you trust "
        "the author of the file, open it with `kerastrain.models.load(path, allow_modules=True)`, inside "
        "`with kerastrain.hub.modules.allow_modules():`, or with `safe_mode=False`; for a run, `kerastrain trust RUN`."
    )


def known_folder(sha256: str) -> Path | None:
    """The folder of a module that this process has loaded or that ships with kerastrain.

    Args:
        sha256: str, 64 hexadecimal digits, the module's fingerprint.

    Returns:
        Path of the SavedModel folder, or None if there is no such module.
    """
    folder = _loaded.get(sha256)
    if folder is not None and folder.is_dir():
        return folder
    return next((folder for folder in bundled().values() if fingerprint(folder) == sha256), None)


def copy(folder: str | os.PathLike, to: str | os.PathLike) -> None:
    """Copies the files of a SavedModel folder.

    Args:
        folder: path of the SavedModel.
        to: path of the target folder, which is created if it does not exist.

    Raises:
        FileNotFoundError: `folder` does not exist.
        WriteError: a file cannot be written.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"the SavedModel folder {str(folder)!r} no longer exists, so the module cannot be saved in the file. Restore "
            "it, or create the layer with `embed=False`."
        )
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            target = Path(to) / path.relative_to(folder)
            with surface_write_errors(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())


def keep(folder: str | os.PathLike) -> Path:
    """Copies a SavedModel folder to a temporary folder that exists until the process ends.

    Args:
        folder: path of the SavedModel.

    Returns:
        Path of the copy.
    """
    temporary = tempfile.TemporaryDirectory(prefix="kerastrain-module-")
    _unpacked.append(temporary)
    copy(folder, temporary.name)
    return Path(temporary.name)


def export(module: object) -> Path:
    """Saves a module object to a temporary folder that exists until the process ends.

    Args:
        module: object that TensorFlow can save, such as a loaded module or a tf.Module.

    Returns:
        Path of the SavedModel folder.

    Raises:
        InputError: TensorFlow cannot save the object.
    """
    temporary = tempfile.TemporaryDirectory(prefix="kerastrain-module-")
    _unpacked.append(temporary)
    try:
        tf.saved_model.save(module, temporary.name)
    except (ValueError, TypeError, AssertionError) as error:
        raise InputError(
            f"a layer around the {type(module).__qualname__} object cannot be saved, since TensorFlow cannot write it "
            f"as a SavedModel: {error} Save it yourself and pass its folder as the handle."
        ) from error
    return Path(temporary.name)


def _digest(file) -> "hashlib._Hash":
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest


def _cache_folder() -> Path:
    return isolated_imports.tensorflow_hub_cache_folder()


def _download(location: str) -> Path:
    cached = _cache_folder() / hashlib.sha1(location.encode()).hexdigest()
    missing = cache.lacking(cached) if cached.is_dir() and any(cached.iterdir()) else None
    if missing is None and cached.is_dir() and any(cached.iterdir()):
        return cached
    try:
        with cache.set_aside(cached):
            cache.remove_stale_lock(cached)
            if location.startswith(("http://", "https://")) or location.endswith(ARCHIVES):
                folder = Path(isolated_imports.tensorflow_hub().resolve(location))
            else:
                folder = cached
                with atomic(cached) as temporary:
                    _copy_remote(location, temporary)
    except (OSError, tf.errors.OpError, ValueError) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        state = f"incomplete in the cache: {cached} lacks {missing}. It" if missing else "not in the cache and"
        raise ConnectionError(
            f"the module {location!r} is {state} could not be downloaded: {reason}. {cache.route(cached)}"
        ) from error
    if folder == cached:
        cache.record(folder)
    return folder


def _copy_remote(location: str, target: Path) -> None:
    # tensorflow_hub would read these in place at every start, where the files cannot be verified against a pin.
    if not tf.io.gfile.stat(location).is_directory:
        raise NotADirectoryError("it is a file and not an archive")
    for folder, _, names in tf.io.gfile.walk(location):
        inner = PurePosixPath(folder[len(location) :].strip("/"))
        if ".." in inner.parts or any(name == ".." or "/" in name for name in names):
            raise ValueError("it contains a path that leads out of it")
        (target / inner).mkdir(parents=True, exist_ok=True)
        for name in names:
            tf.io.gfile.copy(f"{folder.rstrip('/')}/{name}", os.fspath(target / inner / name))


def _unpack(archive: Path) -> Path:
    if not archive.is_file():
        raise FileNotFoundError(f"no archive at {str(archive)!r}: the path does not exist.")
    with open(archive, "rb") as file:
        target = _cache_folder() / _digest(file).hexdigest()
    if target.is_dir() and cache.lacking(target, must_be_recorded=True):
        shutil.rmtree(target)
    if not target.is_dir():
        with atomic(target) as temporary:
            archives.unpack(archive, temporary)
        cache.record(target)
    folders = sorted(path.parent for path in target.rglob("saved_model.pb"))
    return target if target in folders or len(folders) != 1 else folders[0]
