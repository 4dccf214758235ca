"""Writes examples as a sharded set of TFRecord files, which kerastrain and any TensorFlow program can read.

Takes a listing, a split or examples; writes a folder in the format of `tfrecords`, atomically. Must not decode images.
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
_HEAD_BYTES, _TAIL_BYTES = 12, 4  # Before and after the payload of a record: its length and two checksums.


def write_tfrecords(
    data: Listing | Split | Examples, path: str | os.PathLike, *, shards: int = 8, name: str = "examples"
) -> Path:
    """Writes examples to TFRecord files, shuffled over the shards, with an index and checksums.

    Use it to copy a data set of many small files as a few large ones, or to share it. The images of a listing are
    copied without decoding them: `write_tfrecords(listing("flowers"), "flowers-records")`. Read the set with
    `tfrecord_set`, or set `data.path` of a config to the folder.

    Each record is a `tf.train.Example` with the features image, text or array (bytes), key (bytes), and label (int64)
    for "single_label" or targets (float) for the other tasks. Weight (float), group and split (bytes) are written if
    the examples have them.

    Args:
        data: Listing, whose predefined split is kept; Split, whose parts are kept; or Examples.
        path: path of the folder to create.
        shards: int >= 1, the number of TFRecord files; at most one per example is written.
        name: str, the prefix of the names of the TFRecord files.

    Returns:
        Path of the folder.

    Raises:
        FileExistsError: `path` exists.
        InputError: there are no examples, or they are pairs of texts or have numbers beside them, `shards` is below 1, or an
            image cannot be read.
    """
    path = Path(path)
    if path.exists():
        raise FileExistsError(f"'{path}' exists and is not overwritten. Choose another name, or remove it.")
    parts, predefined_split = _parts(data)
    rows = [(part, index) for part in parts for index in range(len(part))]
    if not rows:
        raise InputError("`data` must hold at least one example. Received: none.")
    _require_single(parts[0])
    if shards < 1:
        raise InputError(f"`shards` must be at least 1. Received: {shards}.")
    order = np.array_split(sampling.order(len(rows), seed=0, epoch=0), min(shards, len(rows)))
    locations = np.zeros((len(rows), 4), np.int64)
    with files.atomic(path) as folder:
        folder.mkdir()
        descriptions = []
        for number, members in enumerate(order):
            file = folder / f"{name}-{number:05}-of-{len(order):05}.tfrecord"
            records = [(*rows[row], None if predefined_split is None else predefined_split[row]) for row in members]
            locations[members, 0], locations[members, 1:] = number, _write_shard(file, records)
            descriptions.append({"file": file.name, "size_bytes": file.stat().st_size, "count": len(members)})
        _write_index(folder / INDEX, parts, predefined_split, locations)
        description = {
            "format": FORMAT,
            **_description(parts[0]),
            "index_sha256": files.sha256(folder / INDEX),
            "shards": descriptions,
        }
        files.write_json(folder / DESCRIPTION, description)
        sums = [f"{files.sha256(file)}  {file.name}\n" for file in sorted(folder.iterdir())]
        files.write_text(folder / SUMS, "".join(sums))
    return path


def _parts(data: Listing | Split | Examples) -> tuple[list[Examples], np.ndarray | None]:
    """Returns the examples, and the part of each if `data` has parts."""
    if isinstance(data, Listing):
        return [data.examples], data.predefined_split
    if isinstance(data, Examples):
        return [data], None
    return [*data.parts.values()], np.repeat([*data.parts], [*data.sizes.values()])


def _write_shard(path: Path, rows: list[tuple[Examples, int, str | None]]) -> np.ndarray:
    """Writes a record per row; returns int64 (m, 3), the offset, the length and the CRC-32 of each input."""
    locations, end = [], 0
    with tf.io.TFRecordWriter(os.fspath(path)) as writer:
        for examples, index, part in rows:
            content = _content(examples.inputs, index)
            record = _record(examples, index, part, content)
            # The first occurrence of these bytes is as good as any other, and there is hardly ever a second one.
            locations.append((end + _HEAD_BYTES + record.index(content), len(content), zlib.crc32(content)))
            writer.write(record)
            end += _HEAD_BYTES + len(record) + _TAIL_BYTES
    return np.array(locations, np.int64)


def _record(examples: Examples, index: int, part: str | None, content: bytes) -> bytes:
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
    if part is not None:
        features["split"] = _bytes(part.encode())
    return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)


def _write_index(path: Path, parts: list[Examples], predefined_split: np.ndarray | None, locations: np.ndarray) -> None:
    columns = {"places": locations, "targets": np.concatenate([part.targets for part in parts])}
    columns |= packed("keys", [_encoded(_key(part, index)) for part in parts for index in range(len(part))])
    if parts[0].weights is not None:
        columns["weights"] = np.concatenate([part.weights for part in parts])
    if parts[0].groups is not None:
        columns |= packed("groups", [_encoded(group) for part in parts for group in part.groups])
    if predefined_split is not None:
        columns["marks"] = predefined_split
    with open(path, "wb") as file:
        np.savez(file, **columns)


def _description(examples: Examples) -> dict:
    description = {"kind": _kind(examples.inputs), "task": examples.task, "labels": list(examples.labels)}
    if description["kind"] == "arrays":
        description |= {"shape": list(examples.shape), "dtype": examples.dtype.name}
    return description


def _kind(inputs: np.ndarray | Store) -> str:
    if isinstance(inputs, np.ndarray) and inputs.dtype == object:
        return "text"
    are_images = not isinstance(inputs, np.ndarray) or (inputs.dtype == np.uint8 and inputs.shape[3:] == (3,))
    return "images" if are_images else "arrays"


def _require_single(examples: Examples) -> None:
    if examples.dtype == object and examples.shape:
        raise InputError("sharded sets hold one text for each example. Received: pairs of texts. Keep them in a table.")
    if examples.numbers is not None:
        raise InputError(
            f"sharded sets hold no numbers beside their inputs. Received: {', '.join(examples.number_names)}. Keep them in a "
            "table."
        )


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
    return text.encode(errors="surrogateescape")  # Restores undecodable bytes in file names.


def _bytes(content: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=[content]))
