"""Inputs that are read only when they are asked for, so that a data set need not fit in memory.

A store looks like an array whose first axis can be indexed by an int array and by nothing else. Whatever it reads from,
the example at an index is always the same, so that the order of a run stays a pure function of its seed. Must not know
targets or import TensorFlow.
"""

import dataclasses
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from kerastrain.data.image_files import decoder
from kerastrain.data.image_files.decoder import load_image


class Store(Protocol):
    """What `Examples.inputs` may be instead of an array.

    Attributes:
        shape: (n, *shape of one input).
        dtype: NumPy type of what indexing gives: uint8 for images.
    """

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        """n, how many inputs there are."""

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The inputs at `indices`, an int array (m,), read and stacked to an array (m, *shape[1:])."""

    def subset(self, indices: np.ndarray) -> "Store":
        """The store of the inputs at `indices` alone, none of them read."""

    def content(self, index: int) -> bytes:
        """The image at `index` as the bytes of an image file, as it was before it was decoded."""


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files, decoded anew each time that they are asked for.

    Args:
        paths: n paths of image files.
        image_size: (height, width) in pixels that every image is stretched to; None where they are only counted.
    """

    paths: Sequence[str]
    image_size: tuple[int, int] | None
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.paths), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([load_image(self.paths[index], self.image_size) for index in indices])

    def subset(self, indices: np.ndarray) -> "ImageFiles":
        """The files at `indices`."""
        return ImageFiles(tuple(self.paths[index] for index in indices), self.image_size)

    def content(self, index: int) -> bytes:
        """The bytes of the file at `index`."""
        return decoder.read(self.paths[index])


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Images of one size in memory, each stretched to another when it is asked for.

    Args:
        pixels: uint8 array (n, height, width) of grey images or (n, height, width, 3) of RGB ones, in [0, 255].
        image_size: (height, width) in pixels to stretch to; None where they are only counted.
    """

    pixels: np.ndarray
    image_size: tuple[int, int] | None
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.pixels), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        width_and_height = self.image_size[::-1]
        pictures = (Image.fromarray(pixels).convert("RGB") for pixels in self.pixels[indices])
        return np.stack([picture.resize(width_and_height, Image.Resampling.BILINEAR) for picture in pictures])

    def subset(self, indices: np.ndarray) -> "ArrayImages":
        """The images at `indices`."""
        return ArrayImages(self.pixels[indices], self.image_size)

    def content(self, index: int) -> bytes:
        """The image at `index` at its own size, as a PNG file."""
        return png(self.pixels[index])


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 pixels (height, width) or (height, width, 3), without loss."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
