"""Which classes of a listing are used.

Takes a `Listing`, returns a `Listing` with fewer classes, or notes about classes that some parts lack. The same for every
source. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kerastrain.data.sources.class_names import excluding, folded
from kerastrain.data.splitting.listings import PARTS, Listing
from kerastrain.errors import InputError, unknown

_MOST_NAMED = 5


def without_classes(listing: Listing, names: Sequence[str] | str) -> Listing:
    """Leaves out classes and their examples.

    For "multi_label", examples keep their other labels; those that have no other are left out, too.

    Args:
        listing: Listing.
        names: sequence of str, the labels of the classes to leave out, or one str; case does not matter.

    Returns:
        Listing; a part that has only examples of these classes is no longer in it.

    Raises:
        InputError: a name is no label of the listing, or its targets are numbers.

    Example:
        >>> import kerastrain as kt
        >>> kt.data.without_classes(kt.data.listing("digits"), ["0", "9"]).examples.labels
        ('1', '2', '3', '4', '5', '6', '7', '8')
    """
    examples, names = listing.examples, [names] if isinstance(names, str) else names
    if not names:
        return listing
    if examples.task == "regression":
        raise InputError(
            f"`data.exclude_classes` requires classes. Received: task 'regression' of {listing.source}. Remove it."
        )
    by_key = {folded(label): label for label in examples.labels}
    missing = next((name for name in names if name not in examples.labels and folded(name) not in by_key), None)
    if missing is not None:
        raise InputError(f"`data.exclude_classes`: {unknown('class', missing, examples.labels)}")
    excluded = {name if name in examples.labels else by_key[folded(name)] for name in names}
    kept = np.array([number for number, label in enumerate(examples.labels) if label not in excluded], np.int64)
    if examples.task == "single_label":
        rows = np.flatnonzero(np.isin(examples.targets, kept))
        targets = np.searchsorted(kept, examples.targets[rows])
    else:
        left = examples.targets[:, kept]
        rows = np.flatnonzero(left.any(axis=1) | ~examples.targets.any(axis=1))
        targets = left[rows]
    labels = tuple(examples.labels[number] for number in kept)
    count = len(examples) - len(rows)
    counted = "1 example" if count == 1 else f"{count:,} examples"
    note = f"left out the {_classes(sorted(excluded))} with {counted}, as data.exclude_classes says"
    return dataclasses.replace(
        listing,
        examples=dataclasses.replace(examples.subset(rows), targets=targets, labels=labels),
        predefined_split=None if listing.predefined_split is None else listing.predefined_split[rows],
        notes=(*listing.notes, note),
    )


def notes(listing: Listing) -> list[str]:
    """Notes about classes that training has, but a part that the source holds out lacks.

    Args:
        listing: Listing.

    Returns:
        list of str, one for each part; empty if the source does not define parts.

    Example:
        >>> import numpy as np
        >>> import kerastrain as kt
        >>> examples = kt.data.Examples(np.array([0, 1, 0, 1, 2]), ("neg", "pos", "unsup"), np.zeros((5, 1)))
        >>> notes(Listing("'reviews'", examples, np.array(["train", "train", "test", "test", "train"])))
        ["no examples in test: the class 'unsup'; data.exclude_classes=[unsup] leaves it out"]
    """
    examples = listing.examples
    if listing.predefined_split is None or examples.task == "regression":
        return []
    counts = {part: _counts(listing, part) for part in PARTS if (listing.predefined_split == part).any()}
    train = counts.pop("train", None)
    if train is None or not train.all():  # Such a listing is refused when it is split.
        return []
    found = []
    for part, counted in counts.items():
        lacking = np.flatnonzero(counted == 0)
        if len(lacking):
            names = [examples.labels[number] for number in lacking]
            them = "it" if len(names) == 1 else "them"
            remedy = f"; {excluding(names)} leaves {them} out" if len(names) <= _MOST_NAMED else ""
            found.append(f"no examples in {part}: the {_classes(names)}{remedy}")
    return found


def _counts(listing: Listing, part: str) -> np.ndarray:
    return listing.examples.subset(np.flatnonzero(listing.predefined_split == part)).class_counts


def _classes(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    shown = ", ".join(map(repr, names[:_MOST_NAMED])) + (f" and {more:,} more" if more > 0 else "")
    return f"{'class' if len(names) == 1 else 'classes'} {shown}"
