"""Pictures of heatmaps over their images.

Takes images and heatmaps; returns arrays and matplotlib figures, and writes PNG files. Must not know models.
"""

import dataclasses
import io
import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
import scipy
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from kerastrain.errors import InputError
from kerastrain.system import files
from kerastrain.system.terminal import printable

_COLOURS = "turbo"
_STRONG_PERCENTILE = 99.5
_LONGEST_TITLE = 58  # characters of a line over a picture
_CELL, _COLUMNS, _CAPTION, _GAP = 180, 5, 36, 10  # pixels, of a contact sheet
MOST_ON_SHEET = 50
"""The largest number of pictures of a contact sheet."""


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
    colours = matplotlib.colormaps[_COLOURS](heatmap)[..., :3] * 255
    weights = (opacity * heatmap)[..., None]
    return np.clip(np.rint(image * (1 - weights) + colours * weights), 0, 255).astype("uint8")


def pixel_overlay(image: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """The heatmap of single pixels over a pale grey image, smoothed and bright enough to be seen.

    Values are smoothed over a hundredth of the image's side and divided by their 99.5th percentile.

    Args:
        image: uint8 or float32 (height, width, 3) in [0, 255].
        heatmap: float32 (height, width) in [0, 1].

    Returns:
        uint8 (height, width, 3).

    Raises:
        InputError: as for `overlay`.
    """
    smooth = scipy.ndimage.gaussian_filter(np.asarray(heatmap, "float32"), max(0.5, min(heatmap.shape) / 100))
    strong = np.percentile(smooth, _STRONG_PERCENTILE) or smooth.max()
    visible = np.clip(smooth / strong, 0, 1) if strong > 0 else smooth
    grey = np.asarray(image, "float32").mean(axis=-1, keepdims=True)
    return overlay(np.broadcast_to(150 + 0.4 * grey, np.shape(image)), visible, opacity=1.0)


def figure(
    images: np.ndarray,
    heatmaps: np.ndarray,
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[str] | None = None,
    is_smoothed: bool = False,
) -> Figure:
    """Images and their overlays side by side with the scale of the colours, one row per image.

    Args:
        images: uint8 or float32 (n, height, width, 3) in [0, 255].
        heatmaps: float32 (n, height, width) in [0, 1].
        titles: sequence of n str, such as the predicted labels, without markup; None for no titles.
        notes: sequence of n str, smaller lines under the titles; None for none.
        is_smoothed: bool, whether to draw `pixel_overlay`, for heatmaps of single pixels.

    Returns:
        matplotlib.figure.Figure without a window; it need not be closed.

    Raises:
        InputError: the numbers or shapes of images, heatmaps and titles do not match.
    """
    titles = [""] * len(images) if titles is None else titles
    notes = [""] * len(images) if notes is None else notes
    if not len(images) or not len(images) == len(heatmaps) == len(titles) == len(notes):
        raise InputError(
            "`images`, `heatmaps` and `titles` must have the same length >= 1. "
            f"Received: {len(images)}, {len(heatmaps)} and {len(titles)}."
        )
    drawing = Figure(figsize=(7, 3.5 * len(images)), layout="constrained")
    rows = drawing.subfigures(len(images), 1, squeeze=False)[:, 0]
    for row, image, heatmap, title, note in zip(rows, images, heatmaps, titles, notes, strict=True):
        left, right = row.subplots(1, 2)
        left.imshow(_pixels(image))
        right.imshow((pixel_overlay if is_smoothed else overlay)(_rgb(image), heatmap))
        for axes in (left, right):
            axes.set_axis_off()
        if title or note:
            text = "\n".join(part for part in (_short(title), *note.split("\n")) if part)
            row.suptitle(text, x=0.02, ha="left", fontsize=9, parse_math=False)
        scale = row.colorbar(ScalarMappable(cmap=_COLOURS), ax=right, fraction=0.05, pad=0.03)
        scale.set_label(f"share of the largest value{', smoothed' if is_smoothed else ''}", fontsize=8)
        scale.ax.tick_params(labelsize=8)
    return drawing


def write(
    images: np.ndarray,
    heatmaps: np.ndarray,
    path: str | os.PathLike,
    *,
    titles: Sequence[str] | None = None,
    notes: Sequence[str] | None = None,
    is_smoothed: bool = False,
) -> Path:
    """Writes `figure` as a PNG file, atomically.

    Args:
        images: as for `figure`.
        heatmaps: as for `figure`.
        path: path of the PNG file.
        titles: as for `figure`.
        notes: as for `figure`.
        is_smoothed: as for `figure`.

    Returns:
        Path of the file.

    Raises:
        InputError: as for `figure`.
        OSError: the folder cannot be written to.
    """
    content = io.BytesIO()
    drawing = figure(images, heatmaps, titles=titles, notes=notes, is_smoothed=is_smoothed)
    with warnings.catch_warnings():
        # A file name may be written in a script that the font lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")
        drawing.savefig(content, format="png", dpi=120)
    return files.write_bytes(path, content.getvalue())


@dataclasses.dataclass(frozen=True)
class SheetCell:
    """A picture of a contact sheet.

    Args:
        picture: uint8 array (height, width, 3).
        lines: tuple of str under it, at most two.
        is_wrong: bool, whether the second line is red.
    """

    picture: np.ndarray
    lines: tuple[str, ...]
    is_wrong: bool = False


def write_sheet(cells: Sequence[SheetCell], path: str | os.PathLike, *, title: str) -> Path:
    """Writes many pictures as one PNG file, with the scale of their colours, atomically.

    Args:
        cells: sequence of SheetCell, at least one.
        path: path of the PNG file.
        title: str.

    Returns:
        Path of the file.

    Raises:
        OSError: the folder cannot be written to.
    """
    columns = min(_COLUMNS, max(len(cells), 3))
    rows = -(-len(cells) // columns)
    top = 64
    width = columns * (_CELL + _GAP) + _GAP
    sheet = Image.new("RGB", (width, top + rows * (_CELL + _CAPTION + _GAP)), "white")
    draw, font, small = ImageDraw.Draw(sheet), _font(15), _font(12)
    draw.text((_GAP, 8), _fitting(draw, title, font, width - 2 * _GAP), "black", font)
    ramp = np.broadcast_to(matplotlib.colormaps[_COLOURS](np.linspace(0, 1, 160))[None, :, :3], (10, 160, 3))
    sheet.paste(Image.fromarray(np.uint8(255 * ramp)), (_GAP + 14, 38))
    draw.text((_GAP, 35), "0", "black", small)
    draw.text((_GAP + 180, 35), "1, share of the largest value of each image", "black", small)
    for index, cell in enumerate(cells):
        left = _GAP + index % columns * (_CELL + _GAP)
        upper = top + index // columns * (_CELL + _CAPTION + _GAP)
        picture = Image.fromarray(cell.picture)
        scale = _CELL / max(picture.size)
        picture = picture.resize([max(1, round(side * scale)) for side in picture.size])
        sheet.paste(picture, (left + (_CELL - picture.width) // 2, upper + (_CELL - picture.height) // 2))
        for number, line in enumerate(cell.lines[:2]):
            colour = "#b00020" if cell.is_wrong and number == 1 else "black"
            draw.text((left, upper + _CELL + 2 + 16 * number), _fitting(draw, line, small, _CELL), colour, small)
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return files.write_bytes(path, content.getvalue())


def _pixels(image: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(_rgb(image)), 0, 255).astype("uint8")


def _rgb(image: np.ndarray) -> np.ndarray:
    """A grey image with three channels; any other as it is."""
    image = np.asarray(image)
    return np.repeat(image, 3, axis=-1) if image.ndim == 3 and image.shape[-1] == 1 else image


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_TITLE else f"{text[: _LONGEST_TITLE - 1]}…"


def _fitting(draw: ImageDraw.ImageDraw, text: str, font, width: int) -> str:
    """The start of a text that fits into a width, in one line."""
    text = printable(" ".join(text.split()))
    if draw.textlength(text, font) <= width:
        return text
    while text and draw.textlength(f"{text}…", font) > width:
        text = text[:-1]
    return f"{text}…"


def _font(size: int):
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
