"""Conclusions as a page shows them: the verdict, the worst errors, findings in the data, and the operating point.

Takes the contents of a run's files, in which keys may be missing; returns plain values. Must not read files.
"""

from collections.abc import Mapping, Sequence

from kerastrain.report import data_views
from kerastrain.report.formats import count, number, percent

MOST_ERRORS = 12
"""The largest number of errors of a kind that are shown."""

MOST_THRESHOLDS = 30
"""The largest number of thresholds in a table."""

_MOST_EXAMPLES = 12
_MOST_CHARACTERS = 400


def verdict(record: Mapping) -> dict | None:
    """Prepares the verdict.

    Args:
        record: mapping, the contents of `verdict.json`.

    Returns:
        dict with "findings" (for each: title, part, sentence, evidence, confidence, tries) and "sound" (list of str); None
        without a record.
    """
    if not record:
        return None
    findings = [
        {
            "title": _words(finding["kind"]),
            "part": finding.get("part") or "",
            "sentence": finding["sentence"],
            "evidence": [(_words(name), _shown(value)) for name, value in _pairs(finding.get("evidence"))],
            "confidence": _confidence(finding.get("confidence")),
            "tries": [
                (f"{entry.get('key', '')}={_setting(entry.get('value'))}", entry.get("why") or "")
                for entry in finding.get("try") or []
            ],
        }
        for finding in record.get("findings") or []
    ]
    return {"findings": findings, "sound": [_words(kind) for kind in record.get("sound") or []]}


def errors(record: Mapping, thumbnails: Mapping[str, bytes]) -> dict | None:
    """Prepares the worst errors.

    Args:
        record: mapping, the contents of `errors.json`.
        thumbnails: mapping from the path of a picture to its bytes.

    Returns:
        dict with "groups" (list of (title, caption, examples)) and "pairs" (list of dict); None without a record.
    """
    if not record:
        return None
    groups = [
        (title, caption, [_example(entry, thumbnails, "errors") for entry in entries[:MOST_ERRORS]])
        for key, title, caption in (
            ("confident", "Most confident errors", "Wrong predictions with the highest probability."),
            ("hardest", "Hardest examples", "The examples with the largest loss."),
        )
        if (entries := _known(record.get(key)))
    ]
    pairs = [
        {
            "true": pair.get("true", ""),
            "predicted": pair.get("predicted", ""),
            "count": count(pair.get("count")),
            "share": percent(pair.get("share")),
            "picture": _picture(pair.get("picture"), thumbnails, "errors"),
        }
        for pair in _known(record.get("pairs"))[:MOST_ERRORS]
    ]
    return {"groups": groups, "pairs": pairs} if groups or pairs else None


def data_check(record: Mapping, thumbnails: Mapping[str, bytes]) -> dict | None:
    """Prepares what was found in the data.

    Args:
        record: mapping, the contents of `data_check/findings.json`.
        thumbnails: mapping from the path of a picture to its bytes.

    Returns:
        dict with "groups" (for each: title, sentence, count, examples); None without a record.
    """
    if not record:
        return None
    groups = [
        {
            "title": _words(finding.get("kind", "")),
            "sentence": finding.get("sentence") or finding.get("meaning") or "",
            "count": count(finding.get("count")),
            "examples": [
                _example(entry, thumbnails, "data_check") for entry in _known(finding.get("examples"))[:_MOST_EXAMPLES]
            ],
        }
        for finding in _known(record.get("findings"))
    ]
    return {"groups": groups}


def operating_point(record: Mapping) -> dict | None:
    """Prepares the temperature and the thresholds.

    Args:
        record: mapping, the contents of `operating_point.json`.

    Returns:
        dict with "temperature" (str), "thresholds" (list of (label, str)), "hidden" (int, thresholds that are not listed),
        "objective" and "chosen_on" (str); None without a record.
    """
    if not record:
        return None
    thresholds = record.get("thresholds")
    pairs = [("", thresholds)] if isinstance(thresholds, int | float) else _pairs(thresholds)
    return {
        "temperature": number(record["temperature"]) if record.get("temperature") is not None else "",
        "thresholds": [(label, _shown(value)) for label, value in pairs[:MOST_THRESHOLDS]],
        "hidden": len(pairs) - len(pairs[:MOST_THRESHOLDS]),
        "objective": _shown(record.get("objective")) if record.get("objective") else "",
        "chosen_on": record.get("chosen_on") or "",
    }


def _example(entry: Mapping, thumbnails: Mapping[str, bytes], folder: str) -> dict:
    facts = [
        (title, _shown(entry[key]))
        for key, title in (
            ("true", "true"),
            ("label", "label"),
            ("proposed", "proposed"),
            ("target", "true"),
            ("predicted", "predicted"),
            ("output", "predicted"),
            ("probability", "probability"),
            ("loss", "loss"),
            ("score", "score"),
            ("other", "the other"),
            ("reason", "why"),
        )
        if entry.get(key) is not None
    ]
    text = str(entry.get("text") or "")
    pictures = (_picture(entry.get(key), thumbnails, folder) for key in ("picture", "other_picture", "heatmap"))
    return {
        "name": str(entry.get("key", "")),
        "part": entry.get("part") or "",
        "facts": facts,
        "text": text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " …",
        "pictures": [picture for picture in pictures if picture],
    }


def _picture(name: object, thumbnails: Mapping[str, bytes], folder: str) -> str:
    if not isinstance(name, str):
        return ""
    content = thumbnails.get(f"{folder}/{name.removeprefix(f'{folder}/')}")
    return data_views.as_data(content) if content else ""


def _confidence(value: object) -> str:
    return percent(value) + " sure" if isinstance(value, int | float) else str(value or "")


def _known(value: object) -> Sequence[Mapping]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _pairs(value: object) -> list[tuple]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _words(name: str) -> str:
    return str(name).replace("_", " ").replace(".", " ")


def _setting(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return str(value)


def _shown(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int):
        return count(value)
    if isinstance(value, float):
        return number(value)
    if isinstance(value, list | tuple):
        return ", ".join(_shown(item) for item in value[:8]) + (", …" if len(value) > 8 else "")
    if isinstance(value, Mapping):
        return ", ".join(f"{_words(key)} {_shown(item)}" for key, item in list(value.items())[:8])
    return str(value)
