"""Stratified, seeded splits that change little when files are added.

Takes targets, keys and groups; returns index arrays. Must not read inputs or import TensorFlow.

| examples | how they are split |
|---|---|
| one class each | each class is sorted by hash and cut: an example added later changes the part of few others |
| any number of labels, or numbers | by `balanced`, rarest label first; numbers by their quantile bin |
| in groups | by `balanced`, each group whole, the largest share of a class first |
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from kerastrain.data.splitting.balanced import balanced
from kerastrain.errors import InputError


def split_by_strata(
    strata: np.ndarray,
    keys: Sequence[str],
    shares: Mapping[str, float],
    *,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> dict[str, np.ndarray]:
    """Splits examples so that each part gets its share of every class.

    The result depends neither on the machine nor on a library's random numbers.

    Args:
        strata: int64 array (n,) in [0, len(names)), the class of each example; or float array (n, columns) >= 0, how
            much of each label or quantile bin is in each example, for examples that have any number of these.
        keys: sequence of n str that identify the examples, such as paths relative to the folder. Examples with equal
            keys go to the same part.
        shares: dict from the name of each part to its share, float > 0; the shares sum to 1.
        names: sequence of str, the class names, for messages.
        groups: array (n,) of str; all examples of a group go to the same part; None without groups.
        seed: int, selects one of the possible splits.

    Returns:
        dict from the names of the parts to int64 arrays of indices, ascending.

    Raises:
        InputError: there are too few examples, or groups, for each part to have one of each class.
    """
    if groups is None and strata.ndim == 1:
        return stratified(strata, keys, shares, names=names, seed=seed)
    units, unit = _numbered(keys if groups is None else groups)
    classes = np.eye(len(names))[strata] if strata.ndim == 1 else strata
    counts = np.zeros((len(units), classes.shape[1] + 1))
    np.add.at(counts, unit, np.concatenate([classes, np.ones((len(classes), 1))], axis=1))
    if strata.ndim == 1:
        _check_groups(counts[:, :-1], units, tuple(shares), names)
    ranks = np.argsort(_ranked(units, seed))
    numbers = balanced(counts, list(shares.values()), ranks)[unit]
    parts = {part: np.flatnonzero(numbers == number) for number, part in enumerate(shares)}
    _check_parts(parts, strata, names, "examples" if groups is None else "groups", len(units))
    return parts


def stratified(
    classes: np.ndarray, keys: Sequence[str], shares: Mapping[str, float], *, names: Sequence[str], seed: int = 0
) -> dict[str, np.ndarray]:
    """Splits each class in the same proportions.

    Within a class the examples are sorted by the SHA-256 of the seed and their key. The first go to the last part of
    `shares`, the next to the part before it, and the rest to the first part. Every part but the first gets
    round(share * n) examples of each class, at least one, and more if equal keys would otherwise be separated.

    Args:
        classes: int64 array (n,) in [0, len(names)).
        keys: as for `split_by_strata`.
        shares: as for `split_by_strata`; the first part gets the remaining examples.
        names: as for `split_by_strata`.
        seed: as for `split_by_strata`.

    Returns:
        dict as from `split_by_strata`.

    Raises:
        InputError: a class has too few examples for all parts.
    """
    first, *others = shares
    chosen = {part: [] for part in shares}
    for number, name in enumerate(names):
        members = np.flatnonzero(classes == number)
        ranked = members[_ranked([keys[index] for index in members], seed)].tolist()
        counts = {part: max(1, round(shares[part] * len(ranked))) for part in reversed(others)}
        left = ranked
        for part, count in counts.items():
            while 0 < count < len(left) and keys[left[count]] == keys[left[count - 1]]:
                count += 1
            chosen[part] += left[:count]
            left = left[count:]
        if not left:
            raise InputError(_too_small(name, len(ranked), tuple(shares), counts) + _regression_hint(names))
        chosen[first] += left
    return {part: np.sort(np.array(indices, np.int64)) for part, indices in chosen.items()}


def fold_numbers(
    strata: np.ndarray,
    keys: Sequence[str],
    count: int,
    *,
    names: Sequence[str],
    groups: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Assigns each example to the fold that holds it out; every fold gets its share of every class.

    Args:
        strata: as for `split_by_strata`.
        keys: as for `split_by_strata`.
        count: int >= 2, the number of folds.
        names: as for `split_by_strata`.
        groups: as for `split_by_strata`.
        seed: as for `split_by_strata`.

    Returns:
        int64 array (n,) in [0, count).

    Raises:
        InputError: `count` is below 2, or a class has fewer examples, or groups, than there are folds.
    """
    if count < 2:
        raise InputError(f"`folds` must be at least 2. Received: {count}.")
    numbers = np.zeros(len(keys), np.int64)
    if groups is not None or strata.ndim != 1:
        shares = {f"fold {fold}": 1 / count for fold in range(count)}
        parts = split_by_strata(strata, keys, shares, names=names, groups=groups, seed=seed)
        for fold, indices in enumerate(parts.values()):
            numbers[indices] = fold
        return numbers
    first = 0
    for number, name in enumerate(names):
        members = np.flatnonzero(strata == number)
        class_keys = sorted({keys[index] for index in members})
        if len(class_keys) < count:
            raise InputError(
                f"class {name!r} has {_counted(len(class_keys), 'example')}, too few for {count} folds, each of which "
                "holds out at least one. Add examples to the class, remove it, or ask for fewer folds."
            )
        # Each class continues at the fold after the last class's, so that the folds differ by one example in total
        # instead of one per class.
        order = _ranked(class_keys, seed)
        fold = {class_keys[index]: (first + rank) % count for rank, index in enumerate(order)}
        numbers[members] = [fold[keys[index]] for index in members]
        first = (first + len(class_keys)) % count
    return numbers


