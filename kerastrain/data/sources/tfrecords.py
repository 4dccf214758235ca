"""A sharded set of TFRecord files with an index, so that any example can be read without those before it.

Takes the folder that `write_tfrecords` made, gives a `Listing`. Every record is compared with its checksum when it is
read. TensorFlow is not needed for that, and not imported: the index says where in a shard the bytes of an image lie.

| file | what it holds |
|---|---|
| NAME-00000-of-00008.tfrecord | records of `tf.train.Example`, in a shuffled order |
| kerastrain.json | what the examples are, and the name, length and number of records of each shard |
| index.npz | for each example its place and checksum, target, weight, group, part and key |
| SHA256SUMS | for `sha256sum --check SHA256SUMS`, after the set has been copied |
"""

import dataclasses
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files import decoder
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError
from kerastrain.system import files

DESCRIPTION, INDEX, SUMS = "kerastrain.json", "index.npz", "SHA256SUMS"
FORMAT = "kerastrain.tfrecords.1"


@dataclasses.dataclass(frozen=True)
class Records:
    """The inputs of a sharded set as they were written: image files, UTF-8 texts, or the bytes of arrays.

    Args:
        shards: the path of each shard.
        places: int64 array (n, 4): for each input the number of its shard, the offset and length in bytes of its
            content, and the CRC-32 of that.
    """

    shards: Sequence[str]
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def name(self, index: int) -> str:
        """What messages call the record at `index`."""
        return f"{self.shards[self.places[index, 0]]} at byte {self.places[index, 1]}"

    def content(self, index: int) -> bytes:
        """The bytes at `index`.

        Raises:
            FileNotFoundError: the shard is not there any more.
            InputError: they are not those that were written.
        """
        shard, offset, length, checksum = self.places[index].tolist()
        with open(self.shards[shard], "rb", buffering=0) as file:
            found = os.pread(file.fileno(), length, offset)
        if len(found) != length or zlib.crc32(found) != checksum:
            raise InputError(
                f"the shard '{self.shards[shard]}' is damaged: the record at byte {offset} is not what was written. Copy "
                "the shard again, or write the set again."
            )
        return found

    def subset(self, indices: np.ndarray) -> "Records":
        """The records at `indices`."""
        return Records(self.shards, self.places[indices])


@dataclasses.dataclass(frozen=True)
class RecordImages:
    """The images of a sharded set, decoded anew each time that they are asked for; a `Store`.

    Args:
        records: Records of image files.
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.
    """

    records: Records
    image_size: tuple[int, int] | None
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.records), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                decoder.decode_content(self.records.name(index), self.records.content(index), self.image_size)
                for index in indices
            ]
        )

    def subset(self, indices: np.ndarray) -> "RecordImages":
        """The images at `indices`."""
        return RecordImages(self.records.subset(indices), self.image_size)

    def content(self, index: int) -> bytes:
        """The bytes of the image file at `index`."""
        return self.records.content(index)


def is_set(path: str | os.PathLike) -> bool:
    """Whether a folder is a sharded set."""
    return Path(path, DESCRIPTION).is_file()


def listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None) -> Listing:
    """The examples of a sharded set; texts and arrays are read, images are not.

    Args:
        path: folder that `write_tfrecords` made.
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.

    Returns:
        Listing in the order in which the examples were given, with the parts and keys that they had.

    Raises:
        FileNotFoundError: there is no set, or one of its files is missing.
        InputError: the set is of another version, a file of it has been changed, or a record is damaged.
    """
    root = Path(path).expanduser()
    about = _description(root)
    for shard in about["shards"]:
        _check_length(root / shard["file"], shard["size_bytes"])
    columns = _index(root, about["index_sha256"])
    records = Records([str(root / shard["file"]) for shard in about["shards"]], columns["places"])
    examples = Examples(
        columns["targets"],
        tuple(about["labels"]),
        RecordImages(records, image_size) if about["kind"] == "images" else _read(records, about),
        about["task"],
        weights=columns.get("weights"),
        groups=np.array(_unpacked("groups", columns), object) if "groups" in columns else None,
        keys=tuple(_unpacked("keys", columns)),
    )
    return Listing(f"'{root}'", examples, columns.get("marks"))


def packed(name: str, values: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Columns of an index that hold bytes of any length, which an array of strings would pad to the longest."""
    lengths = np.array([len(value) for value in values], np.int64)
    return {name: np.frombuffer(b"".join(values), np.uint8), f"{name}_lengths": lengths}


def _unpacked(name: str, columns: Mapping[str, np.ndarray]) -> list[str]:
    content, ends = columns[name].tobytes(), np.cumsum(columns[f"{name}_lengths"]).tolist()
    starts = [0, *ends][:-1]
    return [content[start:end].decode(errors="surrogateescape") for start, end in zip(starts, ends, strict=True)]


def _description(root: Path) -> dict:
    path = root / DESCRIPTION
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no sharded set at '{root}': it has no {DESCRIPTION}. Write one with kerastrain.data.write_tfrecords."
        ) from None
    except ValueError:
        about = None
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise InputError(f"'{path}' must describe a sharded set of format {FORMAT}. Write the set again.")
    return about


def _check_length(shard: Path, size_bytes: int) -> None:
    if not shard.is_file():
        raise FileNotFoundError(f"the shard '{shard}' is missing. Copy it again, or write the set again.")
    found = shard.stat().st_size
    if found != size_bytes:
        raise InputError(
            f"the shard '{shard}' is damaged: it must have {size_bytes:,} bytes. Received: {found:,}. Copy it again, or "
            "write the set again."
        )


def _index(root: Path, sha256: str) -> dict[str, np.ndarray]:
    path = root / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"the index '{path}' is missing. Copy it again, or write the set again.")
    if files.sha256(path) != sha256:
        raise InputError(
            f"the index '{path}' is damaged: its checksum is another. Copy it again, or write the set again."
        )
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read(records: Records, about: dict) -> np.ndarray:
    contents = [records.content(index) for index in range(len(records))]
    if about["kind"] == "text":
        return np.array([content.decode() for content in contents], object)
    return np.frombuffer(b"".join(contents), about["dtype"]).reshape(len(records), *about["shape"]).copy()
