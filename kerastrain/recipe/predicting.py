"""Predicts new images and texts with a finished run, and explains the predictions.

Takes a `Run` and inputs; returns predictions and writes pictures. Decodes a batch at a time, so that any number of inputs
fits into memory. Must not change the model.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import data, explain, models, report
from kerastrain.errors import InputError, counted, unknown
from kerastrain.recipe import plan
from kerastrain.recipe.inputs import Input, require_explainable
from kerastrain.run_directory import Run
from kerastrain.system.resources import processor_count

logger = logging.getLogger("kerastrain")

_METHODS = {"gradcam": explain.gradcam, "saliency": explain.saliency}
_ACTIVATIONS = {"single_label": keras.ops.softmax, "multi_label": keras.ops.sigmoid, "regression": np.asarray}
_PICTURES_AT_ONCE = 64


@dataclass(frozen=True)
class Prediction:
    """The prediction for an input.

    Args:
        input: str, the path of the image file, or the text; for a pair of texts, tuple of two str.
        scores: tuple of (label, probability in [0, 1]), most probable first; for regression of (name, number), in the
            model's order.
        row: str, where the input was found, such as "line 3 of 'news.csv'"; empty if it was given itself.
    """

    input: str | tuple[str, str]
    scores: tuple[tuple[str, float], ...]
    row: str = ""


def predict(
    run: Run,
    inputs: Sequence[str | Path | tuple[str, str] | Input],
    *,
    top: int | None = 3,
    on_fault: Callable[[str], None] | None = None,
) -> Iterator[Prediction]:
    """Predicts the most probable labels of image files or texts, or the numbers of a regression model.

    Args:
        run: Run.
        inputs: sequence of paths of image files, or for a text model of texts or of pairs of texts; or of Input, as from
            `inputs.find`.
        top: int > 0, number of labels per input, or None for all; ignored for regression, which returns every number.
        on_fault: callable that gets a sentence about each file that cannot be used, which is then skipped; None raises
            the error.

    Yields:
        Prediction for each input, in order. The probabilities of a multi_label model are independent of each other.

    Raises:
        InputError: a file is not an image that can be decoded, and `on_fault` is None.
        FileNotFoundError: a file does not exist, and `on_fault` is None.
    """
    labels, is_regression = models.labels(run.model), models.task(run.model) == "regression"
    logger.info("predicting %s", counted(len(inputs), "inputs"))
    for batch, values in input_batches(run, inputs, run.config.evaluation.batch_size, on_fault):
        outputs = scores(run.model, values)
        order = np.argsort(-outputs, axis=1, kind="stable")[:, :top]
        if is_regression:
            order = np.broadcast_to(np.arange(len(labels)), outputs.shape)
        for item, row, indices in zip(batch, outputs, order, strict=True):
            yield Prediction(item.value, tuple((labels[index], float(row[index])) for index in indices), item.row)


def scores(model: keras.Model, values: np.ndarray | tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Runs a model on a batch.

    Args:
        model: keras.Model with a `Labels` layer.
        values: array (n, …) of inputs; with numbers beside them, a tuple of it and float32 (n, k).

    Returns:
        float array (n, outputs): probabilities of a classifier, numbers of a regression model.
    """
    arrays = values if isinstance(values, tuple) else (values,)
    tensors = tuple(tf.constant(array) if array.dtype == object else array for array in arrays)
    outputs = model.predict(tensors if len(tensors) > 1 else tensors[0], batch_size=len(arrays[0]), verbose=0)
    return keras.ops.convert_to_numpy(_ACTIVATIONS[models.task(model)](outputs))


def explain_images(
    run: Run,
    inputs: Sequence[str | Path | Input],
    *,
    method: str = "gradcam",
    label: str | None = None,
    out: Path | None = None,
    replace: bool = False,
    on_fault: Callable[[str], None] | None = None,
) -> Iterator[Path]:
    """Draws a heatmap over each image that shows which pixels the prediction depends on.

    Args:
        run: Run of an image model.
        inputs: sequence of paths of image files, or of Input; one that is given twice is drawn once.
        method: "gradcam" or "saliency".
        label: str, the class or number to explain; None for the predicted class, or for the first number.
        out: Path of the folder for the pictures; None for `explanations` in the run's folder, whose report is then
            written again.
        replace: bool, whether existing pictures may be replaced.
        on_fault: as for `predict`.

    Yields:
        Path of each PNG file, named after its image, and after as many of the folders above it as tell it from the
        others.

    Raises:
        InputError: the method or label is unknown, the model is for texts or reads numbers, or the backbone has no feature
            maps for Grad-CAM (use "saliency").
        FileExistsError: a picture exists and `replace` is False; nothing is drawn.
        InputError, FileNotFoundError: as for `predict`.
    """
    labels = models.labels(run.model)
    if run.config.data.kind != "images":
        raise InputError(f"explain_images needs an image model. Received: {str(run.directory)!r}, a text model.")
    require_explainable(run.config, run.directory)
    if method not in _METHODS:
        raise InputError(unknown("method", method, _METHODS))
    if label is not None and label not in labels:
        raise InputError(unknown("label", label, labels))
    folder = run.directory / "explanations" if out is None else Path(out)
    paths = list(dict.fromkeys(_input(item).value for item in inputs))
    logger.info("explaining %s by %s", counted(len(paths), "images"), method)
    ending = method if label is None else f"{method}_{_safe(label)}"
    targets = {path: folder / f"{name}_{ending}.png" for path, name in zip(paths, picture_names(paths), strict=True)}
    existing = [target for target in targets.values() if os.path.lexists(target)]
    if existing and not replace:
        more = f" and {len(existing) - 1:,} more" if len(existing) > 1 else ""
        raise FileExistsError(
            f"'{existing[0]}'{more} exists already and is not overwritten. Use --replace, or --out for another folder."
        )
    is_number = models.task(run.model) == "regression"
    classes = labels.index(label or labels[0]) if label or is_number else None
    template = "{} {:.4g}" if is_number else "{} {:.1%}"
    for batch, images in input_batches(run, paths, _PICTURES_AT_ONCE, on_fault):
        heatmaps, outputs = _METHODS[method](run.model, images, classes), scores(run.model, images)
        for item, image, heatmap, row in zip(batch, images, heatmaps, outputs, strict=True):
            shown = int(row.argmax()) if classes is None else classes
            title = template.format(labels[shown], row[shown])
            yield explain.write(image[None], heatmap[None], targets[item.value], titles=[title])
    if out is None:
        report.write(run.directory)