def shares(validation_fraction: float, test_fraction: float) -> dict[str, float]:
    """Computes the share of each requested part.

    Args:
        validation_fraction: float in [0, 1), the fraction for validation; 0 for no such part.
        test_fraction: float in [0, 1), the fraction for the test; 0 for no such part.

    Returns:
        dict from "train", then "validation" and "test" if requested, to floats > 0 that sum to 1.

    Raises:
        InputError: a fraction lies outside [0, 1), or nothing is left to train on.
    """
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(f"`{name}` must lie in [0, 1). Received: {fraction}.")
    if validation_fraction + test_fraction >= 1:
        raise InputError(
            "`validation_fraction` and `test_fraction` must leave something to train on. "
            f"Received: {validation_fraction} + {test_fraction} >= 1."
        )
    held_out = {"validation": validation_fraction, "test": test_fraction}
    return {"train": 1 - sum(held_out.values()), **{part: share for part, share in held_out.items() if share > 0}}


def _ranked(keys: Sequence[str], seed: int) -> np.ndarray:
    """Returns the indices of `keys` sorted by hash; equal keys are adjacent."""
    digests = [hashlib.sha256(f"{seed}\0{key}".encode(errors="surrogatepass")).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=digests.__getitem__), np.int64)


def _numbered(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """Returns the distinct names, and for each of `names` its index among them."""
    indices = {}
    numbers = [indices.setdefault(name, len(indices)) for name in names]
    return list(indices), np.array(numbers, np.int64)


def _check_groups(counts: np.ndarray, groups: Sequence[str], parts: Sequence[str], names: Sequence[str]) -> None:
    for name, class_counts in zip(names, counts.T, strict=True):
        members = np.flatnonzero(class_counts)
        if len(members) < len(parts):
            some = ", ".join(repr(str(groups[index])) for index in members[:3])
            raise InputError(
                f"class {name!r} occurs in only {_counted(len(members), 'group')} ({some}), too few for "
                f"{_listed(parts)}, since a group stays in one part. Add groups with that class, or ask for fewer "
                "parts."
            )


def _check_parts(
    parts: Mapping[str, np.ndarray], strata: np.ndarray, names: Sequence[str], units: str, count: int
) -> None:
    empty = [part for part, indices in parts.items() if not len(indices)]
    if empty:
        raise InputError(
            f"{count} {units} are too few for {_listed(tuple(parts))}: none is left for {', '.join(empty)}. Add {units}, or "
            "ask for fewer parts."
        )
    if strata.ndim == 1:
        for part, indices in parts.items():
            missing = [name for number, name in enumerate(names) if number not in strata[indices]]
            if missing:
                raise InputError(
                    f"no split was found that gives {part!r} a whole group with class {missing[0]!r}. Add groups with "
                    "that class, use another seed, or define the parts in a column of a manifest."
                )


def _listed(parts: Sequence[str]) -> str:
    """Names the parts; many folds are counted instead."""
    return ", ".join(parts) if len(parts) <= 3 else f"{len(parts)} parts"


def _too_small(name: str, size: int, parts: tuple[str, ...], counts: Mapping[str, int]) -> str:
    held_out = " and ".join(f"{count} for {part}" for part, count in counts.items())
    return (
        f"class {name!r} has {_counted(size, 'example')}, too few for {', '.join(parts)}: {held_out} leaves none to "
        "train on. Add examples to the class, remove it, or lower the fractions."
    )


def _regression_hint(names: Sequence[str]) -> str:
    """What to do if the classes are fractional numbers, which are measured rather than named."""
    try:
        numbers = [float(name) for name in names]
    except ValueError:
        return ""
    if all(number.is_integer() for number in numbers):
        return ""
    return f" All {len(names)} classes are numbers: to predict numbers, set data.task=regression."


def _counted(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"
