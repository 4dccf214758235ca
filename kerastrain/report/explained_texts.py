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
        share): its words and what is between them, with the value of a word and its size as a share of the largest; and
        "notes".
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
    is_number = "number" in record
    number = _answer(record["number" if is_number else "probability"], is_number)
    return {
        "notes": notes(record),
        "label": record["label"],
        "answer": number,
        "row": record.get("row", ""),
        "at_once": record["words_at_once"],
        "texts": texts,
    }


def notes(record: Mapping) -> list[str]:
    """What to know about an explanation: how its values were found, and how far they can be trusted.

    Args:
        record: mapping, an explanation.

    Returns:
        list of str. Records of earlier versions are of occlusion.
    """
    unit, other = ("number", "that") if "number" in record else ("log-odds", "those")
    because = f", because {record['reason']}" if record.get("reason") else ""
    complete = record.get("completeness")
    if complete is None:
        change = "the number loses" if "number" in record else "the log-odds lose"
        sentences = [f"occlusion{because}: a value is what {change} without the word; values do not add up"]
    else:
        sum_, difference, steps = f"{complete['total']:+.2f}", f"{complete['difference']:+.2f}", complete["steps"]
        whole = f"the {unit} of the text less {other} of one whose embeddings are {complete['baseline']}"
        if complete["reached"]:
            verdict = f"the values add up to {sum_}: {whole}"
        else:
            verdict = f"the values add up to {sum_}, and not to {difference}, {whole}: take them as approximate"
        sentences = [f"integrated gradients{because}: {verdict} ({steps} steps)"]
    deletion = record.get("deletion")
    if deletion is not None and deletion["words"]:
        words = "the word that speaks" if deletion["words"] == 1 else f"the {deletion['words']} words that speak"
        alone = "with it alone" if deletion["words"] == 1 else "with them alone"
        without, only = (_answer(deletion[key], "number" in record) for key in ("without", "only"))
        sentences.append(f"without {words} most for the answer {without}; {alone} {only}")
    return sentences


def _answer(value: float, is_number: bool) -> str:
    return f"{value:.4g}" if is_number else f"{value:.1%}"
