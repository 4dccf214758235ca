"""Puts the predictions of several models for the same examples into the same order.

Takes `Predictions` with digests; returns `Predictions`, row by row about the same example. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from kerastrain.errors import InputError
from kerastrain.evaluation.predictions import Predictions

_MOST_NAMED = 5


def aligned(runs: Mapping[str, Predictions]) -> dict[str, Predictions]:
    """Sorts the predictions of each run alike, after checking that they are for the same examples.

    Examples are the same if their digests are equal, whatever their names. Among examples with equal digests, such as a row
    that occurs twice in a table, those with equal targets and then equal keys belong together.

    Args:
        runs: mapping from the name of a run, for messages, to its Predictions, at least two.

    Returns:
        dict from each name to Predictions with the labels in the order of the first run.

    Raises:
        InputError: predictions have no digests, or their tasks, labels, examples or targets differ.

    Example:
        >>> digests = np.array([7, 9], np.uint64)
        >>> first = Predictions(np.array([0, 1]), np.eye(2), ("cat", "dog"), "single_label", digests=digests)
        >>> second = Predictions(np.array([1, 0]), np.zeros((2, 2)), ("cat", "dog"), "single_label", digests=digests[::-1])
        >>> [run.targets.tolist() for run in aligned({"a": first, "b": second}).values()]
        [[0, 1], [0, 1]]
    """
    names = list(runs)
    first_name, first = names[0], runs[names[0]]
    for name, run in runs.items():
        if run.digests is None:
            raise InputError(
                f"predictions must have digests to be compared. Received: {name!r} without them. Write them again with "
                f"`kerastrain evaluate {name}`."
            )
        if run.task != first.task:
            raise InputError(
                f"runs must have the same task. Received: {first_name!r} ({first.task}) and {name!r} ({run.task})."
            )
        _check_labels(first_name, first, name, run)
    ordered = {name: _sorted(_with_labels(run, first.labels)) for name, run in runs.items()}
    for name in names[1:]:
        _check_examples(first_name, ordered[first_name], name, ordered[name])
    return ordered


def _check_labels(first_name: str, first: Predictions, name: str, run: Predictions) -> None:
    for owner, own, others in ((first_name, first.labels, run.labels), (name, run.labels, first.labels)):
        if extra := [label for label in own if label not in others]:
            more = ", …" if len(extra) > _MOST_NAMED else ""
            raise InputError(
                f"runs must have the same labels. Received: {first_name!r} with {len(first.labels)} and {name!r} with "
                f"{len(run.labels)}; only {owner!r} has {', '.join(map(repr, extra[:_MOST_NAMED]))}{more}."
            )


def _with_labels(run: Predictions, labels: tuple[str, ...]) -> Predictions:
    """The same predictions with their columns in the order of `labels`."""
    if run.labels == labels:
        return run
    columns = np.array([run.labels.index(label) for label in labels])
    if run.task == "single_label":
        places = np.empty(len(labels), np.int64)
        places[columns] = np.arange(len(labels))
        targets = places[run.targets]
    else:
        targets = run.targets[:, columns]
    return dataclasses.replace(run, targets=targets, outputs=run.outputs[:, columns], labels=labels)


def _sorted(run: Predictions) -> Predictions:
    ranks = {key: rank for rank, key in enumerate(sorted(set(run.keys)))}
    keys = np.fromiter((ranks[key] for key in run.keys), np.int64, len(run))
    order = np.lexsort((keys, *run.targets.reshape(len(run), -1).T[::-1], run.digests))
    return dataclasses.replace(
        run,
        targets=run.targets[order],
        outputs=run.outputs[order],
        keys=tuple(run.keys[index] for index in order),
        digests=run.digests[order],
        slices={name: values[order] for name, values in run.slices.items()},
        properties={name: values[order] for name, values in run.properties.items()},
    )


def _check_examples(first_name: str, first: Predictions, name: str, run: Predictions) -> None:
    if not np.array_equal(first.digests, run.digests):
        shared = _shared_count(first.digests, run.digests)
        raise InputError(
            f"runs must have predicted the same examples. Received: {len(first):,} of {first_name!r} and {len(run):,} of "
            f"{name!r}, of which {shared:,} are the same. Evaluate both on the same data, such as `kerastrain evaluate RUN "
            "--data both=PATH` for each, and compare them with --part both."
        )
    differs = (first.targets != run.targets).reshape(len(first), -1).any(axis=1)
    if differs.any():
        index = int(np.flatnonzero(differs)[0])
        raise InputError(
            f"runs must have the same true answers. Received: {int(differs.sum()):,} of {len(first):,} examples whose answers "
            f"in {first_name!r} and {name!r} differ, such as {first.keys[index]!r}. Evaluate both on the same data again."
        )


def _shared_count(first: np.ndarray, second: np.ndarray) -> int:
    """How many examples two sorted arrays of digests share; repeated ones count as often as both have them."""
    (first, first_counts), (second, second_counts) = (np.unique(each, return_counts=True) for each in (first, second))
    _, in_first, in_second = np.intersect1d(first, second, return_indices=True, assume_unique=True)
    return int(np.minimum(first_counts[in_first], second_counts[in_second]).sum())
