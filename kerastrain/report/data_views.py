"""The data of a run as a page shows them: examples of each class and part, samples, and what was skipped.

Takes the contents of a run's files; returns plain values, charts and pictures as data. Must not read files.
"""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence

import PIL.Image

from kerastrain.data.image_files import quarantine
from kerastrain.report import charts, reading

MOST_ROWS = 25
"""The largest number of classes in a table of counts that is shown at once."""

MOST_SKIPPED = 200
"""The largest number of skipped files that are listed."""

_LARGE_BYTES, _LARGE_PIXELS = 50_000, 800
_PARTS = {"train": "c0", "validation": "c1", "test": "c2"}


def training_data(record: Mapping, picture: bytes) -> dict | None:
    """Prepares what a model was trained on.

    Args:
        record: mapping, the contents of `training_data.json`; empty for runs of earlier versions.
        picture: bytes of `training_samples.png`; empty if there is none.

    Returns:
        dict with "counts" (list of (part, count)), "rows" (list of (label, counts of each part, share of the largest)),
        "charts", "samples" (list of (label, picture as data)), "texts" (list of (label, text)), "imbalance" (float or None) and
        all of `record`; None without a record.
    """
    if not record:
        return None
    parts = record["parts"]
    counted = [name for name, part in parts.items() if part.get("classes")]
    rows = []
    for number, label in enumerate(record.get("labels", []) if counted else []):
        rows.append((label, [parts[name]["classes"][number] for name in counted]))
    largest = max((sum(counts) for _, counts in rows), default=0) or 1
    train = [counts[0] for _, counts in rows if counted[0] == "train"]
    return {
        **record,
        "counts": [(name, part["count"]) for name, part in parts.items()],
        "counted": [(name, _PARTS.get(name, "c7")) for name in counted],
        "rows": [(label, counts, [count / largest for count in counts]) for label, counts in rows],
        "charts": [chart for chart in (_columns(rows, counted), *_histograms(parts)) if chart],
        "imbalance": max(train) / min(train) if train and min(train) else None,
        "samples": _tiles(record.get("samples") or {}, picture),
        "texts": record.get("texts") or [],
    }


def skipped(rows: Sequence[Mapping[str, str]]) -> dict:
    """Prepares the files that were not used.

    Args:
        rows: sequence of mappings, the rows of `quarantine.csv`.

    Returns:
        dict with "count", "kinds" (list of (kind, count, meaning, whether it is alarming)) and "rows", the first of them.
    """
    counts = Counter(row["kind"] for row in rows)
    # Duplicates come first, because they can make the measures misleading.
    order = sorted(counts, key=lambda kind: (kind not in quarantine.ALARMING, kind not in quarantine.REPEATS, kind))
    kinds = [(kind, counts[kind], quarantine.KINDS.get(kind, ""), kind in quarantine.ALARMING) for kind in order]
    return {"count": len(rows), "kinds": kinds, "rows": rows[:MOST_SKIPPED]}


def as_data(picture: bytes) -> str:
    """A picture as the address of an `img` element; a large one becomes a JPEG, so that a page with dozens can be sent.

    Args:
        picture: bytes of a PNG or JPEG file.

    Returns:
        str.
    """
    if len(picture) > _LARGE_BYTES and reading.kind(picture):
        with PIL.Image.open(io.BytesIO(picture)) as opened:
            opened.thumbnail((_LARGE_PIXELS, _LARGE_PIXELS))
            white = PIL.Image.new("RGBA", opened.size, "white")
            white.alpha_composite(opened.convert("RGBA"))
        content = io.BytesIO()
        white.convert("RGB").save(content, "JPEG", quality=82)
        picture = content.getvalue()
    return f"data:{reading.kind(picture) or 'image/png'};base64,{base64.b64encode(picture).decode()}"


def _columns(rows: Sequence[tuple], counted: Sequence[str]) -> str:
    """The classes as columns, the most frequent first; nothing for few classes, which a table shows."""
    if len(rows) <= MOST_ROWS:
        return ""
    ordered = sorted(rows, key=lambda row: -sum(row[1]))
    stacks = [
        (
            f"{label}: " + ", ".join(f"{count:,} {name}" for name, count in zip(counted, counts, strict=True)),
            dict(zip(counted, counts, strict=True)),
        )
        for label, counts in ordered
    ]
    colours = {name: _PARTS.get(name, "c7") for name in counted}
    title = f"the {len(rows):,} classes, the most frequent first"
    return charts.columns(stacks, colours, x_title=title, y_title="examples", description="Examples of each class")


def _histograms(parts: Mapping[str, Mapping]) -> list[str]:
    """The distribution of each target of a regression, as lines over the middles of the bins."""
    lines: dict[str, list[charts.Line]] = {}
    for name, part in parts.items():
        for target in part.get("targets") or []:
            line = charts.Line(name, target["middles"], target["shares"], _PARTS.get(name, "c7"))
            lines.setdefault(target["label"], []).append(line)
    return [charts.lines(series, x_title=label, y_title="share of the examples") for label, series in lines.items()]


def _tiles(layout: Mapping, picture: bytes) -> list[tuple[str, str]]:
    """Cuts a sheet of samples into its pictures."""
    labels = layout.get("labels") or []
    if not picture or not labels:
        return []
    height, width = layout["tile"]
    with PIL.Image.open(io.BytesIO(picture)) as sheet:
        sheet.load()
        tiles = []
        for number, label in enumerate(labels):
            row, column = divmod(number, layout["columns"])
            box = (column * width, row * height, (column + 1) * width, (row + 1) * height)
            content = io.BytesIO()
            sheet.crop(box).save(content, "PNG")
            tiles.append((label, as_data(content.getvalue())))
    return tiles
