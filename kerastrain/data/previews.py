"""A preview of augmentation: the first batch of training, before and after it is augmented.

Takes `Examples` and the options of `batches`; returns a record that can be drawn or printed. Must not train.
"""

import dataclasses
import io
import math
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from kerastrain.data.examples import Examples
from kerastrain.data.pipeline import batches
from kerastrain.errors import InputError
from kerastrain.system import files

_MAX_EXAMPLES = 12
_MAX_COLUMNS = 6
_MAX_LABELS = 3  # Under each image; a multi-label example may have many.


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
    """Examples before and after augmentation, as returned by `preview`.

    Attributes:
        before: images as uint8 (n, height, width, 3) in [0, 255], or texts as object (n,) of str; the two texts of a pair are
            separated by " | ".
        after: the same examples, augmented, in the same type.
        labels_before: n str, such as "cat".
        labels_after: n str, such as "cat 0.70, dog 0.30" where two examples were mixed.
    """

    before: np.ndarray
    after: np.ndarray
    labels_before: tuple[str, ...]
    labels_after: tuple[str, ...]

    @property
    def are_texts(self) -> bool:
        """Whether the examples are texts, which are printed instead of drawn."""
        return self.before.ndim == 1

    def figure(self) -> Figure:
        """Draws each image above its augmented version, with the label under each.

        Returns:
            matplotlib Figure, not attached to a window.

        Raises:
            InputError: the examples are texts.
        """
        if self.are_texts:
            raise InputError("a preview of texts is printed, not drawn. Use `lines`.")
        columns = min(len(self.before), _MAX_COLUMNS)
        rows = math.ceil(len(self.before) / columns)
        height, width = self.before.shape[1:3]
        figure = Figure(figsize=(1.8 * columns, rows * 2 * (1.8 * height / width + 0.3)), layout="constrained")
        panels = figure.subplots(2 * rows, columns, squeeze=False)
        for index in range(rows * columns):
            row, column = divmod(index, columns)
            above, below = panels[2 * row][column], panels[2 * row + 1][column]
            if index < len(self.before):
                _draw(above, self.before[index], self.labels_before[index])
                _draw(below, self.after[index], f"→ {self.labels_after[index]}")
            else:
                above.set_visible(False)
                below.set_visible(False)
        return figure

    def write(self, path: str | os.PathLike) -> Path:
        """Writes `figure` as a PNG file, atomically.

        Args:
            path: path of the file to write; an existing file is replaced.

        Returns:
            Path of the file.

        Raises:
            InputError: the examples are texts.
            OSError: the folder cannot be written to.
        """
        content = io.BytesIO()
        self.figure().savefig(content, format="png", dpi=110)
        return files.write_bytes(path, content.getvalue())

    def lines(self) -> Iterator[tuple[str, str, str, str]]:
        """Yields (label before, example before, label after, example after) for each example."""
        return zip(self.labels_before, self.before, self.labels_after, self.after, strict=True)


def preview(examples: Examples, global_batch_size: int, **options) -> Preview:
    """Returns the first examples of the first training batch, before and after augmentation.

    Args:
        examples: Examples of images or texts.
        global_batch_size: int > 0, as in training: MixUp and CutMix take their partners from the batch.
        **options: options of `batches`, such as `augment`, `shuffle` and `seed`.

    Returns:
        Preview of twelve examples, or of the whole batch if it has fewer.

    Raises:
        InputError: as for `batches`.

    Example:
        >>> from kerastrain import data
        >>> digits = data.digits(image_size=(16, 16)).train
        >>> preview(digits, 32, augment=data.augment("mixup"), shuffle=True).after.shape
        (12, 16, 16, 3)
    """
    before, labels_before = samples(examples, global_batch_size, **options | {"augment": None})
    after, labels_after = samples(examples, global_batch_size, **options)
    return Preview(before, after, labels_before, labels_after)


def samples(examples: Examples, global_batch_size: int, **options) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the first examples of the first training batch, as the model gets them.

    Args:
        examples: Examples of images or texts.
        global_batch_size: int > 0, as for `preview`.
        **options: options of `batches`.

    Returns:
        tuple of twelve examples, or the whole batch if it has fewer, in the type of `Preview.after`, and of their labels.

    Raises:
        InputError: as for `batches`.
    """
    dataset = batches(examples.without_numbers(), global_batch_size, **options)
    inputs, targets = next(dataset.as_numpy_iterator())[:2]
    labels = tuple(_label(target, examples) for target in targets[:_MAX_EXAMPLES])
    return _displayable(inputs[:_MAX_EXAMPLES]), labels


def _displayable(inputs: np.ndarray) -> np.ndarray:
    if inputs.dtype == object:
        rows = inputs.reshape(len(inputs), -1)
        return np.array([" | ".join(text.decode("utf-8", "replace") for text in row) for row in rows], object)
    return np.rint(inputs).clip(0, 255).astype(np.uint8)


def _label(target: np.ndarray, examples: Examples) -> str:
    if examples.task == "regression":
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(examples.labels, target, strict=True))
    order = sorted(np.flatnonzero(target >= 0.005), key=lambda index: -target[index])
    labels = [
        examples.labels[index] if target[index] > 0.995 else f"{examples.labels[index]} {target[index]:.2f}"
        for index in order
    ]
    return ", ".join(labels[:_MAX_LABELS]) + (", …" if len(labels) > _MAX_LABELS else "") or "no label"


def _draw(axes: Axes, image: np.ndarray, label: str) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=8, loc="left", parse_math=False)
    axes.spines[:].set_visible(False)
