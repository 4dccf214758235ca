"""Data sets of TensorFlow Datasets, by name or in the folder where they were prepared.

Takes a name, gives a `NamedSet`. The library is the extra `tfds`. Sets prepared as ArrayRecord are read through it; of
those prepared as TFRecord, for which it knows no random access, the place of each record is found once.
"""

import os
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.sources.named_sets import NamedSet
from kerastrain.errors import InputError
from kerastrain.system.optional_imports import need

PREFIX = "tfds:"
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # Around the payload of a TFRecord: its length and the checksums of both.


def load(name: str) -> NamedSet:
    """The data set under a name, downloaded and prepared by the library if it was not yet.

    Args:
        name: "tfds:NAME", "tfds:NAME/CONFIGURATION:VERSION", or "tfds:FOLDER" of a prepared version.

    Returns:
        NamedSet of all its parts.

    Raises:
        InputError: there is no such set, it cannot be downloaded, or it is prepared in a format that cannot be read at
            random.
        MissingExtra: `tensorflow_datasets` is not installed.
    """
    library = need("tensorflow_datasets", extra="tfds", to="read data sets of TensorFlow Datasets")
    builder = _prepared(library, name)
    features = builder.info.features
    pictures = [key for key, feature in features.items() if isinstance(feature, library.features.Image)]
    others = [key for key in features if key not in pictures]
    parts = {part: _records(library, builder, part, name, pictures) for part in builder.info.splits}
    rows = [(part, row) for part, records in parts.items() for row in range(len(records))]
    return NamedSet(
        f"'{name}'",
        _Columns(parts, others),
        {key: tuple(found.names) for key in others if (found := _class_label(library, features[key]))},
        images=pictures,
        texts=[key for key in others if isinstance(features[key], library.features.Text)],
        parts=[part for part, _ in rows],
        content=lambda key, row: parts[rows[row][0]][rows[row][1]][key],
    )


class _Columns(Mapping):
    """The features of all records but their images, read together when the first is asked for."""

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
    """The records of TFRecord files, each found by its place."""

    def __init__(self, paths: Sequence[str], parse: Callable[[bytes], Mapping]):
        self._paths, self._parse = paths, parse
        self._places = [(number, *place) for number, path in enumerate(paths) for place in _places(path)]

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Mapping:
        number, offset, length = self._places[index]
        with open(self._paths[number], "rb", buffering=0) as file:
            return self._parse(os.pread(file.fileno(), length, offset))


def _places(path: str) -> Iterator[tuple[int, int]]:
    """Offset and length of the payload of each record."""
    with open(path, "rb") as file:
        while head := file.read(_HEAD_BYTES):
            (length,) = struct.unpack_from("<Q", head)
            yield file.tell(), length
            file.seek(length + _TAIL_BYTES, os.SEEK_CUR)


def _prepared(library, name: str):
    place = name.removeprefix(PREFIX)
    folder = Path(place).expanduser()
    try:
        if folder.is_dir():
            return library.builder_from_directory(folder)
        builder = library.builder(place)
        builder.download_and_prepare()
    except library.core.DatasetNotFoundError:
        raise InputError(
            f"cannot load '{name}': TensorFlow Datasets has no set of that name, and there is no such folder."
        ) from None
    except Exception as fault:  # Whatever the author of a data set's own program ran into, mostly the network.
        raise InputError(
            f"cannot load '{name}': {type(fault).__name__}: {str(fault).strip().splitlines()[0].rstrip('.')}. Without a "
            "network, give the folder of a prepared version."
        ) from fault
    return builder


def _records(library, builder, part: str, name: str, pictures: Sequence[str]) -> Sequence[Mapping]:
    """The records of a part, their images as the bytes of files."""
    as_they_are = {key: library.decode.SkipDecoding() for key in pictures}
    file_format = builder.info.file_format.value
    if file_format == "tfrecord":
        paths = [os.fspath(path) for path in builder.info.splits[part].filepaths]
        return _TfRecords(
            paths, lambda record: builder.info.features.deserialize_example_np(record, decoders=as_they_are)
        )
    if file_format == "array_record":
        return builder.as_data_source(part, decoders=as_they_are)
    raise InputError(
        f"'{name}' is prepared as {file_format}, which cannot be read at random. Prepare it as tfrecord or array_record."
    )


def _class_label(library, feature):
    """The numbering of classes in a feature, or in each item of one, or None."""
    inner = getattr(feature, "feature", feature)
    return inner if isinstance(inner, library.features.ClassLabel) else None


def _plain(value: object) -> object:
    """A value as Python has it: text for bytes, a list for an array."""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.item()) if value.ndim == 0 else [_plain(one) for one in value.tolist()]
    return value
