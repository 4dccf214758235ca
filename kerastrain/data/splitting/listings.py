"""What a source holds, told before any image is decoded: the rows that are counted and divided.

Takes unread `Examples`, gives the indices of the parts and their sizes. `kerastrain check` and a run divide the same
listing, so that what is told beforehand is what is trained on, but for files that only reading shows to be of no use.
Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kerastrain.data.examples import Examples, Split, quantile_bins
from kerastrain.data.splitting import stratified
from kerastrain.errors import InputError

PARTS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """The examples of a source, not yet divided and none of their images decoded.

    Args:
        source: str, what messages call it, such as "'flowers'".
        examples: Examples; a store among them may lack its `image_size` where it is only to be counted.
        marks: array (n,) of "train", "validation" and "test" where the source itself says so; None where it does not.
    """

    source: str
    examples: Examples
    marks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.examples)


def divide(
    listing: Listing,
    *,
    validation_fraction: float = 0.2,
    test_fraction: float = 0.0,
    seed: int = 0,
    folds: int | None = None,
    fold: int = 0,
) -> dict[str, np.ndarray]:
    """Indices of the parts of a listing.

    A part that the source marks is taken as it is marked; one that it does not mark, and that has a fraction, comes out
    of what it marks "train". Under `folds` the validation part is the fold's: train and validation, marked or not, are
    divided anew, and the test part is the same under every fold.

    Args:
        listing: Listing.
        validation_fraction: float in [0, 1), the share held out for validation; 0 makes no such part.
        test_fraction: float in [0, 1), the share held out for the test; 0 makes no such part.
        seed: int, which of the possible divisions.
        folds: int >= 2, how many folds take turns as the validation part; None for a division by fractions.
        fold: int in [0, folds), which of them is held out.

    Returns:
        dict from "train", "validation", "test" (those that exist) to int64 arrays of indices, ascending.

    Raises:
        InputError: a number is out of range, a part or class would be without examples, or the source's own marks part
            a group.
    """
    examples = listing.examples
    _check_classes(listing)
    shares = stratified.shares(0.0 if folds else validation_fraction, test_fraction)
    parts = {"train": np.arange(len(examples))} if listing.marks is None else _marked(listing)
    if folds and "validation" in parts:
        parts["train"] = np.sort(np.concatenate([parts["train"], parts.pop("validation")]))
    wanted = {part: share for part, share in shares.items() if part == "train" or part not in parts}
    wanted["train"] = 1 - sum(share for part, share in wanted.items() if part != "train")
    if len(wanted) > 1:
        rest = parts.pop("train")
        shared = stratified.split_by_strata(
            *_columns(examples, rest, min(wanted.values())),
            wanted,
            names=examples.labels,
            **_groups(examples, rest, seed),
        )
        parts |= {part: rest[indices] for part, indices in shared.items()}
    if folds:
        parts["train"], parts["validation"] = _fold(examples, parts["train"], folds, fold, seed)
    _check_train(listing, parts["train"])
    return {part: parts[part] for part in PARTS if part in parts}


def sizes(listing: Listing, **division: float | int | None) -> dict[str, int]:
    """How many examples each part would have; takes and raises what `divide` does, and decodes nothing."""
    return {part: len(indices) for part, indices in divide(listing, **division).items()}


def folds(examples: Examples, count: int, fold: int, *, seed: int = 0) -> Split:
    """One fold of a cross-validation: every example is held out under exactly one of the `count` folds.

    Use it where a single validation part would be too small to choose by: train once for each fold, and look at the
    mean and the spread. Examples are divided by class, or by label set or number, and groups stay whole.

    Args:
        examples: Examples, such as `Split.train` of a source with no validation part.
        count: int >= 2, how many folds there are.
        fold: int in [0, count), the one that becomes the validation part.
        seed: int, which of the possible divisions; the same for all folds.

    Returns:
        Split of train and validation.

    Raises:
        InputError: a number is out of range, or a class has fewer examples, or groups, than there are folds.

    Example:
        >>> whole = kt.data.image_folder("flowers", image_size=(224, 224), validation_fraction=0).train  # doctest: +SKIP
        >>> splits = [kt.data.folds(whole, 5, fold) for fold in range(5)]  # doctest: +SKIP
    """
    train, validation = _fold(examples, np.arange(len(examples)), count, fold, seed)
    return Split(examples.subset(train), examples.subset(validation))


def under_labels(listing: Listing, labels: Sequence[str]) -> Examples:
    """All examples of a listing, their targets counted by the labels of a model that exists already.

    Args:
        listing: Listing; not every label needs an example.
        labels: the labels in the order of the model's outputs.

    Returns:
        Examples with those labels, none of their images decoded.

    Raises:
        InputError: the listing has a class, or a number, of another name.
    """
    examples = listing.examples
    strange = [label for label in examples.labels if label not in labels]
    missing = [label for label in labels if label not in examples.labels] if examples.task == "regression" else []
    if strange or missing:
        what = "numbers" if examples.task == "regression" else "classes"
        told = f" Received also: {', '.join(strange)}." if strange else f" Missing: {', '.join(missing)}."
        raise InputError(
            f"the {what} of {listing.source} must be named like the model's labels: {', '.join(labels)}.{told} "
            "Rename or remove them."
        )
    places = np.array([list(labels).index(label) for label in examples.labels], np.int64)
    if examples.task == "single_label":
        targets = places[examples.targets]
    else:
        targets = np.zeros((len(examples), len(labels)), np.float32)
        targets[:, places] = examples.targets
    return dataclasses.replace(examples, targets=targets, labels=tuple(labels))


def _columns(examples: Examples, rows: np.ndarray, smallest_share: float) -> tuple[np.ndarray, list[str]]:
    """What `splits` divides by, at `rows`: strata or kinds, and keys."""
    kinds = examples.targets[rows]
    if examples.task == "regression":
        # Each bin shall have an example for the smallest part.
        count = max(1, min(10, int(len(rows) * smallest_share)))
        kinds = np.eye(count)[quantile_bins(kinds[:, 0], count)]
    keys = range(len(examples)) if examples.keys is None else examples.keys
    return kinds, [str(keys[row]) for row in rows]


def _groups(examples: Examples, rows: np.ndarray, seed: int) -> dict:
    return {"groups": None if examples.groups is None else examples.groups[rows], "seed": seed}


def _fold(examples: Examples, rows: np.ndarray, count: int, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if not 0 <= fold < count:
        raise InputError(f"`fold` must lie in [0, {count}), the folds counted from 0. Received: {fold}.")
    numbers = stratified.fold_numbers(
        *_columns(examples, rows, 1 / count), count, names=examples.labels, **_groups(examples, rows, seed)
    )
    return rows[numbers != fold], rows[numbers == fold]


def _marked(listing: Listing) -> dict[str, np.ndarray]:
    parts = {part: np.flatnonzero(listing.marks == part) for part in PARTS}
    parts = {part: indices for part, indices in parts.items() if len(indices)}
    if "train" not in parts:
        raise InputError(f"{listing.source} marks no example as train, so that nothing can be learnt from it.")
    if listing.examples.groups is not None:
        held = {part: set(listing.examples.groups[indices].tolist()) for part, indices in parts.items()}
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            both = sorted(held.get(first, set()) & held.get(second, set()))
            if both:
                raise InputError(
                    f"group {both[0]!r} of {listing.source} is marked {first} and {second}, and a group must not be "
                    f"parted ({len(both)} such groups). Mark each group for one part."
                )
    return parts


def _check_classes(listing: Listing) -> None:
    examples = listing.examples
    if not len(examples):
        raise InputError(f"{listing.source} holds no examples.")
    if examples.task == "regression":
        return
    if len(examples.labels) < 2 and examples.task == "single_label":
        raise InputError(
            f"{listing.source} holds one class only, {examples.labels[0]!r}. A classifier needs at least two."
        )
    empty = [label for label, count in zip(examples.labels, examples.class_counts, strict=True) if not count]
    if empty:
        raise InputError(f"every class of {listing.source} must have an example. Without any: {', '.join(empty)}.")


def _check_train(listing: Listing, train: np.ndarray) -> None:
    examples = listing.examples
    if examples.task == "regression":
        return
    held = examples.targets[train]
    held = np.unique(held) if examples.task == "single_label" else np.flatnonzero(held.sum(axis=0))
    lacking = [label for number, label in enumerate(examples.labels) if number not in held]
    if lacking:
        raise InputError(
            f"class {lacking[0]!r} of {listing.source} has no example in train, and cannot be learnt. Move some there, "
            "or remove the class."
        )
