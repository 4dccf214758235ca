"""The two records that hold a data set: `Examples`, which allow random access, and `Split`, its three parts.

Takes arrays or stores, returns arrays. Must not know where examples come from (`sources`) or how they are batched
(`pipeline`).
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from kerastrain.data.image_files.quarantine import Quarantined
from kerastrain.data.image_files.stores import Store
from kerastrain.data.views import Views
from kerastrain.decoding import Decoding
from kerastrain.errors import InputError, unknown
from kerastrain.tasks import TASKS, Task


@dataclasses.dataclass(frozen=True, eq=False)
class Examples:
    """Inputs with their targets, readable in any order.

    Attributes:
        targets: the true answers, by `task`: int64 (n,) in [0, len(labels)), the class of each example, for
            "single_label"; float32 (n, len(labels)) of 0 and 1 for "multi_label"; float32 (n, len(labels)), finite,
            for "regression".
        labels: tuple of str, the class names in the order of the class numbers, including classes that have no example
            here; for "regression" the names of the predicted numbers.
        inputs: array (n, ...) of all inputs, decoded: uint8 (n, height, width, 3) for images, float32 (n, d) for
            features, object (n,) of str for texts; or a `Store`, which reads them on demand.
        task: "single_label", "multi_label" (any number of labels per example) or "regression".
        weights: float32 (n,), finite and >= 0, the weight of each example in the loss; None for 1 each.
        groups: array (n,) of str; all examples of a group (one patient, one film) stay in the same part; None if there
            are no groups.
        paths: tuple of n str, the file of each example; None if the examples do not come from files.
        keys: tuple of n str that identify the examples wherever the data is stored, such as paths relative to their
            folder; None identifies examples by their index. Examples are split by their keys.
        decoding: Decoding of the images that were read, with the pixel range that was found; None if they are not read
            yet, or not images.
        positive_weights: tuple of float >= 0, for "multi_label" the weight in the loss of the examples that have a label,
            one for each label; None for 1 each.
        numbers: float32 (n, k), numbers that are inputs beside each image or text, NaN where one is missing; None if the
            inputs are all that a model gets.
        number_names: tuple of k str, the names of the numbers.
        slices: mapping from names such as "camera" to object arrays (n,) of str, by whose values measures are divided.

    Raises:
        InputError: the lengths differ, or a target, weight or number is invalid.
    """

    targets: np.ndarray
    labels: tuple[str, ...]
    inputs: np.ndarray | Store
    task: Task = "single_label"
    weights: np.ndarray | None = None
    groups: np.ndarray | None = None
    paths: tuple[str, ...] | None = None
    keys: tuple[str, ...] | None = None
    decoding: Decoding | None = None
    positive_weights: tuple[float, ...] | None = None
    numbers: np.ndarray | None = None
    number_names: tuple[str, ...] = ()
    slices: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        _check_lengths(self)
        check_targets(self.targets, self.labels, self.task)
        if self.weights is not None and not (np.isfinite(self.weights).all() and (self.weights >= 0).all()):
            raise InputError("`weights` must be finite and >= 0. Received: NaN, infinite or negative weights.")
        if self.positive_weights is not None:
            check_positive_weights(self.positive_weights, self.labels, self.task)
        shape = (len(self.targets), len(self.number_names))
        if (self.numbers is not None or shape[1]) and (
            np.shape(self.numbers) != shape or self.numbers.dtype != np.float32 or np.isinf(self.numbers).any()
        ):
            raise InputError(
                f"`numbers` must be float32 of shape {shape}, one column for each of `number_names`, and not infinite. "
                f"Received: {getattr(self.numbers, 'dtype', None)} of shape {np.shape(self.numbers)}."
            )

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
        """(height, width) in pixels, or None if the inputs are not images."""
        return self.shape[:2] if len(self.shape) == 3 else None

    @property
    def class_counts(self) -> np.ndarray | None:
        """int64 array (len(labels),), the number of examples of each class; None for "regression"."""
        if self.task == "single_label":
            return np.bincount(self.targets, minlength=len(self.labels))
        return self.targets.sum(axis=0, dtype=np.float64).astype(np.int64) if self.task == "multi_label" else None

    @property
    def strata(self) -> np.ndarray:
        """int64 array (n,), the stratum of each example: its class, its set of labels, or the decile of its number.

        For "regression" only the first number counts.
        """
        if self.task == "single_label":
            return self.targets
        if self.task == "multi_label":
            return np.unique(self.targets, axis=0, return_inverse=True)[1].reshape(-1)
        return quantile_bins(self.targets[:, 0], 10)

    def image(self, index: int) -> np.ndarray:
        """Returns one image.

        Args:
            index: int in [0, n).

        Returns:
            uint8 array (height, width, 3) in [0, 255].
        """
        return self.read(np.array([index]))[0]

    def read(self, indices: np.ndarray, epoch: int = 0) -> np.ndarray:
        """Reads and stacks inputs.

        Args:
            indices: int array (m,), values in [0, n).
            epoch: int >= 0, which counts where the inputs are `Views`.

        Returns:
            array (m, *shape) of type `dtype`, in the order of `indices`.
        """
        inputs = self.inputs.of_epoch(epoch) if isinstance(self.inputs, Views) else self.inputs
        return inputs[np.asarray(indices, np.int64)]

    def model_inputs(self, indices: np.ndarray) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
        """Reads what a model takes.

        Args:
            indices: int array (m,), values in [0, n).

        Returns:
            the array of `read`; with `numbers`, a tuple of it and float32 (m, k).
        """
        inputs = self.read(indices)
        return inputs if self.numbers is None else (inputs, self.numbers[np.asarray(indices, np.int64)])

    def number_bytes(self, index: int) -> bytes:
        """The numbers of an example in a form that can be compared, also where they are missing.

        Args:
            index: int in [0, n).

        Returns:
            bytes; empty without `numbers`.
        """
        return b"" if self.numbers is None else self.numbers[index].tobytes()

    def without_numbers(self) -> "Examples":
        """The same examples without their numbers, such as for a backbone, which takes images or texts only."""
        return self if self.numbers is None else dataclasses.replace(self, numbers=None, number_names=())

    def subset(self, indices: np.ndarray, *, inputs: np.ndarray | Store | None = None) -> "Examples":
        """Selects examples.

        Args:
            indices: int array (m,), values in [0, n).
            inputs: array (m, ...) or `Store` of m inputs to use in place of their own; None selects from their own,
                which copies arrays and does not read stores.

        Returns:
            Examples, m of them, in the order of `indices`.
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
            numbers=None if self.numbers is None else self.numbers[indices],
            paths=None if self.paths is None else tuple(self.paths[index] for index in indices),
            keys=None if self.keys is None else tuple(self.keys[index] for index in indices),
            slices={name: values[indices] for name, values in self.slices.items()},
        )


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """A data set in disjoint parts.

    Attributes:
        train: Examples to fit on.
        validation: Examples for choices such as the best epoch or the best search trial, or None.
        test: Examples for the final report, used for no choice, or None.
        quarantined: tuple of Quarantined, the files of the source that are in no part, each with the reason.
    """

    train: Examples
    validation: Examples | None = None
    test: Examples | None = None
    quarantined: tuple[Quarantined, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """The class names in the order of the class numbers; for "regression" the names of the predicted numbers."""
        return self.train.labels

    @property
    def task(self) -> Task:
        """The task: "single_label", "multi_label" or "regression"."""
        return self.train.task

    @property
    def parts(self) -> dict[str, Examples]:
        """The parts that exist, by name, in the order train, validation, test."""
        parts = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def sizes(self) -> dict[str, int]:
        """The number of examples in each part, by name."""
        return {name: len(part) for name, part in self.parts.items()}


def check_targets(targets: np.ndarray, labels: Sequence[str], task: str) -> None:
    """Checks targets against `labels` and `task`.

    Args:
        targets: array, as `Examples.targets`.
        labels: sequence of str, as `Examples.labels`.
        task: str, as `Examples.task`.

    Raises:
        InputError: the task is unknown, or the shape, the type or a value of `targets` does not fit.
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


def check_positive_weights(weights: Sequence[float], labels: Sequence[str], task: str) -> None:
    """Checks the weights of labels in the loss.

    Args:
        weights: sequence of float, as `Examples.positive_weights`.
        labels: sequence of str, as `Examples.labels`.
        task: str, as `Examples.task`.

    Raises:
        InputError: the task is not "multi_label", the lengths differ, or a weight is negative or not finite.
    """
    if task != "multi_label":
        raise InputError(f"`positive_weights` are for task 'multi_label'. Received: {task!r}.")
    if len(weights) != len(labels) or not all(np.isfinite(weight) and weight >= 0 for weight in weights):
        raise InputError(
            f"`positive_weights` must be {len(labels)} finite numbers >= 0, one for each label. Received: {weights!r}."
        )


def quantile_bins(numbers: np.ndarray, count: int) -> np.ndarray:
    """Assigns numbers to bins of about equal size; equal numbers get the same bin.

    Args:
        numbers: float array (n,).
        count: int >= 1, the number of bins.

    Returns:
        int64 array (n,) in [0, count), larger numbers in later bins.
    """
    return np.searchsorted(np.quantile(numbers, np.arange(1, count) / count), numbers, side="right")


def _check_lengths(examples: Examples) -> None:
    columns = {name: getattr(examples, name) for name in ("inputs", "weights", "groups", "paths", "keys", "numbers")}
    for name, values in (columns | dict(examples.slices)).items():
        if values is not None and len(values) != len(examples.targets):
            raise InputError(
                f"`{name}` must hold one value for each target. Received: {len(values)} for {len(examples.targets)}."
            )
