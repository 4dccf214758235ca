"""Whether parts of the data differ that should be alike, and whether they share what they must not share.

Takes a `Record`; returns findings. Must not import TensorFlow.
"""

from collections.abc import Sequence

import numpy as np
import scipy

from kerastrain.diagnosis import statistics
from kerastrain.diagnosis.records import Finding, Part, Record, named, opening
from kerastrain.diagnosis.scores import NAMES, scores
from kerastrain.errors import counted

LEAST_AUC = 0.6
"""Two sets differ if a classifier surely tells them apart better than this; 0.5 is a guess."""

LARGEST_P = 0.01
"""Both tests of a shift must have at most this p-value, divided by the number of sets that are compared."""

SHARED_FRACTION = 0.01
"""Copies of training examples are reported from this fraction of a part on."""

_FEWEST = 30
_NEAREST_QUANTILE = 0.01  # a distance that one of a hundred training examples has to its nearest neighbour
_LEAST_NEAR = 0.05


def leakage(record: Record, names: Sequence[str] | None = None) -> list[Finding]:
    """Held-out parts that share examples with the training part: the same bytes, or almost the same features.

    Two examples count as near-copies if they are nearer than all but one of a hundred training examples are to their nearest
    neighbour in the training part. Without leakage, one of a hundred held-out examples is as near.

    Args:
        record: Record.
        names: sequence of str, the parts to check; None for all but the training part.

    Returns:
        list of Finding, at most one for each part.
    """
    findings = []
    held_out = sum(part.count for name, part in record.parts.items() if name != "train")
    if names is None and record.left_out >= max(1, SHARED_FRACTION * held_out):
        sentence = (
            f"Leakage: {counted(record.left_out, 'training examples')} were copies of held-out ones, and were left out. Where "
            "the parts come from, they overlap."
        )
        findings.append(Finding("leakage", sentence, {"left_out": record.left_out, "held_out": held_out}, 1.0))
    for name in [name for name in record.parts if name != "train"] if names is None else names:
        part = record.parts[name]
        if part.shared >= max(1, SHARED_FRACTION * part.count):
            share = part.shared / part.count
            sentence = (
                f"Leakage: {part.shared:,} of {part.count:,} examples of {named(name)} ({share:.0%}) are training examples too, "
                "so its measures are too good."
            )
            findings.append(Finding("leakage", sentence, {"shared": part.shared, "count": part.count}, 1.0, name))
        elif (near := _near(record.parts.get("train"), part)) is not None:
            sentence = (
                f"Leakage: about {near.value:.0%} of {named(name)} are nearly copies of training examples (of training examples "
                "themselves, 1 %), so its measures are too good."
            )
            evidence = {"near": near.value, "interval": list(near.interval), "by_chance": _NEAREST_QUANTILE}
            findings.append(Finding("leakage", sentence, evidence, near.above(_LEAST_NEAR), name))
    return findings


def shift(record: Record, names: Sequence[str] | None = None) -> list[Finding]:
    """Parts that do not come from the same source as the validation part, or for want of one as the training part.

    Only inputs are compared, with as many examples of each class from both sets, so that other class frequencies are no shift.

    Args:
        record: Record.
        names: sequence of str, the parts to check; None for all.

    Returns:
        list of Finding, at most one for each part.
    """
    reference = next((name for name in ("validation", "train") if is_comparable(record.parts.get(name))), None)
    wanted = [name for name in record.parts if name not in ("train", reference)] if names is None else names
    pairs = [(reference, name) for name in wanted if reference and is_comparable(record.parts[name])]
    if names is None and reference == "validation" and is_comparable(record.parts.get("train")):
        pairs.append(("train", "validation"))
    findings = [_shift(record, first, second, LARGEST_P / len(pairs)) for first, second in pairs]
    return [finding for finding in findings if finding is not None]


