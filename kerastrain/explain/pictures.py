"""Pictures of heatmaps over their images.

Takes images and heatmaps; returns arrays and matplotlib figures, and writes PNG files. Must not know models.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from kerastrain.errors import InputError
from kerastrain.system import files


def overlay(image: np.ndarray, heatmap: np.ndarray, *, opacity: float = 0.7) -> np.ndarray:
    """An image with its heatmap blended over it; where the heatmap is 0, the image is unchanged.

    Args:
        image: uint8 or float32 (height, width, 3) in [0, 255].
        heatmap: float32 (height, width) in [0, 1].
        opacity: float in [0, 1], the weight of the heatmap's colour where the heatmap is 1.

    Returns:
        uint8 (height, width, 3).

    Raises:
        InputError: the shapes of `image` and `heatmap` do not match.
    """
    image, heatmap = np.asarray(image, "float32"), np.asarray(heatmap, "float32")
    if image.ndim != 3 or image.shape[-1] != 3 or image.shape[:2] != heatmap.shape:
        raise InputError(
            "`image` must be (height, width, 3) and `heatmap` (height, width). "
            f"Received: {image.shape} and {heatmap.shape}. Take both from one call."
        )
    colours = matplotlib.colormaps["turbo"](heatmap)[..., :3] * 255
    weights = (opacity * heatmap)[..., None]
    return np.clip(np.rint(image * (1 - weights) + colours * weights), 0, 255).astype("uint8")


def figure(images: np.ndarray, heatmaps: np.ndarray, *, titles: Sequence[str] | None = None) -> Figure:
    """Images and their overlays side by side, one row per image.

    Args:
        images: uint8 or float32 (n, height, width, 3) in [0, 255].
        heatmaps: float32 (n, height, width) in [0, 1].
        titles: sequence of n str, such as the predicted labels, without markup; None for no titles.

    Returns:
        matplotlib.figure.Figure without a window; it need not be closed.

    Raises:
        InputError: the numbers or shapes of images, heatmaps and titles do not match.
    """
    titles = [""] * len(images) if titles is None else titles
    if not len(images) or not len(images) == len(heatmaps) == len(titles):
        raise InputError(
            "`images`, `heatmaps` and `titles` must have the same length >= 1. "
            f"Received: {len(images)}, {len(heatmaps)} and {len(titles)}."
        )
    drawing = Figure(figsize=(6, 3.2 * len(images)), layout="constrained")
    rows = drawing.subplots(len(images), 2, squeeze=False)
    for (left, right), image, heatmap, title in zip(rows, images, heatmaps, titles, strict=True):
        left.imshow(np.clip(np.rint(np.asarray(image)), 0, 255).astype("uint8"))
        right.imshow(overlay(image, heatmap))
        left.set_title(title, loc="left", parse_math=False)
        for axes in (left, right):
            axes.set_axis_off()
    return drawing


def write(
    images: np.ndarray, heatmaps: np.ndarray, path: str | os.PathLike, *, titles: Sequence[str] | None = None
) -> Path:
    """Writes `figure` as a PNG file, atomically.

    Args:
        images: as for `figure`.
        heatmaps: as for `figure`.
        path: path of the PNG file.
        titles: as for `figure`.

    Returns:
        Path of the file.

    Raises:
        InputError: as for `figure`.
        OSError: the folder cannot be written to.
    """
    content = io.BytesIO()
    figure(images, heatmaps, titles=titles).savefig(content, format="png", dpi=120)
    return files.write_bytes(path, content.getvalue())
