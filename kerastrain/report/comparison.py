"""Writes a page about runs compared on the same examples.

Takes the record of a comparison; writes a self-contained page. Must not read the files of runs.
"""

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from markupsafe import Markup

import kerastrain
from kerastrain.report import formats, templates
from kerastrain.system import files

MOST_CLASSES = 200
"""The largest number of classes on the page for a run; of more, those that differ most."""

_WIDTH, _HEIGHT = 150, 16
_TITLES = {
    "exact": "all labels right",
    "macro.average_precision": "macro average precision",
    "macro.roc_auc": "macro ROC AUC",
    "f1": "F1",
    "macro.f1": "macro F1",
    "mae": "mean absolute error",
    "r2": "R²",
    "rmse": "root mean squared error",
    "spearman": "Spearman's correlation",
}


def write(record: Mapping, path: str | os.PathLike) -> Path:
    """Writes the page of a comparison.

    Args:
        record: mapping as from `recipe.comparing.Comparison.record`.
        path: path of the page.

    Returns:
        Path of the page.

    Raises:
        WriteError: the page cannot be written.
    """
    environment = templates.environment()
    environment.filters |= {
        "signed": signed,
        "title_of": title,
    }
    page = environment.get_template("comparison.html").render(
        record=record,
        others=[_other(other) for other in record["comparisons"]],
        overview=overview(record),
        facts=fact_rows(record),
        settings=[(key, [shown(value) for value in values]) for key, values in record["settings"].items()],
        version=kerastrain.__version__,
    )
    return files.write_text(path, page)


def signed(value: float | None) -> str:
    """A difference as text.

    Args:
        value: float, or None if it is undefined.

    Returns:
        str.
    """
    return formats.UNDEFINED if value is None else f"{value:+.3g}" if value else "0"


def title(measure: str) -> str:
    """The name of a measure for people.

    Args:
        measure: str, such as "macro.f1".

    Returns:
        str, such as "macro F1".
    """
    return _TITLES.get(measure, measure.replace("_", " "))


def most_different(classes: Sequence[Mapping], most: int) -> list[Mapping]:
    """The classes of a comparison that differ most, in their order; all of them if there are few.

    Args:
        classes: sequence of mappings, "classes" of a comparison.
        most: int > 0, the largest number.

    Returns:
        list of mappings.
    """
    rank = lambda index: (classes[index].get("p_holm") or 1.0, -abs(classes[index]["difference"] or 0.0))
    return [classes[index] for index in sorted(sorted(range(len(classes)), key=rank)[:most])]


def overview(record: Mapping) -> list[tuple[str, ...]]:
    """All runs by their first measure, accuracy or R², the first run first.

    Args:
        record: mapping, as for `write`.

    Returns:
        list of (run, measure, difference, interval, verdict, p after Holm), texts; empty for two runs, which one table shows.
    """
    others = record["comparisons"]
    if len(others) < 2:
        return []
    rows = [(record["runs"][0], formats.number(others[0]["measures"][0]["first"]), "", "", "", "")]
    for other in others:
        row = other["measures"][0]
        low, high = map(signed, row["interval"])
        p = formats.UNDEFINED if other["mcnemar"] is None else f"{other['mcnemar']['p_holm']:.2g}"
        difference = signed(row["difference"])
        rows.append((other["run"], formats.number(row["second"]), difference, f"{low} to {high}", row["verdict"], p))
    return rows


def fact_rows(record: Mapping) -> list[tuple[str, list[str]]]:
    """The sizes and times of the runs, and their exported files, as text.

    Args:
        record: mapping, as for `write`.

    Returns:
        list of (name, one text for each run).
    """
    facts = record["facts"]
    titles = {
        "parameters": ("parameters", formats.count),
        "model_bytes": ("model.keras", formats.size),
        "training_seconds": ("time of the run", formats.seconds),
    }
    rows = [(title, list(map(form, facts[name]))) for name, (title, form) in titles.items() if name in facts]
    return rows + [(name, list(map(_export, values))) for name, values in record["exports"].items()]


def shown(value: object) -> str:
    """A value of the config as text.

    Args:
        value: plain value.

    Returns:
        str.
    """
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _export(value: Mapping | None) -> str:
    if value is None:
        return formats.UNDEFINED
    parts = [formats.size(value.get("size_bytes"))]
    if "milliseconds" in value:
        parts.append(f"{value['milliseconds']:.3g} ms")
    if "agreement" in value:
        parts.append(f"agrees {value['agreement']:.1%}")
    return ", ".join(parts)


def _other(other: Mapping) -> dict:
    rows, classes = list(map(dict, other["measures"])), most_different(other["classes"], MOST_CLASSES)
    return {
        **other,
        "measures": [{**row, "bar": _bar([row])[0]} for row in rows],  # each in its own unit
        "rows": [{**row, "bar": bar} for row, bar in zip(classes, _bar(classes), strict=True)],
        "left_out": len(other["classes"]) - len(classes),
    }


def _bar(rows: Sequence[Mapping]) -> list[Markup]:
    """Draws each difference and its interval beside a line at 0, all at one scale."""
    numbers = [abs(value) for row in rows for value in (row["difference"], *row["interval"]) if value is not None]
    scale = (_WIDTH / 2 - 6) / max([*numbers, 1e-12])
    middle, height = _WIDTH / 2, _HEIGHT / 2
    start = Markup('<svg width="{}" height="{}" viewBox="0 0 {} {}" aria-hidden="true">').format(
        _WIDTH, _HEIGHT, _WIDTH, _HEIGHT
    )
    start += Markup('<line class="s-quiet" x1="{}" y1="0" x2="{}" y2="{}"/>').format(middle, middle, _HEIGHT)
    bars = []
    for row in rows:
        low, high = row["interval"]
        colour = {"better": "c2", "worse": "bad"}.get(row["verdict"], "c7")
        drawn = start
        if low is not None and high is not None:
            drawn += Markup('<line class="s-{}" stroke-width="2" x1="{:.1f}" y1="{}" x2="{:.1f}" y2="{}"/>').format(
                colour, middle + scale * low, height, middle + scale * high, height
            )
        if row["difference"] is not None:
            drawn += Markup('<circle class="f-{}" cx="{:.1f}" cy="{}" r="3.5"/>').format(
                colour, middle + scale * row["difference"], height
            )
        bars.append(drawn + Markup("</svg>"))
    return bars
