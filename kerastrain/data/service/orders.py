"""What a decoding worker has to know to read the batches of a training: files, decoding, and the order of the examples.

Takes a store and the options of `batches`; returns bytes, and reads them back. Contains no pickles. Must not import TensorFlow.
"""

import dataclasses
import hashlib
import importlib.metadata
import io
import json

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.pixel_cache import CachedImages
from kerastrain.data.image_files.stores import ImageFiles
from kerastrain.data.sources.tfrecords import RecordImages, Records
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError

READ = "kerastrain_read_1"
"""The name of the worker's reading function in graphs; its number changes with its arguments or with the format of an order."""

Store = ImageFiles | RecordImages


@dataclasses.dataclass(frozen=True)
class Order:
    """What a decoding worker reads.

    Args:
        store: ImageFiles or RecordImages.
        batch_size: int > 0.
        options: dict with "shuffle", "sampling" and "seed", as for `batches`.
        targets: int64 array (n,), the class of each example; None if their order does not depend on it.
    """

    store: Store
    batch_size: int
    options: dict
    targets: np.ndarray | None = None


def of(examples: Examples, batch_size: int, *, shuffle: bool, sampling: str, seed: int) -> Order:
    """The order in which `batches` reads examples.

    Args:
        examples: Examples of image files, or of a sharded set of images.
        batch_size: int > 0.
        shuffle: as for `batches`.
        sampling: as for `batches`.
        seed: as for `batches`.

    Returns:
        Order.

    Raises:
        InputError: as for `readable`.
    """
    options = {"shuffle": shuffle, "sampling": sampling, "seed": seed}
    return Order(readable(examples.inputs), batch_size, options, examples.targets if sampling == "balanced" else None)


def readable(store: object) -> Store:
    """The files of a store that other processes can read.

    Args:
        store: the inputs of examples.

    Returns:
        ImageFiles or RecordImages.

    Raises:
        InputError: it has others, or its images are cached and are not decoded again.
    """
    if isinstance(store, CachedImages) and store.is_cached:
        raise InputError(
            f"a decoding service is for images that are decoded in every epoch. Received: images that are {store.where}. Set "
            "data.cache=none, or remove data.service."
        )
    store = store.store if isinstance(store, CachedImages) else store
    if not isinstance(store, Store):
        raise InputError(
            "a decoding service reads image files and sharded TFRecord files. Received: inputs in memory. Remove data.service."
        )
    return store


def packed(order: Order) -> bytes:
    """Packs an order.

    Args:
        order: Order.

    Returns:
        bytes, which depend only on it.
    """
    is_records = isinstance(order.store, RecordImages)
    header = {
        "versions": _versions(),
        "batch_size": order.batch_size,
        "options": order.options,
        "image_size": list(order.store.image_size),
        "decoding": dataclasses.asdict(order.store.decoding),
        "paths": list(order.store.records.shards if is_records else map(str, order.store.paths)),
    }
    arrays = {"header": np.frombuffer(json.dumps(header).encode(), np.uint8)}
    if is_records:
        arrays["locations"] = order.store.records.locations
    if order.targets is not None:
        arrays["targets"] = order.targets
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def unpacked(content: bytes) -> Order:
    """Reads what `packed` returned.

    Args:
        content: bytes.

    Returns:
        Order.

    Raises:
        InputError: it is of a process with other versions of what decodes.
        ValueError: it is something else.
    """
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        header = json.loads(arrays["header"].tobytes())
        if header["versions"] != _versions():
            raise InputError(
                f"a decoding worker must have the versions of the training, {header['versions']}. Received: {_versions()}. "
                "Install the same there."
            )
        locations, targets = (arrays[name] if name in arrays.files else None for name in ("locations", "targets"))
    decoding, size, paths = Decoding(**header["decoding"]), tuple(header["image_size"]), tuple(header["paths"])
    files = ImageFiles(paths, size, decoding)
    store = files if locations is None else RecordImages(Records(paths, locations), size, decoding)
    return Order(store, header["batch_size"], header["options"], targets)


def digest(content: bytes) -> bytes:
    """A name for a packed order.

    Args:
        content: bytes.

    Returns:
        bytes.
    """
    return hashlib.sha256(content).digest()


def _versions() -> dict[str, str]:
    """Of what decides about pixels and their order."""
    return {name: importlib.metadata.version(name) for name in ("kerastrain", "pillow")}
