"""What the predictions of a run say about its model: whether it learned too little, too much, or only the usual answer.

Takes a `Record`; returns findings. Must not import TensorFlow.
"""

import math

import numpy as np

from kerastrain.diagnosis import statistics
from kerastrain.diagnosis.records import HELD_OUT, Finding, Part, Record, named, opening
from kerastrain.diagnosis.scores import NAMES, guess_score, scores
from kerastrain.errors import counted

LEAST_GAP = 0.05
"""A model overfits if its score on training examples is above that on held-out ones by surely more than this."""

LEAST_SKILL = 0.8
"""A model underfits if on training examples it surely gets less than this share of the way from a guess to 1."""

USUAL_SHARE = 0.98
"""A model only knows the usual answer if it predicts it at least this often, and by surely more than it is true."""

LEAST_RECALL_GAP = 0.1
"""Imbalance was ignored if the recall of a rare class is surely below that of the most common class by more than this."""

IMBALANCED = 4.0
"""A class is rare if the most common class has this many times as many training examples."""

LEAST_NOISE = 0.03
"""Labels are noisy if surely more than this fraction of them is wrong."""

WIDEST = 0.05
"""A held-out part is too small if half of the 95 % interval of its score is wider than this."""

FEWEST = 20
"""Examples below which nothing is said about a part, except that it is small."""


def held_out_name(record: Record) -> str | None:
    """The name of the part by which the model is judged: the test part if it is large enough, else the larger one.

    Args:
        record: Record.

    Returns:
        str, or None without held-out examples.
    """
    names = [name for name in HELD_OUT if name in record.parts and len(record.parts[name])]
    return max(names, key=lambda name: (len(record.parts[name]), name), default=None)


def overfitting(record: Record) -> Finding | None:
    """Whether the model knows its training examples much better than others.

    Args:
        record: Record.

    Returns:
        Finding, or None.
    """
    names = _alike(record)
    if not names or "train" not in record.parts or _too_few(record, "train", *names[:1]):
        return None
    train, held_out = scores(record, "train"), np.concatenate([scores(record, name) for name in names])
    gap = statistics.difference(train, held_out)
    if gap.interval[0] <= LEAST_GAP:
        return None
    where = " and ".join(map(named, names))
    sentence = (
        f"The model overfits: its {NAMES[record.task]} is {train.mean():.3f} on training examples and {held_out.mean():.3f} on "
        f"{where}, a gap of {gap.value:.3f} ({_range(gap.interval)})."
    )
    evidence = {
        "train": float(train.mean()),
        "held_out": float(held_out.mean()),
        "gap": gap.value,
        "interval": list(gap.interval),
    }
    return Finding("overfitting", sentence, evidence, gap.above(LEAST_GAP), names[0])


def underfitting(record: Record) -> Finding | None:
    """Whether the model cannot even fit the examples that it was trained on.

    Args:
        record: Record.

    Returns:
        Finding, or None.
    """
    if "train" not in record.parts or _too_few(record, "train"):
        return None
    train, guess = scores(record, "train"), guess_score(record, "train")
    if guess >= 1:
        return None
    score = statistics.mean(train)
    limit = guess + LEAST_SKILL * (1 - guess)
    if score.interval[1] >= limit:
        return None
    name = NAMES[record.task]
    sentence = (
        f"The model underfits: its {name} is only {score.value:.3f} ({_range(score.interval)}) on the examples that it was "
        f"trained on, where a guess gets {guess:.3f}."
    )
    evidence = {"train": score.value, "interval": list(score.interval), "guess": guess, "limit": limit}
    return Finding("underfitting", sentence, evidence, 1 - score.above(limit))


