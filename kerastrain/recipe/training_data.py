"""Records what a model is trained on: examples of each class and part, and samples as the model gets them.

Takes a `Split` and the config; writes `training_data.json` and, for images, `training_samples.png`, which the report shows.
"""

import io
from pathlib import Path

import numpy as np
import PIL.Image

from kerastrain import data
from kerastrain.config import Config
from kerastrain.recipe import plan
from kerastrain.system import files, stopwatch

FILE, PICTURE = "training_data.json", "training_samples.png"
_BATCH = 24  # examples that MixUp and CutMix can mix; a sample needs no whole batch
_COLUMNS = 6
_LARGEST, _SMALLEST = 112, 64  # pixels of the longer side of a sample
_TEXTS, _CHARACTERS = 6, 300
_FEWEST_BINS, _MOST_BINS, _MOST_TARGETS = 6, 24, 4


@data.surface_read_errors()
@stopwatch.timed("reading data")
def write(config: Config, split: data.Split, directory: Path) -> None:
    """Writes the files, unless an earlier process of this run has.

    Args:
        config: Config.
        split: data.Split.
        directory: Path of the run.

    Raises:
        InputError: an example cannot be read.
    """
    if (directory / FILE).exists():
        return
    augments = bool(config.data.augment.named) and any(
        phase.name != "head" for phase in plan.phases(config, len(split.train))
    )
    shown, labels = data.samples(
        split.train,
        min(_BATCH, config.fit.global_batch_size),
        shuffle=True,
        sampling=config.data.sampling,
        seed=config.runtime.seed,
        augment=data.augment(**config.data.augment.named) if augments else None,
    )
    record = {
        "kind": config.data.kind,
        "task": split.train.task,
        "source": str(config.data.path),
        "labels": list(split.labels),
        "parts": {name: _part(part, split) for name, part in split.parts.items()},
        "augmented": augments,
    }
    if shown.ndim == 1:
        record["texts"] = [[label, _shortened(text)] for label, text in zip(labels, shown[:_TEXTS], strict=False)]
    else:
        tiles = [_tile(image) for image in shown]
        files.write_bytes(directory / PICTURE, _sheet(tiles))
        record["samples"] = {"tile": [tiles[0].height, tiles[0].width], "columns": _COLUMNS, "labels": list(labels)}
    files.write_json(directory / FILE, record)  # last: with it, both are there


def _part(part: data.Examples, split: data.Split) -> dict:
    if part.task != "regression":
        return {"count": len(part), "classes": part.class_counts.tolist()}
    targets = []
    for index, label in enumerate(part.labels[:_MOST_TARGETS]):
        everything = np.concatenate([other.targets[:, index] for other in split.parts.values()])
        bins = int(np.clip(np.sqrt(len(everything)), _FEWEST_BINS, _MOST_BINS))
        edges = np.histogram_bin_edges(everything, bins)
        counts = np.histogram(part.targets[:, index], edges)[0]
        middles = (edges[:-1] + edges[1:]) / 2
        targets.append({"label": label, "middles": middles.tolist(), "shares": (counts / len(part)).tolist()})
    return {"count": len(part), "targets": targets}


def _tile(image: np.ndarray) -> PIL.Image.Image:
    """An image of a size that can be seen, and that is small in a page."""
    longer = max(image.shape[:2])
    factor = max(_SMALLEST // longer, 1) if longer < _SMALLEST else min(_LARGEST / longer, 1)
    size = [max(round(side * factor), 1) for side in (image.shape[1], image.shape[0])]
    return PIL.Image.fromarray(image).resize(size, PIL.Image.Resampling.NEAREST if factor > 1 else None)


def _sheet(tiles: list[PIL.Image.Image]) -> bytes:
    width, height = tiles[0].size
    sheet = PIL.Image.new("RGB", (_COLUMNS * width, -(-len(tiles) // _COLUMNS) * height))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, _COLUMNS)
        sheet.paste(tile, (column * width, row * height))
    content = io.BytesIO()
    sheet.save(content, "PNG")
    return content.getvalue()


def _shortened(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS] + " …"
