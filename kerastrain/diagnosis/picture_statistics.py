"""Small numbers about pictures, from which near-duplicates and bad pictures are found.

Takes pixels, returns arrays of about a kilobyte a picture, so that tens of thousands fit into memory. Must not open files.
"""

import dataclasses
from collections.abc import Iterable

import numpy as np
import scipy
from PIL import Image

_SIDE, _FREQUENCIES, _THUMB_SIDE = 32, 8, 16  # pixels, frequencies, pixels
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
_BRIGHT, _DARK = 250, 5


@dataclasses.dataclass(frozen=True, eq=False)
class PictureStatistics:
    """Statistics of n pictures.

    Args:
        frequencies: float32 (n, 8, 8), the lowest frequencies of the discrete cosine transform of the grey picture at 32 x 32
            pixels, for `perceptual_hashes`.
        thumbs: uint8 (n, 16, 16, 3), the picture at 16 x 16 pixels.
        sharpness: float32 (n,), the variance of the Laplacian of the grey picture in [0, 255].
        brightness: float32 (n,), the mean of the grey picture in [0, 255].
        contrast: float32 (n,), the standard deviation of the grey picture.
        bright_fraction: float32 (n,), the fraction of pixels that are nearly white.
        dark_fraction: float32 (n,), the fraction of pixels that are nearly black.
        entropy: float32 (n,), the entropy of the grey picture's histogram of 64 bins, in bits.
    """

    frequencies: np.ndarray
    thumbs: np.ndarray
    sharpness: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray
    bright_fraction: np.ndarray
    dark_fraction: np.ndarray
    entropy: np.ndarray

    def __len__(self) -> int:
        return len(self.thumbs)


def picture_statistics(batches: Iterable[np.ndarray]) -> PictureStatistics:
    """Computes the statistics of pictures.

    Args:
        batches: iterable of uint8 (m, height, width, 3) in [0, 255].

    Returns:
        PictureStatistics of all pictures, in order.
    """
    rows = [_statistics(image) for batch in batches for image in batch]
    columns = zip(*rows, strict=True) if rows else ([] for _ in dataclasses.fields(PictureStatistics))
    arrays = dict(zip((field.name for field in dataclasses.fields(PictureStatistics)), columns, strict=True))
    stacked = {name: np.array(values, None if name == "thumbs" else np.float32) for name, values in arrays.items()}
    return PictureStatistics(**stacked)


def perceptual_hashes(frequencies: np.ndarray) -> np.ndarray:
    """The perceptual hash of each picture, which hardly changes with size, quality and brightness.

    A bit says whether a low frequency, without the mean, is above the median of them.

    Args:
        frequencies: float (n, 8, 8), as in `PictureStatistics.frequencies`.

    Returns:
        bool (n, 63).

    Reference: Zauner 2010, Implementation and benchmarking of perceptual image hash functions, section 3.2.
    """
    low = frequencies.reshape(len(frequencies), -1)[:, 1:]
    return low > np.median(low, axis=1, keepdims=True)


def _low_frequencies(image: np.ndarray) -> np.ndarray:
    small = Image.fromarray(image).convert("L").resize((_SIDE, _SIDE), Image.Resampling.BOX)
    return scipy.fft.dctn(np.asarray(small, np.float32), norm="ortho")[:_FREQUENCIES, :_FREQUENCIES]


def _statistics(image: np.ndarray) -> tuple:
    grey = image @ _GREY
    thumb = Image.fromarray(image).resize((_THUMB_SIDE, _THUMB_SIDE), Image.Resampling.BOX)
    histogram = np.bincount((grey / 4).astype(np.int64).ravel(), minlength=64)[:64] / grey.size
    used = histogram[histogram > 0]
    return (
        _low_frequencies(image),
        np.asarray(thumb),
        scipy.ndimage.laplace(grey).var(),
        grey.mean(),
        grey.std(),
        (grey >= _BRIGHT).mean(),
        (grey <= _DARK).mean(),
        -(used * np.log2(used)).sum(),
    )
