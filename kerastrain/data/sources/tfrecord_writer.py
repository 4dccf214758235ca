"""Examples written as a sharded set of TFRecord files, which kerastrain and every other TensorFlow program can read.

Takes a listing, a split or examples; gives a folder as `tfrecords` describes it, whole or not at all.
"""

import os
import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from kerastrain.data import sampling
from kerastrain.data.examples import Examples, Split
from kerastrain.data.image_files.stores import Store, png
from kerastrain.data.sources.tfrecords import DESCRIPTION, FORMAT, INDEX, SUMS, packed
from kerastrain.data.splitting.listings import Listing
from kerastrain.errors import InputError
from kerastrain.system import files

_FEATURES = {"images": "image", "text": "text", "arrays": "array"}
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # Around the payload of a record: its length and the checksums of both.


def write_tfrecords(
    data: Listing | Split | Examples, path: str | os.PathLike, *, shards: int = 8, name: str = "examples"
) -> Path:
    """Writes examples into TFRecord files, shuffled over the shards, with an index and checksums.

    Use it to copy a data set of many small files as a few large ones, or to hand it to others. A listing's images are
    copied as they are, none of them decoded: `write_tfrecords(listing("flowers"), "flowers-records")`. Read it back with
    `tfrecords`, or by giving the folder as `data.path`.

    Each record is a `tf.train.Example` with the features image, text or array (bytes), key (bytes), and label (int64
    number) for "single_label", else targets (float); weight (float), group and split (bytes) where there are any.

    Args:
        data: Listing, whose marks are kept; Split, whose parts become marks; or Examples.
        path: folder to make.
        shards: int >= 1, how many files; at most as many as there are examples.
        name: str, what the files' names begin with.

    Returns:
        Path of the folder.

    Raises:
        FileExistsError: something stands at `path`.
        InputError: there are no examples, `shards` is below 1, or an image cannot be read.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"'{path}' exists already and nothing is overwritten. Choose another name, or remove it.")
    parts, marks = _parts(data)
    rows = [(part, index) for part in parts for index in range(len(part))]
    if not rows:
        raise InputError("`data` must hold at least one example. Received: none.")
    if shards < 1:
        raise InputError(f"`shards` must be at least 1. Received: {shards}.")
    order = np.array_split(sampling.order(len(rows), seed=0, epoch=0), min(shards, len(rows)))
    places = np.zeros((len(rows), 4), np.int64)
    with files.atomic(path) as folder:
        folder.mkdir()
        described = []
        for number, members in enumerate(order):
            file = folder / f"{name}-{number:05}-of-{len(order):05}.tfrecord"
            chosen = [(*rows[row], None if marks is None else marks[row]) for row in members]
            places[members, 0], places[members, 1:] = number, _write_shard(file, chosen)
            described.append({"file": file.name, "size_bytes": file.stat().st_size, "count": len(members)})
        _write_index(folder / INDEX, parts, marks, places)
        about = {
            "format": FORMAT,
            **_about(parts[0]),
            "index_sha256": files.sha256(folder / INDEX),
            "shards": described,
        }
        files.write_json(folder / DESCRIPTION, about)
        sums = [f"{files.sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
        files.write_text(folder / SUMS, "".join(sums))
    return path


def _parts(data: Listing | Split | Examples) -> tuple[list[Examples], np.ndarray | None]:
    """The examples, and the part of each where `data` says so."""
    if isinstance(data, Listing):
        return [data.examples], data.marks
    if isinstance(data, Examples):
        return [data], None
    return [*data.parts.values()], np.repeat([*data.parts], [*data.sizes.values()])


def _write_shard(path: Path, rows: list[tuple[Examples, int, str | None]]) -> np.ndarray:
    """Writes a record for each row: int64 array (m, 3), the offset, the length and the CRC-32 of each content."""
    places, end = [], 0
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for examples, index, mark in rows:
            content = _content(examples.inputs, index)
            record = _record(examples, index, mark, content)
            # Any place in the record that holds these bytes will do, though there is hardly ever a second one.
            places.append((end + _HEAD_BYTES + record.index(content), len(content), zlib.crc32(content)))
            writer.write(record)
            end += _HEAD_BYTES + len(record) + _TAIL_BYTES
    return np.array(places, np.int64)


def _record(examples: Examples, index: int, mark: str | None, content: bytes) -> bytes:
    features = {_FEATURES[_kind(examples.inputs)]: _bytes(content), "key": _bytes(_encoded(_key(examples, index)))}
    target = examples.targets[index]
    if examples.task == "single_label":
        features["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[target]))
    else:
        features["targets"] = tf.train.Feature(float_list=tf.train.FloatList(value=target))
    if examples.weights is not None:
        features["weight"] = tf.train.Feature(float_list=tf.train.FloatList(value=[examples.weights[index]]))
    if examples.groups is not None:
        features["group"] = _bytes(_encoded(examples.groups[index]))
    if mark is not None:
        features["split"] = _bytes(mark.encode())
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _write_index(path: Path, parts: list[Examples], marks: np.ndarray | None, places: np.ndarray) -> None:
    columns = {"places": places, "targets": np.concatenate([part.targets for part in parts])}
    columns |= packed("keys", [_encoded(_key(part, index)) for part in parts for index in range(len(part))])
    if parts[0].weights is not None:
        columns["weights"] = np.concatenate([part.weights for part in parts])
    if parts[0].groups is not None:
        columns |= packed("groups", [_encoded(group) for part in parts for group in part.groups])
    if marks is not None:
        columns["marks"] = marks
    with open(path, "wb") as file:
        np.savez(file, **columns)


def _about(examples: Examples) -> dict:
    about = {"kind": _kind(examples.inputs), "task": examples.task, "labels": list(examples.labels)}
    if about["kind"] == "arrays":
        about |= {"shape": list(examples.shape), "dtype": examples.dtype.name}
    return about


def _kind(inputs: np.ndarray | Store) -> str:
    if isinstance(inputs, np.ndarray) and inputs.dtype == object:
        return "text"
    is_images = not isinstance(inputs, np.ndarray) or (inputs.dtype == np.uint8 and inputs.shape[3:] == (3,))
    return "images" if is_images else "arrays"


def _content(inputs: np.ndarray | Store, index: int) -> bytes:
    if not isinstance(inputs, np.ndarray):
        return inputs.content(index)
    kind = _kind(inputs)
    if kind == "text":
        return inputs[index].encode()
    return png(inputs[index]) if kind == "images" else np.ascontiguousarray(inputs[index]).tobytes()


def _key(examples: Examples, index: int) -> str:
    return str(index) if examples.keys is None else examples.keys[index]


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")  # What stands for odd bytes in the name of a file.


def _bytes(content: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