def majority_class(record: Record) -> Finding | None:
    """Whether the model gives nearly the same answer to every input.

    Args:
        record: Record.

    Returns:
        Finding, or None.
    """
    name = held_out_name(record)
    if name is None or _too_few(record, name):
        return None
    part = record.parts[name]
    if record.task == "regression":
        return _constant(record, name, part)
    if record.task == "multi_label":
        predicted, true = part.outputs > 0, part.targets > 0.5
        patterns, counts = np.unique(predicted, axis=0, return_counts=True)
        same = (predicted == patterns[counts.argmax()]).all(axis=1)
        usual = (true == patterns[counts.argmax()]).all(axis=1)
        what = "no label" if not patterns[counts.argmax()].any() else "the same labels"
    else:
        predicted = part.outputs.argmax(axis=1)
        label = int(np.bincount(predicted).argmax())
        same, usual = predicted == label, part.targets == label
        what = f"{str(record.labels[label])!r}"
    excess = statistics.mean(same.astype(float) - usual)
    if same.mean() < USUAL_SHARE or excess.interval[0] <= 0:
        return None
    sentence = (
        f"The model only knows the usual answer: it predicts {what} for {same.mean():.1%} of {named(name)}, where it is true of "
        f"{usual.mean():.1%}."
    )
    evidence = {"predicted": float(same.mean()), "true": float(usual.mean())}
    return Finding("majority_class", sentence, evidence, excess.above(0), name)


def imbalance(record: Record) -> Finding | None:
    """Whether rare classes are missed, and nothing was done about their rarity.

    Args:
        record: Record.

    Returns:
        Finding, or None.
    """
    counts = record.class_counts
    is_balanced = record.settings.get("data.class_weights") or record.settings.get("data.sampling") == "balanced"
    if record.task != "single_label" or counts is None or is_balanced or counts.min() * IMBALANCED > counts.max():
        return None
    targets, hits = _pooled(record)
    common = int(counts.argmax())
    if (targets == common).sum() < 5:
        return None
    worst = None
    for label in np.flatnonzero(counts * IMBALANCED <= counts.max()):
        if (targets == label).sum() < 2:
            continue
        gap = statistics.difference(hits[targets == common], hits[targets == label])
        if gap.interval[0] > LEAST_RECALL_GAP and (worst is None or gap.interval[0] > worst[1].interval[0]):
            worst = int(label), gap
    if worst is None:
        return None
    label, gap = worst
    rare, usual = hits[targets == label].mean(), hits[targets == common].mean()
    sentence = (
        f"Class imbalance was ignored: {str(record.labels[label])!r} has {counts[label]:,} training examples and a recall of "
        f"{rare:.2f}, {str(record.labels[common])!r} has {counts[common]:,} and {usual:.2f}."
    )
    evidence = {
        "label": str(record.labels[label]),
        "count": int(counts[label]),
        "recall": float(rare),
        "common_count": int(counts[common]),
        "common_recall": float(usual),
        "interval": list(gap.interval),
    }
    return Finding("imbalance", sentence, evidence, gap.above(LEAST_RECALL_GAP), "train")


def label_noise(record: Record) -> Finding | None:
    """Whether labels are wrong, or have nothing to do with the inputs.

    Args:
        record: Record.

    Returns:
        Finding, or None.
    """
    name = held_out_name(record)
    if name is None or "train" not in record.parts or _too_few(record, "train", name):
        return None
    if (finding := _unrelated(record, name)) is not None or record.task == "regression":
        return finding
    logits, targets = _logits(record)
    noise = statistics.label_noise(logits, targets)
    if noise.interval[0] <= LEAST_NOISE:
        return None
    sentence = (
        f"About {noise.fraction:.0%} ({noise.interval[0]:.0%} to {noise.interval[1]:.0%}) of the labels look wrong: the model "
        f"contradicts that many of them however sure it is."
    )
    evidence = {"fraction": noise.fraction, "interval": list(noise.interval), "examples": len(targets)}
    error = (noise.fraction - noise.interval[0]) / statistics.Z
    return Finding(
        "label_noise", sentence, evidence, statistics.Estimate(noise.fraction, error).above(LEAST_NOISE), name
    )


