"""What augmentation does, to look at: the first batch that training would see, before and after.

Takes `Examples` and what `batches` takes; gives a record that draws itself. Must not train.
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

_SHOWN = 12
_ACROSS = 6
_NAMED = 3  # labels under a picture; a multi-label example may have many


@dataclasses.dataclass(frozen=True, eq=False)
class Preview:
    """Examples before and after augmentation; made by `preview`.

    Attributes:
        before: images uint8 (n, height, width, 3), or texts object (n,) of str.
        after: the same, augmented.
        labels_before: n str, such as "cat".
        labels_after: n str, such as "cat 0.70, dog 0.30" where two examples were mixed.
    """

    before: np.ndarray
    after: np.ndarray
    labels_before: tuple[str, ...]
    labels_after: tuple[str, ...]

    @property
    def are_texts(self) -> bool:
        """Whether the examples are texts, which are printed and not drawn."""
        return self.before.ndim == 1

    def figure(self) -> Figure:
        """Each image above its augmented self, the label under each; a matplotlib figure that belongs to no window.

        Raises:
            InputError: the examples are texts.
        """
        if self.are_texts:
            raise InputError("a preview of texts is printed and not drawn. Use `lines`.")
        across = min(len(self.before), _ACROSS)
        rows = math.ceil(len(self.before) / across)
        height, width = self.before.shape[1:3]
        figure = Figure(figsize=(1.8 * across, rows * 2 * (1.8 * height / width + 0.3)), layout="constrained")
        panels = figure.subplots(2 * rows, across, squeeze=False)
        for index in range(rows * across):
            row, column = divmod(index, across)
            above, below = panels[2 * row][column], panels[2 * row + 1][column]
            if index < len(self.before):
                _draw(above, self.before[index], self.labels_before[index])
                _draw(below, self.after[index], f"→ {self.labels_after[index]}")
            else:
                above.set_visible(False)
                below.set_visible(False)
        return figure

    def write(self, path: str | os.PathLike) -> Path:
        """Writes `figure` as a PNG file, whole or not at all.

        Raises:
            InputError: the examples are texts.
            OSError: the folder cannot be written to.
        """
        content = io.BytesIO()
        self.figure().savefig(content, format="png", dpi=110)
        return files.write_bytes(path, content.getvalue())

    def lines(self) -> Iterator[tuple[str, str, str, str]]:
        """For each example its label and what it was before, and its label and what it is after."""
        return zip(self.labels_before, self.before, self.labels_after, self.after, strict=True)


def preview(examples: Examples, global_batch_size: int, **options) -> Preview:
    """The first examples of the first batch of training, before and after augmentation.

    Args:
        examples: Examples of images or texts.
        global_batch_size: int > 0, as in training: MixUp and CutMix find their partners in the batch.
        **options: of `batches`, such as `augment`, `shuffle` and `seed`.

    Returns:
        Preview of twelve examples, or of all where the batch has fewer.

    Raises:
        InputError: as for `batches`.

    Example:
        >>> from kerastrain import data
        >>> shown = preview(data.digits(image_size=(16, 16)).train, 32, augment=data.augment("mixup"), shuffle=True)
        >>> shown.after.shape
        (12, 16, 16, 3)
    """
    plain = options | {"augment": None}
    pairs = []
    for chosen in (plain, options):
        inputs, targets = next(batches(examples, global_batch_size, **chosen).as_numpy_iterator())[:2]
        told = tuple(_label(target, examples) for target in targets[:_SHOWN])
        pairs.append((_shown(inputs[:_SHOWN]), told))
    (before, labels_before), (after, labels_after) = pairs
    return Preview(before, after, labels_before, labels_after)


def _shown(inputs: np.ndarray) -> np.ndarray:
    if inputs.ndim == 1:
        return np.array([text.decode("utf-8", "replace") for text in inputs], object)
    return np.rint(inputs).clip(0, 255).astype(np.uint8)


def _label(target: np.ndarray, examples: Examples) -> str:
    if examples.task == "regression":
        return ", ".join(f"{name} {value:.4g}" for name, value in zip(examples.labels, target, strict=True))
    order = sorted(np.flatnonzero(target >= 0.005), key=lambda index: -target[index])
    told = [
        examples.labels[index] if target[index] > 0.995 else f"{examples.labels[index]} {target[index]:.2f}"
        for index in order
    ]
    return ", ".join(told[:_NAMED]) + (", …" if len(told) > _NAMED else "") or "no label"


def _draw(axes: Axes, image: np.ndarray, label: str) -> None:
    axes.imshow(image, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel(label, fontsize=8, loc="left", parse_math=False)
    axes.spines[:].set_visible(False)
