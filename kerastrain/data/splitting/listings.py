"""The examples of a source before any image is decoded, and how they are split.

Takes unread `Examples`, returns the indices and sizes of the parts. `kerastrain check` and a run split the same
listing, so the sizes that `check` prints are those of the run, except for files that turn out to be unusable when they
are read. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kerastrain.data.examples import Examples, Split, quantile_bins
from kerastrain.data.image_files.quarantine import REPEATS, Quarantined
from kerastrain.data.sources.class_names import excluding, folded
from kerastrain.data.splitting import stratified
from kerastrain.errors import InputError

PARTS = ("train", "validation", "test")
_MOST_NAMED = 5
_MOST_NOTES = 3
_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Listing:
    """The examples of a source, not yet split, and with no image decoded.

    Args:
        source: str, the name of the source in messages, such as "'flowers'".
        examples: Examples; a store in it needs no `image_size` if the examples are only counted.
        predefined_split: array (n,) of "train", "validation" and "test" if the source itself defines the parts; else
            None.
        layout: str, how the source was understood, the rest of a sentence such as "one folder of images per class".
        notes: tuple of str, a sentence for each thing that a user should know before training, such as the files that
            were skipped by their suffix.
        skipped: tuple of Quarantined, the examples that the source leaves out because they are incomplete or cannot be
            read; they count for `unreadable_fraction`, except for repeated and contradictory ones.
        counts_repeats: bool, whether a text that occurs again counts again, as in the rows of a table; else it is a
            duplicate, as in files.
    """

    source: str
    examples: Examples
    predefined_split: np.ndarray | None = None
    layout: str = ""
    notes: tuple[str, ...] = ()
    skipped: tuple[Quarantined, ...] = ()
    counts_repeats: bool = True

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
    train_on_validation: bool = False,
) -> dict[str, np.ndarray]:
    """Splits a listing into parts.

    Parts that the source defines are kept. A part that it does not define and that has a fraction is taken from the
    source's training part. With `folds`, the training and validation parts are pooled and split again, and the fold is
    the validation part; the test part is the same for every fold.

    Args:
        listing: Listing.
        validation_fraction: float in [0, 1), the fraction held out for validation; 0 for no such part.
        test_fraction: float in [0, 1), the fraction held out for the test; 0 for no such part.
        seed: int, selects one of the possible splits.
        folds: int >= 2, the number of folds that take turns as the validation part; None to split by fractions.
        fold: int in [0, folds), the fold that is held out.
        train_on_validation: bool, whether the training part contains the validation part, which is otherwise the same. The
            test part does not depend on it.

    Returns:
        dict from "train", "validation", "test" (those that exist) to int64 arrays of indices, ascending.

    Raises:
        InputError: a number is out of range, a part or a class would have no examples, the numbers to predict are
            constant, or the source's own parts divide a group.
    """
    examples = listing.examples
    _check_classes(listing)
    shares = stratified.shares(0.0 if folds else validation_fraction, test_fraction)
    parts = {"train": np.arange(len(examples))} if listing.predefined_split is None else _predefined_parts(listing)
    if folds and "validation" in parts:
        parts["train"] = np.sort(np.concatenate([parts["train"], parts.pop("validation")]))
    _check_train(listing, parts["train"])
    wanted = {part: share for part, share in shares.items() if part == "train" or part not in parts}
    wanted["train"] = 1 - sum(share for part, share in wanted.items() if part != "train")
    if len(wanted) > 1:
        rows = parts.pop("train")
        subparts = stratified.split_by_strata(
            *_strata_and_keys(examples, rows, min(wanted.values())),
            wanted,
            names=examples.labels,
            **_group_options(examples, rows, seed),
        )
        parts |= {part: rows[indices] for part, indices in subparts.items()}
    if folds:
        parts["train"], parts["validation"] = _fold(examples, parts["train"], folds, fold, seed)
    _check_train(listing, parts["train"])
    if train_on_validation and "validation" in parts:
        parts["train"] = np.sort(np.concatenate([parts["train"], parts.pop("validation")]))
    return {part: parts[part] for part in PARTS if part in parts}


def sizes(listing: Listing, **split_options: float | int | None) -> dict[str, int]:
    """Counts the examples of each part without decoding any.

    Args:
        listing: Listing.
        **split_options: options of `divide`.

    Returns:
        dict from "train", "validation", "test" (those that exist) to the number of examples, int >= 1.

    Raises:
        InputError: as for `divide`.
    """
    return {part: len(indices) for part, indices in divide(listing, **split_options).items()}


def check_skipped(listing: Listing, unreadable_fraction: float) -> None:
    """Checks that a source leaves out no more examples than allowed.

    Args:
        listing: Listing.
        unreadable_fraction: float in [0, 1], the largest fraction of the examples that may be skipped.

    Raises:
        InputError: it leaves out more (the message names the first of them).
    """
    unusable = [item for item in listing.skipped if item.kind not in REPEATS]
    count, total = len(unusable), len(listing) + len(listing.skipped)
    if count > unreadable_fraction * total:
        first = "; ".join(f"{item.path}: {item.reason}" for item in unusable[:_MOST_NAMED])
        more = f"; and {count - _MOST_NAMED:,} more" if count > _MOST_NAMED else ""
        raise InputError(
            f"{count:,} of {total:,} examples of {listing.source} cannot be used, more than the fraction "
            f"{unreadable_fraction:g} that `data.unreadable_fraction` allows: {first}{more}. Repair or remove them, or "
            "raise `data.unreadable_fraction` to skip them."
        )


def folds(examples: Examples, count: int, fold: int, *, seed: int = 0) -> Split:
    """Splits examples for one fold of a cross-validation; each example is held out in exactly one of `count` folds.

    Use it if a single validation part would be too small for reliable choices: train once per fold, and look at the
    mean and the spread. Examples are stratified by class, label set or number, and groups stay whole.

    Args:
        examples: Examples, such as `Split.train` of a source with no validation part.
        count: int >= 2, the number of folds.
        fold: int in [0, count), the fold that becomes the validation part.
        seed: int, selects one of the possible splits; use the same for all folds.

    Returns:
        Split with the parts train and validation.

    Raises:
        InputError: a number is out of range, or a class has fewer examples, or groups, than there are folds.

    Example:
        >>> whole = kt.data.image_folder("flowers", image_size=(224, 224), validation_fraction=0).train  # doctest: +SKIP
        >>> splits = [kt.data.folds(whole, 5, fold) for fold in range(5)]  # doctest: +SKIP
    """
    train, validation = _fold(examples, np.arange(len(examples)), count, fold, seed)
    return Split(examples.subset(train), examples.subset(validation))


def under_labels(listing: Listing, labels: Sequence[str]) -> Examples:
    """Renumbers the targets of a listing to match the labels of an existing model.

    Labels match that differ only by case or Unicode normalization, unless one is equal.

    Args:
        listing: Listing; a label may have no example in it.
        labels: sequence of str, the labels in the order of the model's outputs.

    Returns:
        Examples with those labels, no image decoded.

    Raises:
        InputError: a class of the listing is not among `labels`, or for "regression" the names of the numbers differ.
    """
    examples = listing.examples
    by_key = {folded(label): label for label in reversed(labels)}
    names = {label: label if label in labels else by_key.get(folded(label)) for label in examples.labels}
    extra = [label for label, name in names.items() if name is None]
    missing = [label for label in labels if label not in names.values()] if examples.task == "regression" else []
    if extra or missing:
        kind = "numbers" if examples.task == "regression" else "classes"
        difference = f"Unknown: {', '.join(extra)}." if extra else f"Missing: {', '.join(missing)}."
        raise InputError(
            f"the {kind} of {listing.source} must have the names of the model's labels: {', '.join(labels)}. "
            f"{difference} Rename or remove them."
        )
    columns = np.array([list(labels).index(names[label]) for label in examples.labels], np.int64)
    if examples.task == "single_label":
        targets = columns[examples.targets]
    else:
        targets = np.zeros((len(examples), len(labels)), np.float32)
        for column, values in zip(columns, examples.targets.T, strict=True):
            targets[:, column] = np.maximum(targets[:, column], values) if examples.task == "multi_label" else values
    return dataclasses.replace(examples, targets=targets, labels=tuple(labels))


def _strata_and_keys(examples: Examples, rows: np.ndarray, smallest_share: float) -> tuple[np.ndarray, list[str]]:
    """Returns the strata and the keys at `rows`, as `stratified.split_by_strata` takes them."""
    strata = examples.targets[rows]
    if examples.task == "regression":
        # Few enough bins that each has an example for the smallest part.
        count = max(1, min(10, int(len(rows) * smallest_share)))
        strata = np.eye(count)[quantile_bins(strata[:, 0], count)]
    keys = range(len(examples)) if examples.keys is None else examples.keys
    return strata, [str(keys[row]) for row in rows]


def _group_options(examples: Examples, rows: np.ndarray, seed: int) -> dict:
    return {"groups": None if examples.groups is None else examples.groups[rows], "seed": seed}


def _fold(examples: Examples, rows: np.ndarray, count: int, fold: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    if not 0 <= fold < count:
        raise InputError(f"`fold` must lie in [0, {count}), the folds counted from 0. Received: {fold}.")
    numbers = stratified.fold_numbers(
        *_strata_and_keys(examples, rows, 1 / count),
        count,
        names=examples.labels,
        **_group_options(examples, rows, seed),
    )
    return rows[numbers != fold], rows[numbers == fold]


def _predefined_parts(listing: Listing) -> dict[str, np.ndarray]:
    parts = {part: np.flatnonzero(listing.predefined_split == part) for part in PARTS}
    parts = {part: indices for part, indices in parts.items() if len(indices)}
    if "train" not in parts:
        raise InputError(
            f"{listing.source} contains {' and '.join(parts) or 'no part'} but no train. Give the examples to train on."
        )
    if listing.examples.groups is not None:
        groups = {part: set(listing.examples.groups[indices].tolist()) for part, indices in parts.items()}
        for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
            shared = sorted(groups.get(first, set()) & groups.get(second, set()))
            if shared:
                raise InputError(
                    f"a group must stay in one part, and group {shared[0]!r} of {listing.source} is in {first} and "
                    f"{second} (groups in two parts: {len(shared)}). Put each group into one part."
                )
    return parts


def _check_classes(listing: Listing) -> None:
    examples = listing.examples
    if not len(examples):
        raise InputError(f"there are no examples in {listing.source}.")
    if examples.task == "regression":
        return
    if len(examples.labels) < 2 and examples.task == "single_label":
        raise InputError(
            f"a classifier needs at least two classes. Received: only {examples.labels[0]!r} in {listing.source}"
            f"{_noted(listing)}."
        )
    empty = [label for label, count in zip(examples.labels, examples.class_counts, strict=True) if not count]
    if empty:
        raise InputError(f"every class of {listing.source} must have an example. Without any: {', '.join(empty)}.")


def _check_train(listing: Listing, train: np.ndarray) -> None:
    examples = listing.examples
    targets = examples.targets[train]
    if examples.task == "regression":
        constant = np.flatnonzero((targets == targets[0]).all(axis=0))
        if len(constant):
            raise InputError(
                f"the numbers {examples.labels[constant[0]]!r} of {listing.source} are all "
                f"{targets[0, constant[0]]:g} in the training part, and a constant needs no model. Give numbers that "
                "differ, or remove the column."
            )
        return
    classes = np.unique(targets) if examples.task == "single_label" else np.flatnonzero(targets.sum(axis=0))
    missing = [label for number, label in enumerate(examples.labels) if number not in classes]
    if missing:
        names = ", ".join(map(repr, missing[:_MOST_NAMED])) + (", …" if len(missing) > _MOST_NAMED else "")
        raise InputError(
            f"{'class' if len(missing) == 1 else 'classes'} {names} of {listing.source} {'has' if len(missing) == 1 else 'have'} "
            f"no training example and cannot be learned{_noted(listing, missing)}. Move some examples to train, or leave "
            f"{'it' if len(missing) == 1 else 'them'} out with {excluding(missing)}."
        )


def _noted(listing: Listing, names: Sequence[str] = ()) -> str:
    """Adds what was noted while the source was read, about `names` if there are any: it may be why it is refused."""
    notes = [note for note in listing.notes if not names or any(name in note for name in names)]
    return f" ({'; '.join(notes[:_MOST_NOTES])})" if notes else ""
