"""Conclusions as a page shows them: the verdict, the worst errors, findings in the data, and the operating point.

Takes the contents of a run's files, in which keys may be missing; returns plain values. Must not read files.
"""

from collections.abc import Mapping, Sequence

from kerastrain.diagnosis import setting
from kerastrain.diagnosis.verdict import KINDS
from kerastrain.report import data_views
from kerastrain.report.formats import count, number, percent, score

MOST_ERRORS = 12
"""The largest number of errors of a kind that are shown."""

MOST_THRESHOLDS = 30
"""The largest number of thresholds in a table."""

_MOST_EXAMPLES, _MOST_REASONS = 12, 8
_ACTIONS = {"exclude": "leave out", "relabel": "give another label", "look": "look at"}
_FACTS = {
    "label": "label",
    "proposed": "proposed",
    "true": "true",
    "target": "true",
    "predicted": "predicted",
    "output": "predicted",
    "probability": "probability",
    "loss": "loss",
    "action": "proposal",
}
_MOST_CHARACTERS = 400


def verdict(record: Mapping) -> dict | None:
    """Prepares the verdict.

    Args:
        record: mapping, the contents of `verdict.json`.

    Returns:
        dict with "sentence" (str), "findings" (for each: title, part, sentence, evidence, confidence, tries) and "sound" (list
        of str); None without a record.
    """
    if not record:
        return None
    findings = [
        {
            "title": _kind(finding["kind"]),
            "part": finding.get("part") or "",
            "sentence": finding["sentence"],
            "evidence": [(_words(name), _shown(value)) for name, value in _pairs(finding.get("evidence"))],
            "confidence": _confidence(finding.get("confidence")),
            "tries": [
                (setting(str(entry.get("key", "")), entry.get("value")), entry.get("why") or "")
                for entry in finding.get("try") or []
            ],
        }
        for finding in record.get("findings") or []
    ]
    sound = [_kind(kind) for kind in record.get("sound") or []]
    return {"sentence": record.get("sentence") or "", "findings": findings, "sound": sound}


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
        (title, caption, [_example({**entry, "part": ""}, thumbnails, "errors") for entry in entries[:MOST_ERRORS]])
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
        dict with "groups" (for each: title, sentence, count, parts, examples), "checked" and "notes" (lists of str) and
        "command" (str); None without a record.
    """
    if not record:
        return None
    groups = [
        {
            "title": _words(finding.get("kind", "")),
            "sentence": finding.get("sentence") or "",
            "count": count(finding.get("count")),
            "parts": ", ".join(f"{name} {count(value)}" for name, value in _pairs(finding.get("parts")) if value),
            "examples": [
                _example(entry, thumbnails, "data_check") for entry in _known(finding.get("examples"))[:_MOST_EXAMPLES]
            ],
        }
        for finding in _known(record.get("findings"))
    ]
    named = (("labels_by", "Labels are doubted by"), ("features_by", "Copies are found by features of"), ("rule", ""))
    notes = [f"{words} {record[key]}".strip() for key, words in named if record.get(key)]
    proposals = record.get("proposals") or {}
    wanted = [f"{count(proposals[key])} to {words}" for key, words in _ACTIONS.items() if proposals.get(key)]
    if wanted:
        notes.insert(0, f"Of the examples {', '.join(wanted)}: data_check/proposals.csv")
    found = {finding.get("kind") for finding in _known(record.get("findings"))}
    checked = [_words(kind) for kind in record.get("checked") or [] if kind not in found]
    return {"groups": groups, "checked": checked, "notes": notes, "command": record.get("command") or ""}


def operating_point(record: Mapping) -> dict | None:
    """Prepares the temperature and the thresholds.

    Args:
        record: mapping, the contents of `operating_point.json`.

    Returns:
        dict with "facts" (list of (name, text)), "thresholds" (list of (label, str)), "hidden" (int, thresholds that are not
        listed), "notes" (list of str) and "rows" (list of (part, label, texts with the operating point, texts without it));
        None without a record.
    """
    if not record:
        return None
    thresholds = record.get("thresholds")
    pairs = [("", thresholds)] if isinstance(thresholds, int | float) else _pairs(thresholds)
    facts = [
        ("Temperature", record.get("temperature")),
        ("Objective", record.get("objective")),
        ("Positive class", record.get("positive")),
        ("No class below a probability of", record.get("reject_below")),
        ("Chosen on", record.get("chosen_on")),
    ]
    rows = []
    for part, measured in _pairs(record.get("measures")):
        rows += [
            (part, "accuracy", *(percent((measured.get(key) or {}).get("accuracy")) for key in ("without", "with")))
        ]
        if any(((measured.get(key) or {}).get("accepted") or 1) < 1 for key in ("without", "with")):
            rows += [
                (part, "accepted", *(percent((measured.get(key) or {}).get("accepted")) for key in ("without", "with")))
            ]
        for label in list((measured.get("with") or {}).get("labels") or {})[:MOST_THRESHOLDS]:
            for name in ("precision", "recall", "f1"):
                both = (((measured.get(key) or {}).get("labels") or {}).get(label) or {} for key in ("without", "with"))
                rows.append((part, f"{label}: {name}", *(score(one.get(name)) for one in both)))
    return {
        "facts": [(name, _shown(value)) for name, value in facts if value is not None],
        "thresholds": [(label, _shown(value)) for label, value in pairs[:MOST_THRESHOLDS]],
        "hidden": len(pairs) - len(pairs[:MOST_THRESHOLDS]),
        "notes": record.get("notes") or [],
        "rows": rows,
    }


def heatmaps(pictures: Mapping[str, bytes], index: Mapping[str, Mapping]) -> list[dict]:
    """Prepares the explanations of images.

    Args:
        pictures: mapping from the name of a file to its bytes.
        index: mapping from the name of a file to its record in `explanations/index.json`.

    Returns:
        list of dict with "name", "picture" (as data) and "lines" (list of str).
    """
    shown = []
    for name, picture in pictures.items():
        record, lines = index.get(name, {}), []
        answer = record.get("predicted")
        if answer is not None:
            sure = record.get("probability") if record.get("probability") is not None else record.get("number")
            sure = percent(sure) if record.get("probability") is not None else _shown(sure) if sure is not None else ""
            true = record.get("true")
            lines.append(f"predicted {answer} {sure}".strip() + (f", true {true}" if true is not None else ""))
        if record.get("explained") not in (None, answer):
            lines.append(f"explained: {record['explained']}")
        if record.get("method"):
            lines.append(record["method"])
        if scores := [(key, value) for key, value in _pairs(record.get("scores")) if value is not None]:
            lines.append(", ".join(f"{_words(key)} {_shown(value)}" for key, value in scores))
        shown.append({"name": record.get("input") or name, "picture": data_views.as_data(picture), "lines": lines})
    return shown


def methods(record: Mapping[str, Mapping], index: Mapping[str, Mapping]) -> dict:
    """Prepares the scores of the methods that explained images.

    Args:
        record: mapping from the name of a method to its scores.
        index: as for `heatmaps`.

    Returns:
        dict with "rows", list of (method, texts): images, deletion, insertion and what random pixels reach, and the correlation
        of its pictures with those of a model with random weights; and "reasons", list of (method, why it was chosen).
    """
    rows = []
    for name, scores in _pairs(record):
        sanity = (scores.get("sanity") or {}).get("correlations") or [None]
        keys = ("deletion", "random_deletion", "insertion", "random_insertion")
        rows.append(
            (name, [count(scores.get("images")), *(number(scores.get(key)) for key in keys), number(sanity[-1])])
        )
    known = (
        (entry["method"], entry["reason"]) for entry in index.values() if entry.get("method") and entry.get("reason")
    )
    return {"rows": rows, "reasons": list(dict.fromkeys(known))[:_MOST_REASONS]}


def _example(entry: Mapping, thumbnails: Mapping[str, bytes], folder: str) -> dict:
    facts = [
        (title, _shown(entry[key]))
        for key, title in _FACTS.items()
        if entry.get(key) is not None and (key != "label" or "true" not in entry)
    ]
    if "true" in entry and "label" in entry:  # of one label among many, which is present or absent
        facts.insert(0, ("label", _shown(entry["label"])))
    pictures = (_picture(entry.get(key), thumbnails, folder) for key in ("picture", "other_picture", "heatmap"))
    return {
        "name": ""
        if entry.get("key") == entry.get("text")
        else str(entry.get("key", "")),  # some texts are their own key
        "part": entry.get("part") or "",
        "facts": facts,
        "reason": entry.get("reason") or "",
        "texts": [_shortened(str(entry[key])) for key in ("text", "other_text") if entry.get(key)],
        "pictures": [picture for picture in pictures if picture],
    }


def _picture(name: object, thumbnails: Mapping[str, bytes], folder: str) -> str:
    if not isinstance(name, str):
        return ""
    content = thumbnails.get(f"{folder}/{name.removeprefix(f'{folder}/')}")
    return data_views.as_data(content) if content else ""


def _confidence(value: object) -> str:
    return f"{value:.0%} sure" if isinstance(value, int | float) else str(value or "")


def _kind(kind: str) -> str:
    return KINDS.get(kind, _words(kind))


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + " …"


def _known(value: object) -> Sequence[Mapping]:
    return [entry for entry in value if isinstance(entry, Mapping)] if isinstance(value, list) else []


def _pairs(value: object) -> list[tuple]:
    return list(value.items()) if isinstance(value, Mapping) else []


def _words(name: str) -> str:
    return str(name).replace("_", " ").replace(".", " ")


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
