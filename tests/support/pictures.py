"""What a written picture shows: the pixels of a PNG file, the texts and lines of an SVG file, the data of a figure."""

import re
import xml.etree.ElementTree as ElementTree

import matplotlib.colors
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

_SVG = "{http://www.w3.org/2000/svg}"
_NUMBER = r"-?[\d.]+(?:e-?\d+)?"


def saved_figures(monkeypatch):
    """A list to which each figure that is saved from now on is appended."""
    figures, save = [], Figure.savefig

    def savefig(self, *arguments, **options):
        figures.append(self)
        return save(self, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def pixels(path):
    """The pixels of a PNG file, every byte decoded: uint8 (height, width, 3)."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def shows(path, colour):
    """Whether a PNG file has pixels of a colour that Matplotlib knows by name."""
    wanted = 255 * np.array(matplotlib.colors.to_rgb(colour))
    return bool((np.abs(pixels(path) - wanted) < 1).all(axis=-1).any())


def texts(path):
    """The texts of an SVG file by Matplotlib, which draws letters as shapes and writes the text as a comment."""
    parser = ElementTree.XMLParser(target=ElementTree.TreeBuilder(insert_comments=True))
    root = ElementTree.parse(path, parser).getroot()
    return {comment.text.strip() for comment in root.iter(ElementTree.Comment)}


def curves(path, *, points=3):
    """The curves of at least `points` points in an SVG file by Matplotlib: float arrays (n, 2), y upwards."""
    curves = []
    for group in ElementTree.parse(path).getroot().iter(f"{_SVG}g"):
        if group.get("id", "").startswith("line2d"):
            for line in group.findall(f"{_SVG}path"):
                pairs = re.findall(rf"[ML] ({_NUMBER}) ({_NUMBER})", line.get("d"))
                curves.append(np.array(pairs, float) * [1, -1])
    return [curve for curve in curves if len(curve) >= points]


def assert_proportional(drawn, values, *, points=0.1):
    """Fails unless positions in a picture are those of `values` on a linear axis that rises, as far as `points` apart."""
    slope, start = np.polyfit(values, drawn, 1)
    assert slope > 0
    np.testing.assert_allclose(drawn, start + slope * np.asarray(values), atol=points)
