"""Outputs of a frozen model for several augmented views of every image, and for more images than memory holds.

Takes a model, `Examples` and an `Augmentation`; returns `Examples` of features, of which epoch e reads view e % views.
The views are drawn once, by the same functions and from the same seed as the images of any augmented epoch, so that an
epoch costs only the pass of the head, and still differs from the epoch before. Must not train, nor decide where there is
room.

The first view is the image as it is: it is what the model is asked about later, and one view is then the beginning of several.
Four augmented views were a point better on one set of photos and as good on another (`python benchmarks/views.py --choice`).
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain.data.augmentation import Augmentation
from kerastrain.data.examples import Examples
from kerastrain.data.features import batch_outputs, exclusively, mapped, on_devices
from kerastrain.data.pipeline import batches, steps_per_epoch
from kerastrain.data.views import Views
from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.system import files
from kerastrain.train_step import folded_norms


def precompute_views(
    model: keras.Model,
    examples: Examples,
    global_batch_size: int = 32,
    *,
    views: int = 1,
    augment: Augmentation | None = None,
    seed: int = 0,
    path: Path | None = None,
) -> Examples:
    """Replaces images by the outputs of a model for several views of each of them.

    View 0 is the image as it is. View v > 0 of image i is what `batches` makes of the image at position i of epoch v; it depends
    on (seed, v, i) only, not on the number of views, the batch size or the devices.

    Args:
        model: keras.Model from the examples' inputs, without their numbers, to float features (n, ...), called with
            training=False.
        examples: Examples of images.
        global_batch_size: int > 0, images in one forward pass.
        views: int >= 1, the number of views.
        augment: Augmentation that draws the other views than the first, without mixup and cutmix; None for one view.
        seed: int in [0, 2**31), from which the views are drawn.
        path: Path of a `.npy` file for the outputs, if they do not fit into memory or several processes share them: the
            first one computes them, the others read the file. Its name must identify the model, the examples and all
            arguments; its folder is made if missing. None to keep the outputs in memory. Not for several workers.

    Returns:
        Examples whose `inputs` are float32 features: (n, ...) for one view, otherwise `Views` of them. All else is unchanged.

    Raises:
        InputError: `augment` blends images with each other, whose targets would have to be blended, too.
        WriteError: the file cannot be written.

    Example:
        >>> head_data = precompute_views(backbone, split.train, views=4, augment=augment("noise"))  # doctest: +SKIP
        >>> head.fit(batches(head_data, 32, shuffle=True, epochs=8), epochs=8, steps_per_epoch=20)  # doctest: +SKIP
    """
    if augment is not None and augment.mixes:
        raise InputError(
            "features are of single images, and mixup and cutmix blend two with their targets. Received: an augmentation with "
            "one of them. Omit both."
        )
    shape, model = (views, len(examples), *model.output_shape[1:]), folded_norms.inference_model(model)
    rows = _rows(model, examples.without_numbers(), global_batch_size, views=views, augment=augment, seed=seed)
    features = _in_memory(shape, rows) if path is None else _in_file(path, shape, rows, model)
    return dataclasses.replace(examples, inputs=Views(features) if views > 1 else features[0])


def _rows(
    model: keras.Model, examples: Examples, batch_size: int, *, views: int, augment: Augmentation | None, seed: int
) -> Iterator[np.ndarray]:
    """Yields the outputs of one view after the other, float32 (b, ...), in the order of the examples."""
    strategy, steps = model.distribute_strategy, steps_per_epoch(examples, batch_size)
    workers, worker = collectives.worker_count(strategy), collectives.worker_index(strategy)
    outputs_of = on_devices(model) if strategy.num_replicas_in_sync > 1 else None

    def read(view: int, *, first: int = 0, end: int | None = None) -> tf.data.Dataset:
        """The batches of a view, from the batch `first` on; and of the views after it, up to and without `end`."""
        options = {"seed": seed, "epochs": view + 1 if end is None else end, "start_step": view * steps + first}
        return batches(examples, batch_size, augment=augment if view else None, **options)

    if workers == 1:
        yield from _outputs(model, read(0), outputs_of)
        if views > 1:
            yield from _outputs(model, read(1, end=views), outputs_of)
        return
    share = -(-steps // workers)
    for view in range(views):
        own = np.zeros((share * batch_size, *model.output_shape[1:]), np.float32)
        mine = read(view, first=min(worker * share, steps)).take(share)
        for number, outputs in enumerate(_outputs(model, mine, outputs_of)):
            own[number * batch_size :][: len(outputs)] = outputs
        # Only the last batch of a view is smaller than the others, so that the view has no gaps.
        yield np.concatenate([rows for (rows,) in collectives.all_gather(strategy, [own])])[: len(examples)]


def _outputs(
    model: keras.Model, dataset: tf.data.Dataset, outputs_of: Callable[[tf.Tensor], np.ndarray] | None
) -> Iterator[np.ndarray]:
    """Yields the outputs of this process for each batch; the next batches are decoded and augmented meanwhile."""
    if outputs_of is None:
        yield from batch_outputs(model, dataset)
        return
    for batch in dataset:
        yield np.asarray(outputs_of(batch[0]), np.float32)


def _in_memory(shape: tuple[int, ...], rows: Iterable[np.ndarray]) -> np.ndarray:
    features, place = np.empty((shape[0] * shape[1], *shape[2:]), np.float32), 0
    for outputs in rows:
        features[place : place + len(outputs)] = outputs
        place += len(outputs)
    return features.reshape(shape)


def _in_file(path: Path, shape: tuple[int, ...], rows: Iterable[np.ndarray], model: keras.Model) -> np.ndarray:
    """Writes rows to a file, unless it exists, and maps it into memory."""
    with exclusively(path.with_suffix(".lock")):
        if (stored := mapped(path, *shape)) is not None:
            return stored
        before = model.get_weights()
        # Not written through a memory map, because on a full disk a map ends the process.
        with files.atomic(path) as temporary, open(temporary, "wb") as file:
            header = {"descr": "<f4", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for outputs in rows:
                file.write(np.ascontiguousarray(outputs, "<f4").tobytes())
        features = np.load(path, mmap_mode="r")
        if not all(map(np.array_equal, before, model.get_weights())):
            path.unlink()  # Every process must compute them, as for `precompute_once`; the map stays readable.
        return features
