"""Matplotlib figures written to files, whole or not at all. Must not import TensorFlow, nor Matplotlib before it is used."""

import os
from pathlib import Path

from kerastrain.errors import InputError, unknown
from kerastrain.system import files


def write(figure, path: str | os.PathLike) -> Path:
    """Writes a figure as the picture that the suffix of `path` names.

    Args:
        figure: matplotlib.figure.Figure.
        path: path of the file, ending in .png, .svg, .pdf or another suffix that Matplotlib knows.

    Returns:
        Path of the file.

    Raises:
        InputError: Matplotlib writes no such files.
    """
    kinds = figure.canvas.get_supported_filetypes()
    if Path(path).suffix.lower().removeprefix(".") not in kinds:
        raise InputError(f"{os.fspath(path)!r} is no name for a picture: {unknown('suffix', Path(path).suffix, kinds)}")
    with files.atomic(path) as temporary:
        figure.savefig(temporary, dpi=150)
    return Path(path)