def _shift(record: Record, first: str, second: str, largest_p: float) -> Finding | None:
    one, other = record.parts[first], record.parts[second]
    rows, columns = _matched(record, one, other)
    if len(rows) < _FEWEST:
        return None
    names = [name for name in one.properties if name in other.properties]
    values = [np.stack([part.properties[name] for name in names], axis=1) if names else None for part in (one, other)]
    samples = [values[0], values[1]] if names else [None, None]
    # The training part is compared by what needs no model, because the model knows its examples.
    if "train" not in (first, second) and one.features is not None and other.features is not None:
        features = (one.features, other.features)
        samples = [f if v is None else np.concatenate([f, v], axis=1) for f, v in zip(features, samples, strict=True)]
    if samples[0] is None:
        return None
    compared = statistics.compare(samples[0][rows], samples[1][columns])
    if compared.auc.interval[0] <= LEAST_AUC or compared.auc_p > largest_p or compared.mmd_p > max(largest_p, 0.005):
        return None
    evidence = {
        "auc": compared.auc.value,
        "interval": [compared.auc.interval[0], min(compared.auc.interval[1], 1.0)],
        "p": compared.auc_p,
        "mmd": compared.mmd,
        "mmd_p": compared.mmd_p,
        "compared": list(compared.counts),
    }
    sentence = (
        f"{opening(second)} is unlike {named(first)}: a classifier tells them apart with an AUC of {compared.auc.value:.2f} "
        "(0.5 if they were alike)"
    )
    if names and (most := _most_different(names, values[0][rows], values[1][columns])):
        name, before, after = most
        evidence |= {"property": name, first: before, second: after}
        sentence += f"; above all by {name}, {after:.3g} against {before:.3g}"
    if len(one) and "train" not in (first, second):
        drop = statistics.difference(scores(record, first), scores(record, second))
        evidence |= {"score_drop": drop.value, "score_drop_interval": list(drop.interval)}
        score = NAMES[record.task]
        sentence += (
            f". Its {score} is lower by {drop.value:.3f}"
            if drop.interval[0] > 0
            else f". Its {score} is not surely lower"
        )
    return Finding("shift", sentence + ".", evidence, compared.auc.above(LEAST_AUC), second)


def _matched(record: Record, one: Part, other: Part) -> tuple[np.ndarray, np.ndarray]:
    """Rows of both samples with the same number of examples of each class."""
    if record.task != "single_label" or one.sample_targets is None or other.sample_targets is None:
        return np.arange(len(_rows(one))), np.arange(len(_rows(other)))
    random = np.random.default_rng(0)
    rows, columns = [], []
    for label in range(len(record.labels)):
        first, second = (np.flatnonzero(part.sample_targets == label) for part in (one, other))
        count = min(len(first), len(second))
        rows.append(random.permutation(first)[:count])
        columns.append(random.permutation(second)[:count])
    return np.concatenate(rows), np.concatenate(columns)


def _most_different(names: list[str], first: np.ndarray, second: np.ndarray) -> tuple[str, float, float] | None:
    """The property with the largest Kolmogorov-Smirnov distance, and its medians in both sets."""
    distances = [scipy.stats.ks_2samp(first[:, index], second[:, index]).statistic for index in range(len(names))]
    index = int(np.argmax(distances))
    if distances[index] < 0.2:
        return None
    return names[index], float(np.median(first[:, index])), float(np.median(second[:, index]))


def _near(train: Part | None, part: Part) -> statistics.Estimate | None:
    """The estimated share of near-copies, if it is surely above chance; None otherwise."""
    if not is_comparable(train) or not is_comparable(part) or train.features is None or part.features is None:
        return None
    if len(train.features) < 100:
        return None
    scale = np.maximum(train.features.std(axis=0), 1e-6)
    known, new = train.features / scale, part.features / scale
    within = scipy.spatial.distance.cdist(known, known)
    np.fill_diagonal(within, np.inf)
    nearest = within.min(axis=1)
    limit = np.quantile(nearest, _NEAREST_QUANTILE)
    is_near = scipy.spatial.distance.cdist(new, known).min(axis=1) <= limit
    excess = statistics.difference(is_near.astype(float), (nearest <= limit).astype(float))
    if excess.interval[0] <= _LEAST_NEAR:
        return None
    seen = min(1.0, len(train.features) / train.count)  # Only a sample of the training part was looked at.
    return statistics.Estimate(min(1.0, excess.value / seen), excess.error / seen)


def _rows(part: Part) -> np.ndarray:
    return part.features if part.features is not None else next(iter(part.properties.values()), np.zeros(0))


def is_comparable(part: Part | None) -> bool:
    """Whether a part has a sample that is large enough to compare.

    Args:
        part: Part, or None.

    Returns:
        bool.
    """
    return part is not None and len(_rows(part)) >= _FEWEST
