"""Examples from arrays: in memory, in an .npz file, or scikit-learn's handwritten digits.

Takes arrays, returns a `Listing`. Must not import TensorFlow.
"""

import dataclasses
import functools
import gzip
import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from kerastrain.data.examples import Examples
from kerastrain.data.image_files.stores import ArrayImages, Store
from kerastrain.data.sources import array_images, array_targets, npz_files
from kerastrain.data.sources.npz_files import Part
from kerastrain.data.sources.parts import part_names
from kerastrain.data.splitting.listings import Listing
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError
from kerastrain.tasks import Task

Kind = Literal["images", "text", "arrays"]

_COLUMNS = ("targets", "weights", "groups", "marks")


def listing(
    inputs: np.ndarray | Store,
    targets: np.ndarray,
    *,
    labels: Sequence[str] | None = None,
    task: Task = "single_label",
    kind: Kind | None = None,
    image_size: tuple[int, int] | None = None,
    decoding: Decoding | None = None,
    weights: np.ndarray | None = None,
    groups: np.ndarray | None = None,
    predefined_split: Sequence[str] | None = None,
    source: str = "the arrays",
) -> Listing:
    """Makes a listing from arrays.

    Args:
        inputs: array (n, ...), images as for `array_images.pixels`, texts as str (n,), pairs of texts
            as str (n, 2); or a `Store`.
        targets: as for `array_targets.targets_and_labels`.
        labels: as `Examples.labels`; None for the classes that occur.
        task: as `Examples.task`.
        kind: "images", "text", or "arrays" for inputs that are used as they are; None decides by the type and the shape.
        image_size: (height, width) in pixels that images are resized to; None keeps their own.
        decoding: Decoding, of which `resize` and `pixel_range` apply; None for its defaults.
        weights: float (n,) >= 0, the weight of each example in the loss; None for 1 each.
        groups: array (n,); all examples of a group stay in the same part; None without groups.
        predefined_split: sequence of n str such as "train", "val" and "test", the part of each example; None if the
            examples are still to be split.
        source: str, the name of the arrays in messages.

    Returns:
        Listing without keys: its examples are identified by their row numbers. Images become RGB.

    Raises:
        InputError: the lengths differ, or an input, target, weight or part is invalid.
    """
    decoding = decoding or Decoding()
    targets, names, notes = array_targets.targets_and_labels(
        targets, labels, task, where="`targets`" if source == "the arrays" else f"the targets of {source}"
    )
    if not hasattr(inputs, "subset"):  # Not a `Store`.
        inputs = _array(inputs)
        where = "`inputs`" if source == "the arrays" else f"the inputs of {source}"
        _check_length(inputs, targets, where)
        inputs, decoding, input_notes = _inputs(inputs, kind, decoding, where)
        notes = input_notes + notes
        if isinstance(inputs, ArrayImages):
            inputs = ArrayImages(inputs.pixels, image_size or inputs.pixels.shape[1:3], decoding)
    examples = Examples(
        targets,
        names,
        inputs,
        task,
        weights=None if weights is None else np.asarray(weights, np.float32).ravel(),
        groups=None if groups is None else np.asarray(groups).ravel().astype(str),
    )
    parts = None if predefined_split is None else part_names(list(map(str, predefined_split)), where=source)
    if parts is not None and len(parts) != len(examples):
        raise InputError(
            f"`predefined_split` must name a part for each input. Received: {len(parts)} for {len(examples)} inputs."
        )
    layout = "images in memory" if isinstance(inputs, ArrayImages) else "arrays"
    return Listing(source, examples, parts, layout=layout, notes=notes)


