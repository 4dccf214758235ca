"""Which example goes into which part: stratified, seeded, and steady when files are added.

Takes labels and keys, gives index arrays. Must not read inputs or import TensorFlow.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from kerastrain.errors import InputError


def stratified(
    labels: np.ndarray,
    keys: Sequence[str],
    *,
    names: Sequence[str],
    validation_fraction: float,
    test_fraction: float,
    seed: int,
) -> dict[str, np.ndarray]:
    """Indices of the parts, each class divided in the same proportions.

    Within a class the examples are ranked by SHA-256 of the seed and their key; the first go to test, the next to
    validation, the rest to train. The result depends on neither the machine nor a library's random numbers, and an
    example added later changes the part of few others. A part that is asked for gets round(fraction * n) examples of
    each class, and at least one.

    Args:
        labels: int64 array (n,) in [0, len(names)).
        keys: n str that name the examples, such as paths relative to the folder. Equal ones stand side by side in
            the ranking, so that a class has at most one such group parted at the end of a part.
        names: the name of each class, for messages.
        validation_fraction: float in [0, 1), the share held out for validation; 0 makes no such part.
        test_fraction: float in [0, 1), the share held out for the test; 0 makes no such part.
        seed: int, which of the possible splits.

    Returns:
        dict from "train", "validation", "test" (those asked for) to int64 arrays of indices, ascending.

    Raises:
        InputError: a fraction is out of range, or a class is too small to have an example in each part.
    """
    _check_fractions(validation_fraction, test_fraction)
    shares = {"test": test_fraction, "validation": validation_fraction}
    shares = {part: share for part, share in shares.items() if share > 0}
    chosen = {part: [] for part in ("train", "validation", "test") if part == "train" or part in shares}
    for label, name in enumerate(names):
        members = np.flatnonzero(labels == label)
        ranked = sorted(members, key=lambda index: hashlib.sha256(f"{seed}\0{keys[index]}".encode()).digest())
        counts = {part: max(1, round(share * len(ranked))) for part, share in shares.items()}
        if sum(counts.values()) >= len(ranked):
            raise InputError(_too_small(name, len(ranked), tuple(chosen), counts))
        for part, count in counts.items():
            chosen[part] += ranked[:count]
            ranked = ranked[count:]
        chosen["train"] += ranked
    return {part: np.sort(np.array(indices, np.int64)) for part, indices in chosen.items()}


def strata(targets: np.ndarray, task: str) -> np.ndarray:
    """Which examples are alike, so that a sample of all can hold each kind in its share.

    Args:
        targets: array (n, ...) as in `Examples`.
        task: "single_label", where a stratum is a class; "multi_label", where it is a set of labels; or "regression",
            where it is a tenth of the examples by their first number.

    Returns:
        int64 array (n,) in [0, strata).
    """
    if task == "single_label":
        return targets
    if task == "multi_label":
        return np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)
    return np.searchsorted(np.quantile(targets[:, 0], np.arange(1, 10) / 10), targets[:, 0], side="right")


def _check_fractions(validation_fraction: float, test_fraction: float) -> None:
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(f"`{name}` must lie in [0, 1). Received: {fraction}.")
    if validation_fraction + test_fraction >= 1:
        raise InputError(
            "`validation_fraction` and `test_fraction` must leave something to train on. "
            f"Received: {validation_fraction} + {test_fraction} >= 1."
        )


def _too_small(name: str, size: int, parts: tuple[str, ...], counts: dict[str, int]) -> str:
    images = "one example" if size == 1 else f"{size} examples"
    taken = " and ".join(f"{count} for {part}" for part, count in counts.items())
    return (
        f"class {name!r} has {images}, too few for {', '.join(parts)}: {taken} leaves none to train on. "
        "Add examples to the class, remove it, or lower the fractions."
    )
