"""The verdict on a run: every rule applied to its record, the findings in the order in which to act on them.

Takes a `Record`; returns findings and the sentences to print. Must not import TensorFlow.
"""

import dataclasses
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence

from kerastrain.diagnosis import curves, differences, learning, remedies, scores
from kerastrain.diagnosis.records import Finding, Record, named

KINDS = {
    "leakage": "leakage",
    "unstable_rate": "learning rate too high",
    "majority_class": "only the usual answer",
    "label_noise": "label noise",
    "shift": "shift between sets",
    "imbalance": "class imbalance",
    "rate_too_low": "learning rate too low",
    "still_improving": "still improving",
    "underfitting": "underfitting",
    "overfitting": "overfitting",
    "too_little_data": "too little data",
}
"""The kinds of findings with their names in words, most important first: what makes measures wrong, then what spoils the
training, then what can be gained."""

_EXPLAINED = {
    "unstable_rate": ("majority_class", "underfitting", "still_improving", "rate_too_low"),
    "still_improving": ("underfitting",),
    "label_noise": ("underfitting", "overfitting"),
}
"""Findings that follow from another one, which is reported in their place."""


def findings(record: Record) -> list[Finding]:
    """Applies every rule.

    Args:
        record: Record.

    Returns:
        list of Finding, most important first, each with settings to try.
    """
    rules = (
        curves.unstable,
        curves.still_falling,
        learning.majority_class,
        learning.label_noise,
        learning.imbalance,
        learning.underfitting,
        learning.overfitting,
        learning.too_little_data,
    )
    found = [finding for rule in rules if (finding := rule(record)) is not None]
    found += differences.leakage(record) + differences.shift(record)
    kinds = {finding.kind for finding in found}
    explained = {kind for cause in kinds for kind in _EXPLAINED.get(cause, ())}
    return _ordered([finding for finding in found if finding.kind not in explained], record)


def findings_of_other(record: Record, name: str) -> list[Finding]:
    """Applies the rules for data that a run neither trains on nor chooses by.

    Args:
        record: Record whose parts are those of the run, of which only samples are needed, and the other data.
        name: str, the name of the other data in it.

    Returns:
        list of Finding, most important first.
    """
    found = [*differences.leakage(record, [name]), *differences.shift(record, [name])]
    if (finding := learning.too_little_data(record, name)) is not None:
        found.append(finding)
    return _ordered(found, record)


def sound(found: Iterable[Finding], record: Record) -> list[str]:
    """The kinds that were checked without a finding.

    Args:
        found: iterable of Finding, from `findings`.
        record: Record.

    Returns:
        list of str, keys of `KINDS`; a kind that the record says nothing about is missing.
    """
    kinds = {finding.kind for finding in found}
    name = learning.held_out_name(record)
    has_curve = curves.curve(record) is not None
    has_train = "train" in record.parts and len(record.parts["train"]) >= learning.FEWEST
    has_both = has_train and name is not None and len(record.parts[name]) >= learning.FEWEST
    can_check = {
        "leakage": name is not None,
        "unstable_rate": has_curve,
        "majority_class": has_both,
        "label_noise": has_both,
        "shift": name is not None and differences.is_comparable(record.parts[name]),
        "imbalance": record.task == "single_label" and record.class_counts is not None and name is not None,
        "underfitting": has_train,
        "rate_too_low": has_curve and "validation" in record.parts,
        "still_improving": has_curve and "validation" in record.parts,
        "overfitting": has_both,
        "too_little_data": name is not None,
    }
    return [kind for kind in KINDS if can_check[kind] and kind not in kinds]


def summary(found: Sequence[Finding], record: Record) -> str:
    """The verdict in one sentence.

    Args:
        found: sequence of Finding, from `findings`.
        record: Record.

    Returns:
        str.
    """
    if found:
        names = list(dict.fromkeys(KINDS[finding.kind] for finding in found))
        return f"Found: {', '.join(names)}."
    name, train = learning.held_out_name(record), record.parts.get("train")
    if name is None:
        return "Nothing was found, but without held-out examples little can be."
    measure = f"{scores.NAMES[record.task]} {scores.scores(record, name).mean():.3f} on {named(name)}"
    if train is not None and len(train):
        measure += f", {scores.scores(record, 'train').mean():.3f} on training examples"
    return f"The run is sound: {len(sound(found, record))} checks found no fault ({measure})."


def _ordered(found: Iterable[Finding], record: Record) -> list[Finding]:
    order = list(KINDS)
    found = sorted(found, key=lambda finding: (order.index(finding.kind), -finding.confidence))
    return [dataclasses.replace(finding, changes=remedies.changes(finding, record)) for finding in found]


def lines(verdict: Mapping[str, object]) -> list[str]:
    """A verdict as lines of text.

    Args:
        verdict: mapping, the content of `verdict.json`, with "findings" and "sentence".

    Returns:
        list of str: for each finding its sentence, how sure it is, and the settings to try.
    """
    found = verdict.get("findings") or []
    if not found:
        return [f"verdict: {verdict['sentence']}"] if verdict.get("sentence") else []
    result = []
    for finding in found:
        sure = "" if finding["confidence"] >= 0.9995 else f" ({finding['confidence']:.1%} sure)"
        result.append(f"verdict: {finding['sentence']}{sure}")
        for change in finding["try"]:
            result.append(f"    try {shlex.quote(setting(change['key'], change['value']))}: {change['why']}")
    return result


def setting(key: str, value: object) -> str:
    """A setting as an argument of `kerastrain train`, such as "fit.epochs=20".

    Args:
        key: str.
        value: str, number, list or dict.

    Returns:
        str.

    Example:
        >>> setting("model.hidden_units", [64])
        'model.hidden_units=[64]'
    """
    return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
