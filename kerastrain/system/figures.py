"""Writes Matplotlib figures to files, whole or not at all. Must not import TensorFlow, nor Matplotlib before it is used."""

import os
from pathlib import Path

from kerastrain.errors import InputError, unknown
from kerastrain.system import files


def write(figure, path: str | os.PathLike) -> Path:
    """Writes a figure in the image format that the suffix of `path` names.

    Args:
        figure: matplotlib.figure.Figure.
        path: path of the file, which ends in .png, .svg, .pdf or another suffix that Matplotlib knows.

    Returns:
        Path of the file.

    Raises:
        InputError: Matplotlib does not know the suffix.
    """
    suffixes = figure.canvas.get_supported_filetypes()
    suffix = Path(path).suffix
    if suffix.lower().removeprefix(".") not in suffixes:
        raise InputError(f"cannot write a figure to {os.fspath(path)!r}: {unknown('suffix', suffix, suffixes)}")
    with files.atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)
