"""Sharded sets of TFRecord files with an index for random access.

Takes a folder that `write_tfrecords` made, returns a `Listing`. Every record is compared with its checksum when it is
read. Must not import TensorFlow: the index contains the location of each image in its shard.

| file | content |
|---|---|
| NAME-00000-of-00008.tfrecord | `tf.train.Example` records in shuffled order |
| kerastrain.json | kind, task and labels of the examples; name, size in bytes and number of records of each shard |
| index.npz | location, checksum, target, weight, group, part and key of each example |
| SHA256SUMS | checksums for `sha256sum --check SHA256SUMS` after the set has been copied |
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
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError
from kerastrain.system import files

DESCRIPTION, INDEX, SUMS = "kerastrain.json", "index.npz", "SHA256SUMS"
FORMAT = "kerastrain.tfrecords.1"


@dataclasses.dataclass(frozen=True)
class Records:
    """The encoded inputs of a sharded set: image files, UTF-8 texts, or the bytes of arrays.

    Args:
        shards: sequence of str, the path of each shard.
        locations: int64 array (n, 4): the number of the shard of each input, the offset and the length of its content
            in bytes, and the CRC-32 of the content.
    """

    shards: Sequence[str]
    locations: np.ndarray

    def __len__(self) -> int:
        return len(self.locations)

    def name(self, index: int) -> str:
        """Names a record in messages.

        Args:
            index: int in [0, n).

        Returns:
            str.
        """
        return f"{self.shards[self.locations[index, 0]]} at byte {self.locations[index, 1]}"

    def content(self, index: int) -> bytes:
        """Reads an encoded input and compares it with its checksum.

        Args:
            index: int in [0, n).

        Returns:
            bytes.

        Raises:
            FileNotFoundError: the shard no longer exists.
            InputError: the bytes are not those that were written.
        """
        shard, offset, length, checksum = self.locations[index].tolist()
        with open(self.shards[shard], "rb", buffering=0) as file:
            content = os.pread(file.fileno(), length, offset)
        if len(content) != length or zlib.crc32(content) != checksum:
            raise InputError(
                f"the shard '{self.shards[shard]}' is damaged: the record at byte {offset} does not match its "
                "checksum. Copy the shard again, or write the set again."
            )
        return content

    def subset(self, indices: np.ndarray) -> "Records":
        """Selects records without reading them.

        Args:
            indices: int array (m,), values in [0, n).

        Returns:
            Records, m of them, in the order of `indices`.
        """
        return Records(self.shards, self.locations[indices])


@dataclasses.dataclass(frozen=True)
class RecordImages:
    """A `Store` of the images of a sharded set, decoded on every access.

    Args:
        records: Records of n image files.
        image_size: (height, width) in pixels that every image is resized to; None if they are only counted.
        decoding: Decoding.
    """

    records: Records
    image_size: tuple[int, int] | None
    decoding: Decoding = Decoding()
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
                decoder.decode_content(
                    self.records.name(index), self.records.content(index), self.image_size, self.decoding
                )
                for index in indices
            ]
        )

    def subset(self, indices: np.ndarray) -> "RecordImages":
        """Selects images without reading them.

        Args:
            indices: int array (m,), values in [0, n).

        Returns:
            RecordImages, m of them, in the order of `indices`.
        """
        return dataclasses.replace(self, records=self.records.subset(indices))

    def content(self, index: int) -> bytes:
        """Reads the image file at an index and compares it with its checksum.

        Args:
            index: int in [0, n).

        Returns:
            bytes of the file.

        Raises:
            FileNotFoundError: the shard no longer exists.
            InputError: the bytes are not those that were written.
        """
        return self.records.content(index)


def is_set(path: str | os.PathLike) -> bool:
    """Whether a folder is a sharded set.

    Args:
        path: path of the folder.

    Returns:
        bool.
    """
    return Path(path, DESCRIPTION).is_file()


def listing(path: str | os.PathLike, image_size: tuple[int, int] | None = None) -> Listing:
    """Lists the examples of a sharded set; reads texts and arrays but no images.

    Args:
        path: folder that `write_tfrecords` made.
        image_size: (height, width) in pixels that every image is stretched to; None if they are only counted.

    Returns:
        Listing in the order of the examples that were written, with their parts and keys.

    Raises:
        FileNotFoundError: there is no such set, or one of its files is missing.
        InputError: the set has another format version, a file was changed, or a record is damaged.
    """
    root = Path(path).expanduser()
    description = _description(root)
    for shard in description["shards"]:
        _check_size(root / shard["file"], shard["size_bytes"])
    columns = _index(root, description["index_sha256"])
    records = Records([str(root / shard["file"]) for shard in description["shards"]], columns["places"])
    examples = Examples(
        columns["targets"],
        tuple(description["labels"]),
        RecordImages(records, image_size) if description["kind"] == "images" else _read(records, description),
        description["task"],
        weights=columns.get("weights"),
        groups=np.array(_unpacked("groups", columns), object) if "groups" in columns else None,
        keys=tuple(_unpacked("keys", columns)),
    )
    layout = f"sharded TFRecord files, {len(description['shards'])} of them"
    return Listing(f"'{root}'", examples, columns.get("marks"), layout=layout)


def packed(name: str, values: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Packs byte strings of any length into two arrays; an array of strings would pad all to the longest.

    Args:
        name: str, the name of the column in the index.
        values: sequence of n bytes.

    Returns:
        dict of `name`, uint8 (total length,), and of `name` with the suffix "_lengths", int64 (n,), in bytes.
    """
    lengths = np.array([len(value) for value in values], np.int64)
    return {name: np.frombuffer(b"".join(values), np.uint8), f"{name}_lengths": lengths}


def _unpacked(name: str, columns: Mapping[str, np.ndarray]) -> list[str]:
    content, ends = columns[name].tobytes(), np.cumsum(columns[f"{name}_lengths"]).tolist()
    starts = [0, *ends][:-1]
    return [content[start:end].decode(errors="surrogateescape") for start, end in zip(starts, ends, strict=True)]


def _description(root: Path) -> dict:
    path = root / DESCRIPTION
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"no sharded set at '{root}': it has no {DESCRIPTION}. Write one with kerastrain.data.write_tfrecords."
        ) from None
    except ValueError:
        description = None
    if not isinstance(description, dict) or description.get("format") != FORMAT:
        raise InputError(f"'{path}' must describe a sharded set of format {FORMAT}. Write the set again.")
    return description


def _check_size(shard: Path, size_bytes: int) -> None:
    if not shard.is_file():
        raise FileNotFoundError(f"the shard '{shard}' is missing. Copy it again, or write the set again.")
    actual_bytes = shard.stat().st_size
    if actual_bytes != size_bytes:
        raise InputError(
            f"the shard '{shard}' is damaged: it must have {size_bytes:,} bytes. Received: {actual_bytes:,}. Copy it "
            "again, or write the set again."
        )


def _index(root: Path, sha256: str) -> dict[str, np.ndarray]:
    path = root / INDEX
    if not path.is_file():
        raise FileNotFoundError(f"the index '{path}' is missing. Copy it again, or write the set again.")
    if files.sha256(path) != sha256:
        raise InputError(
            f"the index '{path}' is damaged: its checksum does not match. Copy it again, or write the set again."
        )
    with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def _read(records: Records, description: dict) -> np.ndarray:
    contents = [records.content(index) for index in range(len(records))]
    if description["kind"] == "text":
        return np.array([content.decode() for content in contents], object)
    array = np.frombuffer(b"".join(contents), description["dtype"])
    return array.reshape(len(records), *description["shape"]).copy()