def picture_names(paths: Sequence[str]) -> list[str]:
    """Names a picture after each image file, so that all names differ, also without regard to case.

    Args:
        paths: sequence of n different str.

    Returns:
        list of n str: the stem of each file, with its suffix if only that tells it from another; preceded by as many of the
        folders above as tell it from the others; else followed by a number.

    Example:
        >>> picture_names(["day1/0.png", "day2/0.png", "cat.jpg"])
        ['day1_0', 'day2_0', 'cat']
    """
    files = [Path(os.path.abspath(path)) for path in paths]
    alike = Counter((str(file.parent), file.stem.casefold()) for file in files)
    leaves = [
        file.stem if alike[str(file.parent), file.stem.casefold()] == 1 else file.name.replace(".", "_")
        for file in files
    ]
    folders = [file.parent.parts[1:] for file in files]
    names, clashing = list(leaves), _clashing(leaves)
    for depth in range(1, max(map(len, folders), default=0) + 1):
        for index in clashing:
            names[index] = "_".join((*folders[index][-depth:], leaves[index]))
        clashing = _clashing(names)
    taken = {name.casefold() for index, name in enumerate(names) if index not in set(clashing)}
    for index in clashing:
        number, name = 1, names[index]
        while name.casefold() in taken:
            number += 1
            name = f"{names[index]}_{number}"
        taken.add(name.casefold())
        names[index] = name
    return names


def _clashing(names: Sequence[str]) -> list[int]:
    indices = {}
    for index, name in enumerate(names):
        indices.setdefault(name.casefold(), []).append(index)
    return [index for same in indices.values() if len(same) > 1 for index in same]


def _safe(label: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in label)


def input_batches(
    run: Run, inputs: Sequence, size: int, on_fault: Callable[[str], None] | None
) -> Iterator[tuple[list[Input], np.ndarray | tuple[np.ndarray, np.ndarray]]]:
    """Batches of inputs with their values, as `scores` takes them: strings, or decoded images.

    Args:
        run: Run.
        inputs: as for `predict`.
        size: int > 0, inputs per batch.
        on_fault: as for `predict`.

    Yields:
        list of Input, and array (n, …); with numbers beside the inputs, a tuple of it and float32 (n, k).

    Raises:
        InputError: an input is not what the run reads, or as for `predict`.
    """
    items = [_input(item) for item in inputs]
    count = len(run.config.data.columns.numbers)
    if wrong := [item for item in items if len(item.numbers) != count]:
        raise InputError(
            f"the run reads {counted(count, 'numbers')} beside each input. Received: {len(wrong[0].numbers)} for "
            f"{wrong[0].value!r}. Give a table with their columns, or `inputs.Input(value, numbers=…)`."
        )
    reads_pairs = run.config.data.columns.pair is not None
    if wrong := [item.value for item in items if isinstance(item.value, tuple) != reads_pairs]:
        expected = "pairs of texts, tuples of two str" if reads_pairs else "single inputs, str"
        raise InputError(f"the run reads {expected}. Received: {wrong[0]!r}.")
    for start in range(0, len(items), size):
        batch = items[start : start + size]
        if run.config.data.kind == "text":
            yield batch, _with_numbers(batch, np.array([item.value for item in batch], object))
            continue
        with ThreadPoolExecutor(processor_count()) as pool:
            images = list(pool.map(lambda item: _image_or_error(run, item.value), batch))
        for item, image in zip(batch, images, strict=True):
            if isinstance(image, Exception):
                if on_fault is None:
                    raise image
                on_fault(f"{item.row}: {image}" if item.row else str(image))
        usable = [index for index, image in enumerate(images) if not isinstance(image, Exception)]
        if usable:
            batch = [batch[index] for index in usable]
            yield batch, _with_numbers(batch, np.stack([images[index] for index in usable]))


def _with_numbers(batch: Sequence[Input], values: np.ndarray) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    return (values, np.array([item.numbers for item in batch], np.float32)) if batch[0].numbers else values


def _image_or_error(run: Run, path: str) -> np.ndarray | Exception:
    try:
        return data.load_image(path, run.image_size, plan.decoding(run.config))
    except (InputError, OSError) as error:
        return error


def _input(item: str | Path | tuple[str, str] | Input) -> Input:
    if isinstance(item, tuple | list):
        return Input(tuple(map(str, item)))
    return item if isinstance(item, Input) else Input(str(item))
