"""Data sets from TensorFlow Datasets, by name or from the folder where they were prepared.

Takes a name, returns a `NamedSet`. The library is the extra `tfds`. Sets prepared as ArrayRecord are read with it. It
has no random access to sets prepared as TFRecord, so the location of each of their records is looked up once.
"""

import contextlib
import logging
import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.image_files.faults import ImageFault
from kerastrain.data.sources.named_sets import NamedSet
from kerastrain.errors import InputError, unknown
from kerastrain.system import network
from kerastrain.system.optional_imports import need

PREFIX = "tfds:"
# The data come from many servers. One of these answers wherever there is a network.
_SERVERS = ("https://storage.googleapis.com", "https://github.com")
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # Before and after the payload of a TFRecord: its length and two checksums.


def load(name: str) -> NamedSet:
    """Loads a data set with all its parts; the library downloads and prepares it if necessary.

    Args:
        name: "tfds:NAME", "tfds:NAME/CONFIGURATION:VERSION", or "tfds:FOLDER" of a prepared version.

    Returns:
        NamedSet.

    Raises:
        InputError: there is no such set, it cannot be downloaded, or it is prepared in a format without random access.
        MissingExtra: `tensorflow_datasets` is not installed.
    """
    library = need("tensorflow_datasets", extra="tfds", to="read data sets of TensorFlow Datasets")
    builder = _prepared(library, name)
    features = builder.info.features
    images = [key for key, feature in features.items() if isinstance(feature, library.features.Image)]
    others = [key for key in features if key not in images]
    parts = {part: _records(library, builder, part, name, images) for part in builder.info.splits}
    rows = [(part, row) for part, records in parts.items() for row in range(len(records))]
    return NamedSet(
        f"'{name}'",
        _Columns(parts, others),
        {key: tuple(feature.names) for key in others if (feature := _class_label(library, features[key]))},
        images=images,
        texts=[key for key in others if isinstance(features[key], library.features.Text)],
        parts=[part for part, _ in rows],
        content=lambda key, row: _content(parts[rows[row][0]][rows[row][1]][key], f"row {row} of '{name}'"),
        layout="a data set of TensorFlow Datasets",
        notes=_notes(builder, name),
    )


def _notes(builder, name: str) -> tuple[str, ...]:
    """Says which configuration was taken where the name leaves it open."""
    configurations = sorted(getattr(builder, "builder_configs", None) or {})
    if len(configurations) < 2 or "/" in name.removeprefix(PREFIX):
        return ()
    return (f"the configuration is {builder.builder_config.name}, the default, out of {', '.join(configurations)}",)


def _content(content: bytes | None, name: str) -> bytes:
    if not content:
        raise ImageFault(name, "empty", "it has no image")
    return content


class _Columns(Mapping):
    """The features of all records except images, all read on the first access."""

    def __init__(self, parts: Mapping[str, Sequence[Mapping]], names: list[str]):
        self._parts, self._names, self._values = parts, names, None

    def __getitem__(self, name: str) -> list:
        if self._values is None:
            self._values = {key: [] for key in self._names}
            for records in self._parts.values():
                for row in range(len(records)):
                    record = records[row]
                    for key, values in self._values.items():
                        values.append(_plain(record[key]))
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _TfRecords(Sequence):
    """The records of TFRecord files, with random access."""

    def __init__(self, paths: Sequence[str], parse: Callable[[bytes], Mapping]):
        self._paths, self._parse = paths, parse
        self._locations = [(number, *extent) for number, path in enumerate(paths) for extent in _extents(path)]

    def __len__(self) -> int:
        return len(self._locations)

    def __getitem__(self, index: int) -> Mapping:
        number, offset, length = self._locations[index]
        with open(self._paths[number], "rb", buffering=0) as file:
            return self._parse(os.pread(file.fileno(), length, offset))


def _extents(path: str) -> Iterator[tuple[int, int]]:
    """Yields the offset and the length of the payload of each record, in bytes."""
    with open(path, "rb") as file:
        while head := file.read(_HEAD_BYTES):
            (length,) = struct.unpack_from("<Q", head)
            yield file.tell(), length
            file.seek(length + _TAIL_BYTES, os.SEEK_CUR)


def _prepared(library, name: str):
    handle = name.removeprefix(PREFIX)
    folder = Path(handle).expanduser()
    try:
        with _without_absl():
            if folder.is_dir():
                return library.builder_from_directory(folder)
            builder = library.builder(handle)
            is_prepared = builder.is_prepared()
        if is_prepared or network.reachable(*_SERVERS):
            builder.download_and_prepare()
            return builder
    except library.core.DatasetNotFoundError as error:
        found = re.search(r"-> (\w+)", str(error))
        hint = f" Did you mean '{PREFIX}{found[1]}'?" if found else ""
        raise InputError(
            f"cannot load '{name}': TensorFlow Datasets has no set of that name, and there is no such folder.{hint}"
        ) from None
    except Exception as error:  # The code of each data set may raise anything, mostly errors of the network.
        if match := re.search(r"BuilderConfig (\S+) not found", str(error)):
            known = [configuration.name for configuration in library.builder_cls(handle.split("/")[0]).BUILDER_CONFIGS]
            raise InputError(f"cannot load '{name}': {unknown('configuration', match[1], known)}") from None
        raise InputError(
            f"cannot load '{name}': {type(error).__name__}: {str(error).strip().splitlines()[0].rstrip('.')}. Without "
            "a network, give the folder of a prepared version."
        ) from error
    raise InputError(
        f"cannot load '{name}': it is not prepared on this machine in '{builder.data_path}', and without a network it cannot "
        "be downloaded. Copy that folder from a machine that has it, or give the folder of a prepared version."
    )


@contextlib.contextmanager
def _without_absl() -> Iterator[None]:
    """Hides the warnings about folders that are not prepared, which is said below in one sentence."""
    logger = logging.getLogger("absl")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _records(library, builder, part: str, name: str, images: Sequence[str]) -> Sequence[Mapping]:
    """Returns the records of a part, with images as the bytes of their files."""
    decoders = {key: library.decode.SkipDecoding() for key in images}
    file_format = builder.info.file_format.value
    if file_format == "tfrecord":
        paths = [os.fspath(path) for path in builder.info.splits[part].filepaths]
        return _TfRecords(paths, lambda record: builder.info.features.deserialize_example_np(record, decoders=decoders))
    if file_format == "array_record":
        return builder.as_data_source(part, decoders=decoders)
    raise InputError(
        f"'{name}' is prepared as {file_format}, which has no random access. Prepare it as tfrecord or array_record."
    )


def _class_label(library, feature):
    """Returns the ClassLabel of a feature or of the items of a list feature, or None."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, library.features.ClassLabel) else None


def _plain(value: object) -> object:
    """Converts bytes to str, and NumPy values to Python numbers or lists."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.item()) if value.ndim == 0 else [_plain(item) for item in value.tolist()]
    return value
