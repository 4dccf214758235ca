"""Which setting to try next for each kind of finding.

Takes a `Finding` and the settings of a run by their dotted keys; returns changes. Whether the config accepts them is checked by
who knows configs. Must not import TensorFlow.
"""

import math
from collections.abc import Callable

from kerastrain.diagnosis.records import Change, Finding, Record

_MOST_DROPOUT = 0.5
_MOST_HELD_OUT = 0.3
_FOLDS = 5
_ROUNDED_SHARE = 0.03


def changes(finding: Finding, record: Record) -> tuple[Change, ...]:
    """The settings to try after a finding.

    Args:
        finding: Finding.
        record: Record with its settings.

    Returns:
        tuple of Change, most promising first; empty if the settings are unknown or none helps.
    """
    if not record.settings:
        return ()
    proposed = _REMEDIES.get(finding.kind, lambda *_: [])(finding, record)
    return tuple(
        change for change in proposed if change is not None and record.settings.get(change.key) != change.value
    )


def _overfitting(finding: Finding, record: Record) -> list[Change | None]:
    settings = record.settings
    dropout = settings["model.dropout"]
    images = settings["data.kind"] == "images"
    augment = settings["data.augment"]
    named = [name for name, value in augment.items() if value] if isinstance(augment, dict) else []
    return [
        None
        if not images or named
        else Change("data.augment", ["resized_crop", "colour", "noise"], "no image is seen twice"),
        Change("model.dropout", round(min(max(2 * dropout, 0.2), _MOST_DROPOUT), 3), "less is learned by heart")
        if dropout < _MOST_DROPOUT
        else None,
        Change("fit.epochs", 0, "the backbone stays as it was")
        if _fine_tunes(record) and record.parts["train"].count < 500
        else None,
        Change("model.l2", 10 * settings["model.l2"] or 1e-4, "weights stay small"),
    ]


def _underfitting(finding: Finding, record: Record) -> list[Change | None]:
    settings = record.settings
    units = list(settings["model.hidden_units"])
    least = max(4 * len(record.labels), 64)
    return [
        Change("model.l2", 0.0, "the penalty keeps weights too small") if settings["model.l2"] else None,
        Change("model.l1", 0.0, "the penalty keeps weights too small") if settings["model.l1"] else None,
        Change("model.hidden_units", [max(least, 2 * unit) for unit in units], "more capacity")
        if any(unit < least for unit in units)
        else None,
        Change("model.dropout", 0.2, "less is hidden from the head") if settings["model.dropout"] > 0.3 else None,
        Change("fit.epochs", 10, "the backbone learns too") if settings["fit.epochs"] == 0 else None,
        Change("model.hidden_units", [128], "more capacity") if not units else None,
        _longer(record),
    ]


def _longer(record: Record) -> Change | None:
    settings = record.settings
    phase = record.history[-1]["phase"] if record.history else "fit"
    key = "fit.head_epochs" if phase == "head" else "fit.epochs"
    epochs = settings.get(key) or sum(row["phase"] == phase for row in record.history)
    return Change(key, 2 * int(epochs), "twice as long") if epochs else None


def _rate(factor: float, why: str) -> Callable:
    def change(finding: Finding, record: Record) -> list[Change | None]:
        key = "optimizer.learning_rate"
        rate, fraction = record.settings[key], record.settings.get("optimizer.fine_tune_fraction")
        phase = record.history[-1]["phase"] if record.history else "fit"
        if phase == "fine_tune" and fraction is not None:  # the rate of the head may be right
            return [Change("optimizer.fine_tune_fraction", min(1.0, _rounded(fraction * factor)), why)]
        return [Change(key, _rounded(rate * factor), why)] if rate else []

    return change


def _imbalance(finding: Finding, record: Record) -> list[Change | None]:
    return [
        Change("data.class_weights", "balanced", "every class has the same weight in the loss")
        if not record.settings["data.class_weights"] and record.settings["data.sampling"] != "balanced"
        else None
    ]


def _majority(finding: Finding, record: Record) -> list[Change | None]:
    counts = record.class_counts
    is_uneven = counts is not None and len(counts) and counts.max() >= 2 * max(int(counts.min()), 1)
    return [*(_imbalance(finding, record) if is_uneven else []), *_underfitting(finding, record)]


def _noise(finding: Finding, record: Record) -> list[Change | None]:
    smoothing = record.settings["fit.label_smoothing"]
    if record.task == "regression" or smoothing >= 0.1 or "fraction" not in finding.evidence:
        return []
    return [
        Change(
            "fit.label_smoothing",
            0.1,
            "a wrong label pulls less; correct those of `kerastrain data check` first",
        )
    ]


def _more_held_out(finding: Finding, record: Record) -> list[Change | None]:
    settings, counts = record.settings, record.class_counts
    if finding.part not in ("validation", "test"):
        return []
    changes = []
    total = sum(part.count for part in record.parts.values())
    wanted = math.ceil(100 * finding.evidence["needed"] / total) / 100
    key = f"data.{finding.part}_fraction"
    share = settings.get(key, 0.0)
    # Data that come in parts have their own share, which no fraction changes.
    is_drawn = abs(finding.evidence["count"] / total - share) < _ROUNDED_SHARE
    if is_drawn and share < wanted <= _MOST_HELD_OUT:
        changes.append(Change(key, wanted, f"a larger {finding.part} part"))
    if not settings.get("data.folds") and (counts is None or counts.min() >= _FOLDS):
        changes.append(Change("data.folds", _FOLDS, "with data.fold=all, every example is held out once"))
    return changes


def _shift(finding: Finding, record: Record) -> list[Change | None]:
    if record.settings["data.kind"] != "images" or not isinstance(record.settings["data.augment"], dict):
        return []
    property_name, why = finding.evidence.get("property"), "training images vary as these do"
    if property_name == "sharpness":
        return [Change("data.augment.blur", {"probability": 0.5, "stddev_pixels": 2.0}, why)]
    if property_name in ("brightness", "contrast", "saturation", "red", "blue"):
        colour = record.settings["data.augment"].get("colour") or {}
        return [Change("data.augment.colour", {**colour, "brightness": 0.5, "contrast": 0.5}, why)]
    return []


def _fine_tunes(record: Record) -> bool:
    return any(row["phase"] == "fine_tune" for row in record.history)


def _rounded(value: float) -> float:
    return float(f"{value:.3g}")


_REMEDIES = {
    "overfitting": _overfitting,
    "underfitting": _underfitting,
    "still_improving": lambda finding, record: [_longer(record)],
    "unstable_rate": _rate(0.1, "a tenth of the rate"),
    "rate_too_low": _rate(10, "ten times the rate"),
    "imbalance": _imbalance,
    "majority_class": _majority,
    "label_noise": _noise,
    "too_little_data": _more_held_out,
    "shift": _shift,
}
