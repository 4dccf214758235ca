"""The two records that data travels in: `Examples`, read at random, and `Split`, its three parts.

Takes arrays or paths, gives arrays. Must not know where examples come from (`sources`) or how they are batched
(`pipeline`).
"""

import dataclasses

import numpy as np

from kerastrain.data.images import load_image


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Labelled examples that can be read in any order, from memory or from their files.

    Attributes:
        labels: int64 array (n,) in [0, class_count), the class of each example.
        class_count: int > 0, the number of classes, whether or not each occurs here.
        inputs: array (n, ...) of all inputs, decoded: uint8 (n, height, width, 3) for images, float32 (n, d) for
            features, object (n,) of str for texts; None where the images did not fit in memory and `read` decodes their files.
        paths: tuple of n str, the file of each example, or None where the examples were never files.
        image_size: (height, width) in pixels, or None where the inputs are no images.
    """

    labels: np.ndarray
    class_count: int
    inputs: np.ndarray | None = None
    paths: tuple[str, ...] | None = None
    image_size: tuple[int, int] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, such as (224, 224, 3)."""
        return (*self.image_size, 3) if self.inputs is None else self.inputs.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs that `read` returns: uint8 for images."""
        return np.dtype(np.uint8) if self.inputs is None else self.inputs.dtype

    @property
    def class_counts(self) -> np.ndarray:
        """int64 array (class_count,), how many examples each class has here."""
        return np.bincount(self.labels, minlength=self.class_count)

    def image(self, index: int) -> np.ndarray:
        """The image at `index`, 0 <= index < n, as a uint8 array (height, width, 3) in [0, 255]."""
        return load_image(self.paths[index], self.image_size) if self.inputs is None else self.inputs[index]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The inputs at `indices`, an int array (m,), stacked to an array (m, *shape)."""
        if self.inputs is not None:
            return np.take(self.inputs, indices, axis=0)
        return np.stack([load_image(self.paths[index], self.image_size) for index in indices])


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One data set in its parts, which share no example.

    Attributes:
        train: Examples to fit on.
        validation: Examples to choose by (the best epoch, the best search trial), or None.
        test: Examples to report on, touched by no choice, or None.
        labels: tuple of str, the name of each class in the order of the label numbers.
    """

    train: Examples
    validation: Examples | None
    test: Examples | None
    labels: tuple[str, ...]

    @property
    def parts(self) -> dict[str, Examples]:
        """The parts that exist, by name, in the order train, validation, test."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}