def npz_listing(
    path: str | os.PathLike,
    image_size: tuple[int, int] | None = None,
    *,
    task: Task,
    kind: Kind | None = None,
    decoding: Decoding | None = None,
) -> Listing:
    """Lists the examples of an .npz file.

    The arrays `inputs` and `targets` are required, or usual names such as x and y, or a pair for each part such as x_train,
    y_train, x_test and y_test; see `npz_files.read`. Optional are `labels`, `weights` and `groups`, as for `listing`, and
    `marks`, its `predefined_split`.

    Args:
        path: path of an .npz file without Python objects.
        image_size: (height, width) in pixels that images are resized to; None if they are only counted.
        task: as `Examples.task`.
        kind: as for `listing`.
        decoding: as for `listing`.

    Returns:
        Listing; images become RGB.

    Raises:
        FileNotFoundError: there is no such file.
        InputError: the file is not an .npz file, an array is missing or ambiguous, or as for `listing`.
    """
    file = npz_files.read(Path(path))
    source, notes = f"'{path}'", list(file.notes)
    parts = dict(file.parts)
    for name, part in file.parts.items():
        if name not in ("", "train") and array_targets.are_unlabelled(part.arrays["targets"]):
            notes.append(f"left out the {name} part: all its targets are -1, which means without a label")
            del parts[name]
    columns = {role: _joined(parts, role, source) for role in ("inputs", *_COLUMNS)}
    marks = columns.pop("marks")
    if "" not in parts:
        lengths = [len(part.arrays["targets"]) for part in parts.values()]
        marks = np.repeat(list(parts), lengths)
    whole = listing(
        columns.pop("inputs"),
        columns.pop("targets"),
        labels=file.labels,
        task=task,
        kind=kind,
        image_size=image_size,
        decoding=decoding,
        predefined_split=marks,
        source=source,
        **columns,
    )
    if whole.examples.dtype == object and whole.examples.shape:
        raise InputError(
            f"{source} must hold one text for each target. Received: shape {whole.examples.inputs.shape}. Give pairs of texts "
            "in a table, with `data.columns.pair`."
        )
    if image_size is None and isinstance(whole.examples.inputs, ArrayImages):
        counted = dataclasses.replace(whole.examples.inputs, image_size=None)
        whole = dataclasses.replace(whole, examples=dataclasses.replace(whole.examples, inputs=counted))
    return _described(whole, file.layout, notes)


def digits_listing(image_size: tuple[int, int] | None = None) -> Listing:
    """Lists the 1,797 handwritten digits that scikit-learn ships, as RGB images; see `loaders.digits`.

    Args:
        image_size: (height, width) in pixels that images are stretched to; None if they are only counted.

    Returns:
        Listing with the labels "0" to "9".
    """
    pixels, targets = _digits()
    # Copies, because a caller may change them.
    return listing(ArrayImages(pixels.copy(), image_size), targets.copy(), labels="0123456789", source="the digits")


@functools.cache
def _digits() -> tuple[np.ndarray, np.ndarray]:
    """The digits as uint8 (n, 8, 8), and their classes."""
    folder = Path(importlib.util.find_spec("sklearn").origin).parent
    table = folder / "datasets" / "data" / "digits.csv.gz"
    if table.is_file():
        with gzip.open(table, "rt") as file:
            grey = np.loadtxt(file, delimiter=",", dtype=np.int64)
        grey, targets = grey[:, :-1], grey[:, -1]
    else:  # A version of scikit-learn that keeps it elsewhere is imported, which takes a second.
        from sklearn.datasets import load_digits

        grey, targets = load_digits(return_X_y=True)
    return np.round(grey.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8), targets


def _array(inputs: np.ndarray | Sequence) -> np.ndarray:
    """Inputs as an array; texts as object, so that a long one does not lengthen all."""
    try:
        inputs = np.asarray(inputs)
    except ValueError:
        raise InputError(
            "`inputs` must have one shape. Received: inputs of several. Images of several sizes must be files: "
            "kerastrain.data.image_folder, or kerastrain.data.manifest."
        ) from None
    if inputs.dtype.kind == "S":
        inputs = np.char.decode(inputs, "utf-8")
    return inputs.astype(object) if inputs.dtype.kind == "U" else inputs


