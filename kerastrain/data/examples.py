"""The two records that data travels in: `Examples`, read at random, and `Split`, its three parts.

Takes arrays or stores, gives arrays. Must not know where examples come from (`sources`) or how they are batched
(`pipeline`).
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.stores import Store
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import TASKS, Task


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs with what a model shall say of them, which can be read in any order.

    Attributes:
        targets: what is to be learnt, by `task`: int64 (n,) in [0, len(labels)), the class of each example, for
            "single_label"; float32 (n, len(labels)) of 0 and 1 for "multi_label"; float32 (n, len(labels)), finite,
            for "regression".
        labels: tuple of str, the names of the classes in the order of their numbers, whether or not each occurs here;
            for "regression" the names of the numbers.
        inputs: array (n, ...) of all inputs, decoded: uint8 (n, height, width, 3) for images, float32 (n, d) for
            features, object (n,) of str for texts; or a `Store`, which reads them when they are asked for.
        task: "single_label", "multi_label" (any number of the labels at once) or "regression".
        weights: float32 (n,), finite and >= 0, how much each example counts in the loss; None for 1 each.
        groups: array (n,) of str, examples of one group never to be parted (one patient, one film); None for none.
        paths: tuple of n str, the file of each example, or None where the examples were never files.
        keys: tuple of n str that name the examples wherever the data lies, such as paths relative to their folder; None
            where they have but their number. A division into parts goes by them.

    Raises:
        InputError: the lengths differ, or a target or weight breaks its rule.
    """

    targets: np.ndarray
    labels: tuple[str, ...]
    inputs: np.ndarray | Store
    task: Task = "single_label"
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    paths: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None

    def __post_init__(self):
        _check_lengths(self)
        check_targets(self.targets, self.labels, self.task)
        if self.weights is not None and not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise InputError("`weights` must be finite and >= 0. Received: NaN, infinite or negative ones.")

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, such as (224, 224, 3); () for texts."""
        return tuple(self.inputs.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs that `read` returns: uint8 for images, object for texts."""
        return self.inputs.dtype

    @property
    def image_size(self) -> tuple[int, int] | None:
        """(height, width) in pixels, or None where the inputs are no images."""
        return self.shape[:2] if len(self.shape) == 3 else None

    @property
    def class_counts(self) -> np.ndarray | None:
        """int64 array (len(labels),), how many examples each class has here; None for "regression"."""
        if self.task == "single_label":
            return np.bincount(self.targets, minlength=len(self.labels))
        return self.targets.sum(axis=0, dtype=np.float64).astype(np.int64) if self.task == "multi_label" else None

    @property
    def strata(self) -> np.ndarray:
        """int64 array (n,), which examples are alike: of one class, of one set of labels, or of one tenth by the number.

        For "regression" it is the first number that counts.
        """
        if self.task == "single_label":
            return self.targets
        if self.task == "multi_label":
            return np.unique(self.targets, axis=0, return_inverse=True)[1].reshape(-1)
        return quantile_bins(self.targets[:, 0], 10)

    def image(self, index: int) -> np.ndarray:
        """The image at `index`, 0 <= index < n, as a uint8 array (height, width, 3) in [0, 255]."""
        return self.read(np.array([index]))[0]

    def read(self, indices: np.ndarray) -> np.ndarray:
        """The inputs at `indices`, an int array (m,), stacked to an array (m, *shape)."""
        return self.inputs[np.asarray(indices, np.int64)]

    def subset(self, indices: np.ndarray, *, inputs: np.ndarray | Store | None = None) -> "Examples":
        """The examples at `indices`, an int array (m,), in its order.

        Args:
            indices: int array (m,).
            inputs: what they have as inputs, m of them; None takes their own: arrays are copied, stores are not read.
        """
        indices = np.asarray(indices, np.int64)
        if inputs is None:
            inputs = self.inputs[indices] if isinstance(self.inputs, np.ndarray) else self.inputs.subset(indices)
        return dataclasses.replace(
            self,
            targets=self.targets[indices],
            inputs=inputs,
            weights=None if self.weights is None else self.weights[indices],
            groups=None if self.groups is None else self.groups[indices],
            paths=None if self.paths is None else tuple(self.paths[index] for index in indices),
            keys=None if self.keys is None else tuple(self.keys[index] for index in indices),
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """One data set in its parts, which share no example.

    Attributes:
        train: Examples to fit on.
        validation: Examples to choose by (the best epoch, the best search trial), or None.
        test: Examples to report on, touched by no choice, or None.
        quarantined: tuple of Quarantined, the files of the source that stand in no part, each with the reason.
    """

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    quarantined: tuple[Quarantined, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The name of each class in the order of the class numbers; for "regression" of each number."""
        return self.train.labels

    @property
    def task(self) -> Task:
        """What is to be learnt: "single_label", "multi_label" or "regression"."""
        return self.train.task

    @property
    def parts(self) -> dict[str, Examples]:
        """The parts that exist, by name, in the order train, validation, test."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def sizes(self) -> dict[str, int]:
        """How many examples each part has, by name."""
        return {name: len(part) for name, part in self.parts.items()}


def check_targets(targets: np.ndarray, labels: Sequence[str], task: str) -> None:
    """Refuses targets that do not fit `labels` and `task`, as `Examples` says of them.

    Raises:
        InputError: an unknown task, no labels, the wrong shape or type, or a value out of range.
    """
    if task not in TASKS:
        raise InputError(unknown("task", task, TASKS))
    shape = (len(targets),) if task == "single_label" else (len(targets), len(labels))
    if targets.shape != shape or targets.dtype.kind not in ("iu" if task == "single_label" else "f"):
        kind = "whole numbers" if task == "single_label" else "float numbers"
        raise InputError(
            f"`targets` must be {kind} of shape {shape} for task {task!r} and {len(labels)} labels. "
            f"Received: {targets.dtype} of shape {targets.shape}."
        )
    if task == "single_label" and len(targets) and (targets.min() < 0 or targets.max() >= len(labels)):
        raise InputError(
            f"`targets` must lie in [0, {len(labels)}), one number for each of the {len(labels)} labels. "
            f"Received: {targets.min()} to {targets.max()}."
        )
    if task == "multi_label" and not np.isin(targets, (0, 1)).all():
        raise InputError("`targets` of task 'multi_label' must be 0 or 1. Received: other numbers.")
    if task == "regression" and not np.isfinite(targets).all():
        bad = int(np.flatnonzero(~np.isfinite(targets).all(axis=1))[0])
        raise InputError(f"`targets` of task 'regression' must be finite. Received: {targets[bad]} at index {bad}.")


def quantile_bins(numbers: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` bins of equally many each of `numbers` lies in: int64 array (n,), equal numbers together."""
    return np.searchsorted(np.quantile(numbers, np.arange(1, count) / count), numbers, side="right")


def _check_lengths(examples: Examples) -> None:
    for name in ("inputs", "weights", "groups", "paths", "keys"):
        values = getattr(examples, name)
        if values is not None and len(values) != len(examples.targets):
            raise InputError(
                f"`{name}` must hold one value for each target. Received: {len(values)} for {len(examples.targets)}."
            )