def too_little_data(record: Record, name: str | None = None) -> Finding | None:
    """Whether a part that the model is measured or chosen by is too small for a useful interval.

    Args:
        record: Record.
        name: str, the part to check; None for the held-out part with the widest interval.

    Returns:
        Finding, or None.
    """
    names = [name] if name is not None else [name for name in HELD_OUT if name in record.parts]
    measured = {name: statistics.mean(scores(record, name)) for name in names if len(record.parts[name])}
    if not measured:
        return None
    name = max(measured, key=lambda name: measured[name].error)
    part, score = record.parts[name], measured[name]
    half = statistics.Z * score.error if math.isfinite(score.error) else 1.0
    if half <= WIDEST:
        return None
    needed = math.ceil(part.count * (half / WIDEST) ** 2)
    count = counted(part.count, "examples")
    sentence = (
        f"{opening(name)} has {count}, too few: its {NAMES[record.task]} of {score.value:.3f} is only known to ± {half:.2f}. "
        f"About {needed:,} would make it ± {WIDEST:.2f}."
    )
    evidence = {"count": part.count, "score": score.value, "half_width": half, "wanted": WIDEST, "needed": needed}
    return Finding("too_little_data", sentence, evidence, 1.0, name)


def _unrelated(record: Record, name: str) -> Finding | None:
    """Held-out examples are guessed, though training examples were learned."""
    train, held_out, guess = scores(record, "train"), scores(record, name), guess_score(record, name)
    learned = statistics.mean(train)
    score = statistics.mean(held_out)
    if score.interval[0] > guess or score.value > guess + LEAST_GAP or learned.interval[0] <= guess + LEAST_GAP:
        return None
    sentence = (
        f"The labels have nothing to do with the inputs: the {NAMES[record.task]} on {named(name)} is {score.value:.3f}, no "
        f"better than a guess ({guess:.3f}), though it is {learned.value:.3f} on training examples."
    )
    evidence = {"train": learned.value, name: score.value, "interval": list(score.interval), "guess": guess}
    return Finding("label_noise", sentence, evidence, learned.above(guess + LEAST_GAP), name)


def _constant(record: Record, name: str, part: Part) -> Finding | None:
    spread = part.outputs.std(axis=0) / np.maximum(part.targets.std(axis=0), 1e-12)
    if spread.max() > 1 - USUAL_SHARE + 0.03:
        return None
    sentence = (
        f"The model only knows the usual answer: its predictions for {named(name)} vary by {spread.max():.1%} of what the true "
        "numbers vary."
    )
    return Finding("majority_class", sentence, {"relative_spread": float(spread.max())}, 1.0, name)


def _pooled(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Targets and hits of all held-out examples of the run."""
    names = [name for name in HELD_OUT if name in record.parts]
    if not names:
        return np.zeros(0, int), np.zeros(0)
    targets = np.concatenate([record.parts[name].targets for name in names])
    return targets, np.concatenate([scores(record, name) for name in names])


def _logits(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Logits and classes of the held-out examples; each label of "multi_label" counts as a choice of two classes."""
    parts = [record.parts[name] for name in _alike(record)]
    outputs = np.concatenate([part.outputs for part in parts])
    targets = np.concatenate([part.targets for part in parts])
    if record.task == "single_label":
        return outputs, targets
    logits = outputs.reshape(-1)
    return np.stack([np.zeros_like(logits), logits], axis=1), (targets.reshape(-1) > 0.5).astype(int)


def _alike(record: Record) -> list[str]:
    """The held-out parts of the run, the larger first; without the other one if the model's scores on the two surely differ."""
    names = [name for name in HELD_OUT if name in record.parts and len(record.parts[name])]
    names.sort(key=lambda name: -len(record.parts[name]))
    if len(names) == 2:
        low, high = statistics.difference(*(scores(record, name) for name in names)).interval
        names = names if low <= 0 <= high else names[:1]
    return names


def _too_few(record: Record, *names: str) -> bool:
    return any(len(record.parts[name]) < FEWEST for name in names)


def _range(interval: tuple[float, float]) -> str:
    return f"95 % interval {interval[0]:.3f} to {interval[1]:.3f}"