def _inputs(
    inputs: np.ndarray, kind: Kind | None, decoding: Decoding, where: str
) -> tuple[np.ndarray | ArrayImages, Decoding, tuple[str, ...]]:
    """Returns texts, images or other arrays, with the pixel range that was found, and notes."""
    is_text = (
        inputs.dtype == object and inputs.shape[1:] in ((), (2,)) and all(isinstance(text, str) for text in inputs.flat)
    )
    if kind == "text" and not is_text:
        raise InputError(f"{where} must be texts. Received: {inputs.dtype} of shape {inputs.shape}.")
    if is_text and kind == "images":
        raise InputError(f"{where} must be images. Received: texts. Set data.kind=text.")
    if kind == "images" or (kind is None and array_images.are_images(inputs)):
        pixels = array_images.pixels(inputs, decoding.pixel_range, where=where)
        pixel_range = decoding.pixel_range or pixels.pixel_range
        return ArrayImages(pixels.values, None), dataclasses.replace(decoding, pixel_range=pixel_range), pixels.notes
    if not is_text and inputs.dtype.kind not in "biuf":
        hint = array_images.object_hint(inputs)
        raise InputError(f"{where} must be numbers or texts. Received: {inputs.dtype} of shape {inputs.shape}.{hint}")
    if inputs.dtype.kind == "f" and not np.isfinite(inputs).all():
        row = int(np.flatnonzero(~np.isfinite(inputs.reshape(len(inputs), -1)).all(axis=1))[0])
        raise InputError(f"{where} must be finite. Received: NaN or an infinite number at index {row}.")
    return inputs, decoding, ()


def _check_length(inputs: np.ndarray, targets: np.ndarray, where: str) -> None:
    if inputs.ndim and len(inputs) == len(targets):
        return
    hint = ""
    if inputs.ndim > 1 and inputs.shape[-1] == len(targets):
        hint = " The last axis seems to count the inputs: move it to the front with numpy.moveaxis(inputs, -1, 0)."
    count = len(inputs) if inputs.ndim else f"shape {inputs.shape}"
    raise InputError(f"{where} must hold one value for each target. Received: {count} for {len(targets)}.{hint}")


def _joined(parts: Mapping[str, Part], role: str, source: str) -> np.ndarray | None:
    """The arrays of a role of all parts, one after the other; None if there are none."""
    arrays = {name: part.arrays[role] for name, part in parts.items() if role in part.arrays}
    if not arrays:
        return None
    if len(arrays) == 1 and len(parts) == 1:
        return next(iter(arrays.values()))
    if missing := next((name for name in parts if name not in arrays), None):
        raise InputError(f"{source} must have {role} for each part or for none. Received: none for {missing}.")
    first = next(iter(parts.values()))
    for part in parts.values():
        one, other = first.arrays[role], part.arrays[role]
        is_text = one.dtype.kind == other.dtype.kind and one.dtype.kind in "US"
        if one.shape[1:] != other.shape[1:] or (role == "inputs" and one.dtype != other.dtype and not is_text):
            raise InputError(
                f"all parts of {source} must have {role} of one type and shape. Received: {first.names[role]} is "
                f"{one.dtype} of shape {one.shape}, and {part.names[role]} is {other.dtype} of shape {other.shape}."
            )
        if len(part.arrays["inputs"]) != len(part.arrays[role]):
            raise InputError(
                f"{source} must hold one of {part.names[role]} for each of {part.names['inputs']}. Received: "
                f"{len(part.arrays[role]):,} and {len(part.arrays['inputs']):,}."
            )
    return np.concatenate(list(arrays.values()))


def _described(listing: Listing, layout: str, notes: Sequence[str]) -> Listing:
    inputs = listing.examples.inputs
    if isinstance(inputs, ArrayImages):
        height, width = inputs.pixels.shape[1:3]
        layout += f"; {'grey' if inputs.pixels.ndim == 3 else 'RGB'} images of {height} x {width}"
    return dataclasses.replace(listing, layout=layout, notes=(*notes, *listing.notes))
