"""Which example goes into which part: stratified, seeded, and steady when files are added.

Takes targets, keys and groups, gives index arrays. Must not read inputs or import TensorFlow.

| examples | how they are divided |
|---|---|
| one class each | each class is ranked by hash and cut: an example added later changes the part of few others |
| any number of labels, or numbers | by `balanced`, rarest label first; numbers by the tenth that they lie in |
| in groups | by `balanced`, each group whole, the largest share of some class first |
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
    """Indices of the parts, each holding its share of every stratum.

    The result depends on neither the machine nor a library's random numbers.

    Args:
        strata: int64 array (n,) in [0, len(names)), a class each; or float array (n, kinds) >= 0, what each example
            holds of each kind, for examples of several kinds or none.
        keys: n str that name the examples, such as paths relative to the folder. Equal ones come into one part.
        shares: from the name of each part to its share; shares > 0 that sum to 1.
        names: the name of each kind, for messages.
        groups: array (n,) of str, examples of one group come into one part; None for none.
        seed: int, which of the possible divisions.

    Returns:
        dict from the names of `shares` to int64 arrays of indices, ascending.

    Raises:
        InputError: there are too few examples, or groups, for each part to have one of each class.
    """
    if groups is None and strata.ndim == 1:
        return stratified(strata, keys, shares, names=names, seed=seed)
    units, unit = _numbered(keys if groups is None else groups)
    kinds = np.eye(len(names))[strata] if strata.ndim == 1 else strata
    counts = np.zeros((len(units), kinds.shape[1] + 1))
    np.add.at(counts, unit, np.concatenate([kinds, np.ones((len(kinds), 1))], axis=1))
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
    """Indices of the parts, each class divided in the same proportions.

    Within a class the examples are ranked by SHA-256 of the seed and their key; the first go to the last part of
    `shares`, the next to the one before, and the rest to the first. Every part but the first gets round(share * n)
    examples of each class, and at least one; where that would part equal keys, more.

    Args:
        classes: int64 array (n,) in [0, len(names)).
        keys: as for `split_by_strata`.
        shares: as for `split_by_strata`, in order; the first takes what the others leave.
        names: the name of each class, for messages.
        seed: int, which of the possible divisions.

    Returns:
        dict as from `split_by_strata`.

    Raises:
        InputError: a class is too small to have an example in each part.
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
            raise InputError(_too_small(name, len(ranked), tuple(shares), counts))
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
    """The fold that each example is held out in, every fold holding its share of every stratum.

    Args:
        strata: as for `split_by_strata`.
        keys: as for `split_by_strata`.
        count: int >= 2, how many folds.
        names: the name of each kind, for messages.
        groups: as for `split_by_strata`.
        seed: int, which of the possible divisions.

    Returns:
        int64 array (n,) in [0, count).

    Raises:
        InputError: `count` is below 2, or a class has fewer examples, or groups, than there are folds.
    """
    if count < 2:
        raise InputError(f"`folds` must be at least 2. Received: {count}.")
    numbers = np.zeros(len(keys), np.int64)
    if groups is not None or strata.ndim != 1:
        shares = {str(fold): 1 / count for fold in range(count)}
        parts = split_by_strata(strata, keys, shares, names=names, groups=groups, seed=seed)
        for fold, indices in enumerate(parts.values()):
            numbers[indices] = fold
        return numbers
    first = 0
    for number, name in enumerate(names):
        members = np.flatnonzero(strata == number)
        different = sorted({keys[index] for index in members})
        if len(different) < count:
            raise InputError(
                f"class {name!r} has {_counted(len(different), 'example')}, too few for {count} folds, each of which "
                "holds out at least one. Add examples to the class, remove it, or ask for fewer folds."
            )
        # Each class goes on where the last one ended, so that the folds differ by one example in all and not per class.
        order = _ranked(different, seed)
        fold = {different[index]: (first + place) % count for place, index in enumerate(order)}
        numbers[members] = [fold[keys[index]] for index in members]
        first = (first + len(different)) % count
    return numbers


def shares(validation_fraction: float, test_fraction: float) -> dict[str, float]:
    """The share of each part that is asked for, by name, the training part first.

    Raises:
        InputError: a fraction lies outside [0, 1), or they leave nothing to train on.
    """
    for name, fraction in (("validation_fraction", validation_fraction), ("test_fraction", test_fraction)):
        if not 0 <= fraction < 1:
            raise InputError(f"`{name}` must lie in [0, 1). Received: {fraction}.")
    if validation_fraction + test_fraction >= 1:
        raise InputError(
            "`validation_fraction` and `test_fraction` must leave something to train on. "
            f"Received: {validation_fraction} + {test_fraction} >= 1."
        )
    asked = {"validation": validation_fraction, "test": test_fraction}
    return {"train": 1 - sum(asked.values()), **{part: share for part, share in asked.items() if share > 0}}


def _ranked(keys: Sequence[str], seed: int) -> np.ndarray:
    """The indices of `keys` in the order of their hashes, equal ones side by side."""
    digests = [hashlib.sha256(f"{seed}\0{key}".encode(errors="surrogatepass")).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=digests.__getitem__), np.int64)


def _numbered(names: Sequence[str]) -> tuple[list[str], np.ndarray]:
    """The different ones of `names`, and for each of `names` its place among them."""
    places = {}
    numbers = [places.setdefault(name, len(places)) for name in names]
    return list(places), np.array(numbers, np.int64)


def _check_groups(counts: np.ndarray, groups: Sequence[str], parts: Sequence[str], names: Sequence[str]) -> None:
    for name, held in zip(names, counts.T, strict=True):
        holders = np.flatnonzero(held)
        if len(holders) < len(parts):
            some = ", ".join(repr(str(groups[index])) for index in holders[:3])
            raise InputError(
                f"class {name!r} occurs in {_counted(len(holders), 'group')} only ({some}), too few for "
                f"{', '.join(parts)}: a group is never parted. "
                "Add groups with that class, or ask for fewer parts."
            )


def _check_parts(
    parts: Mapping[str, np.ndarray], strata: np.ndarray, names: Sequence[str], units: str, count: int
) -> None:
    empty = [part for part, indices in parts.items() if not len(indices)]
    if empty:
        raise InputError(
            f"{count} {units} are too few for {', '.join(parts)}: nothing is left for {', '.join(empty)}. Add "
            f"{units}, or ask for fewer parts."
        )
    if strata.ndim == 1:
        for part, indices in parts.items():
            lacking = [name for number, name in enumerate(names) if number not in strata[indices]]
            if lacking:
                raise InputError(
                    f"no way was found to give {part!r} a group of class {lacking[0]!r} without parting one. Add "
                    "groups with that class, take another seed, or mark the parts in a column of your own."
                )


def _too_small(name: str, size: int, parts: tuple[str, ...], counts: Mapping[str, int]) -> str:
    taken = " and ".join(f"{count} for {part}" for part, count in counts.items())
    return (
        f"class {name!r} has {_counted(size, 'example')}, too few for {', '.join(parts)}: {taken} leaves none to train "
        "on. Add examples to the class, remove it, or lower the fractions."
    )


def _counted(count: int, noun: str) -> str:
    return f"one {noun}" if count == 1 else f"{count} {noun}s"
