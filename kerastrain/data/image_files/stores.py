"""Inputs that are read on demand, so that a data set need not fit in memory.

A store looks like an array whose first axis can be indexed by an int array only. The example at an index never changes,
so that the order of a run is a pure function of its seed. Must not know targets or import TensorFlow.
"""

import dataclasses
import io
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from PIL import Image

from kerastrain.data.image_files import decoder
from kerastrain.data.image_files.decoder import load_image
from kerastrain.data.image_files.resizing import resized
from kerastrain.decoding import Decoding


class Store(Protocol):
    """Interface of `Examples.inputs` that are not an array.

    Attributes:
        shape: (n, *shape of one input).
        dtype: NumPy dtype of the inputs; uint8 for images.
        decoding: Decoding, how images are decoded.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    decoding: Decoding

    def __len__(self) -> int:
        """Number of inputs n."""

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        """The inputs at `indices`, an int array (m,), read and stacked to an array (m, *shape[1:])."""

    def subset(self, indices: np.ndarray) -> "Store":
        """Selects inputs without reading them.

        Args:
            indices: int array (m,) in [0, n).

        Returns:
            Store of m inputs.
        """

    def content(self, index: int) -> bytes:
        """An image before it is decoded.

        Args:
            index: int in [0, n).

        Returns:
            bytes of an image file.
        """


@dataclasses.dataclass(frozen=True)
class ImageFiles:
    """Image files, decoded each time they are indexed.

    Args:
        paths: n paths of image files.
        image_size: (height, width) in pixels, both int >= 1, that every image is resized to; None if the files are only
            counted.
        decoding: Decoding.
    """

    paths: Sequence[str]
    image_size: tuple[int, int] | None
    decoding: Decoding = Decoding()
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.paths), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        return np.stack([load_image(self.paths[index], self.image_size, self.decoding) for index in indices])

    def subset(self, indices: np.ndarray) -> "ImageFiles":
        """Selects files without reading them.

        Args:
            indices: int array (m,) in [0, n).

        Returns:
            ImageFiles of m paths.
        """
        return dataclasses.replace(self, paths=tuple(self.paths[index] for index in indices))

    def content(self, index: int) -> bytes:
        """Reads a file.

        Args:
            index: int in [0, n).

        Returns:
            bytes of the file.
        """
        return decoder.read(self.paths[index])


@dataclasses.dataclass(frozen=True)
class ArrayImages:
    """Images of one size in memory, resized each time they are indexed.

    Args:
        pixels: uint8 array (n, height, width) for grey images or (n, height, width, 3) for RGB, in [0, 255].
        image_size: (height, width) in pixels, both int >= 1, that every image is resized to; None if the images are only
            counted.
        decoding: Decoding, of which `resize` applies; the others are stored for the model.
    """

    pixels: np.ndarray
    image_size: tuple[int, int] | None
    decoding: Decoding = Decoding()
    dtype = np.dtype(np.uint8)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, height, width, 3)."""
        return (len(self.pixels), *self.image_size, 3)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: np.ndarray) -> np.ndarray:
        if self.pixels.shape[1:] == (*self.image_size, 3):
            return self.pixels[indices]
        pictures = (Image.fromarray(pixels).convert("RGB") for pixels in self.pixels[indices])
        return np.stack([resized(picture, self.image_size, self.decoding.resize) for picture in pictures])

    def subset(self, indices: np.ndarray) -> "ArrayImages":
        """Selects images.

        Args:
            indices: int array (m,) in [0, n).

        Returns:
            ArrayImages of m images.
        """
        return dataclasses.replace(self, pixels=self.pixels[indices])

    def content(self, index: int) -> bytes:
        """Encodes an image at its original size.

        Args:
            index: int in [0, n).

        Returns:
            bytes of a PNG file.
        """
        return png(self.pixels[index])


def png(pixels: np.ndarray) -> bytes:
    """Encodes an image as PNG, without loss.

    Args:
        pixels: uint8 array (height, width) or (height, width, 3) in [0, 255].

    Returns:
        bytes of a PNG file.
    """
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()
