"""Explanations of texts on disk: JSON lines, and a page that highlights their words.

Takes records of plain values; writes and reads the files of a folder. Must not know models.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from kerastrain.errors import InputError
from kerastrain.report import templates
from kerastrain.system import files

FILES = ("texts.html", "texts.jsonl")
MOST_SHOWN = 500
"""The largest number of texts on a page; the file of JSON lines has all of them."""

_SMALLEST_CHANGE = 1e-4
_LINE_ENDS = {point: f"\\u{point:04x}" for point in (0x85, 0x2028, 0x2029)}  # for readers that split at them
_KEYS = ("input", "label", "words", "words_at_once")


def write(folder: Path, records: Sequence[Mapping], *, title: str) -> Path:
    """Writes the page and the JSON lines of explanations.

    Args:
        folder: Path, created if it does not exist.
        records: sequence of mappings, see `recipe.explaining.ExplainedText.record`.
        title: str, the name of the run.

    Returns:
        Path of the page.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    files.write_text(folder / FILES[1], lines.translate(_LINE_ENDS))
    page = (
        templates.environment()
        .get_template("texts.html")
        .render(title=title, count=len(records), texts=[shown(record) for record in records[:MOST_SHOWN]])
    )
    files.write_text(folder / FILES[0], page)
    return folder / FILES[0]


def read(folder: Path, most: int | None = None) -> list[dict]:
    """Reads the explanations of a folder.

    Args:
        folder: Path.
        most: int >= 0, the largest number to read; None for all.

    Returns:
        list of dict; empty if there are none.

    Raises:
        InputError: the file has a line that is no explanation.
    """
    path = folder / FILES[1]
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip() or (most is not None and len(records) >= most):
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"line {number} of `{path}` must be JSON. Received: {error}. Remove the file.") from error
        if not isinstance(record, dict) or any(key not in record for key in _KEYS):
            raise InputError(f"line {number} of `{path}` must have {', '.join(_KEYS)}. Remove the file.")
        records.append(record)
    return records


def joined(records: Sequence[Mapping], earlier: Sequence[Mapping]) -> list[Mapping]:
    """Puts new explanations before earlier ones, of which those of the same text and label are dropped.

    Args:
        records: sequence of mappings.
        earlier: sequence of mappings.

    Returns:
        list of mappings.
    """
    new = {_identity(record) for record in records}
    return [*records, *(record for record in earlier if _identity(record) not in new)]


def _identity(record: Mapping) -> tuple:
    return record["input"], record.get("pair"), record["label"]


def shown(record: Mapping) -> dict:
    """What a page shows of an explanation.

    Args:
        record: mapping, an explanation.

    Returns:
        dict with "label", "answer" (str), "row", "at_once", and "texts", a list for each text of (str, value or None,
        share): its words and what is between them, with the value of a word and its size as a share of the largest.
    """
    # Not of rounding errors, where no word changes anything.
    largest = max((abs(word["value"]) for word in record["words"]), default=0)
    largest = largest if largest > _SMALLEST_CHANGE else 1.0
    texts = []
    for name in ("input", "pair"):
        if name not in record:
            continue
        segments, last = [], 0
        for word in record["words"]:
            if word.get("of", "input") == name:
                segments += [(record[name][last : word["start"]], None, 0.0)]
                share = round(abs(word["value"]) / largest, 2)
                segments += [(record[name][word["start"] : word["end"]], word["value"], share)]
                last = word["end"]
        texts.append([*segments, (record[name][last:], None, 0.0)])
    number = f"{record['number']:.4g}" if "number" in record else f"{record['probability']:.1%}"
    return {
        "label": record["label"],
        "answer": number,
        "row": record.get("row", ""),
        "at_once": record["words_at_once"],
        "texts": texts,
    }
