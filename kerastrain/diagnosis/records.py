"""What a diagnosis reads, and what it returns.

Arrays and plain values in, frozen records. Must not import TensorFlow.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from kerastrain.tasks import Task

HELD_OUT = ("validation", "test")
"""The parts of a run that it does not train on."""


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """What a model predicted for a part of the data, or for a sample of it.

    Args:
        targets: int64 (n,) for "single_label", else float (n, outputs).
        outputs: float (n, outputs), logits of a classifier, or predicted numbers.
        size: int >= n, the number of examples of the whole part; None for n.
        shared: int >= 0, how many examples of the whole part are training examples too, byte for byte.
        features: float (m, d), features of a sample of the part by the model's backbone; None if there are none.
        properties: mapping from the name of a property of an input, such as "brightness", to float (m,) of the same sample.
        sample_targets: like `targets`, those of the sample.
    """

    targets: np.ndarray
    outputs: np.ndarray
    size: int | None = None
    shared: int = 0
    features: np.ndarray | None = None
    properties: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    sample_targets: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.targets)

    @property
    def count(self) -> int:
        """The number of examples of the whole part."""
        return len(self) if self.size is None else self.size


@dataclasses.dataclass(frozen=True, eq=False)
class Record:
    """A finished run, as far as a diagnosis needs it.

    Args:
        task: "single_label", "multi_label" or "regression".
        labels: sequence of str, the names of the outputs.
        parts: mapping from "train", "validation", "test" or the name of another data set to Part. What is missing is not
            checked.
        history: sequence of mappings, the rows of `history.csv` in their order: "phase" (str) and numbers.
        class_counts: int (outputs,), the training examples of each class; None for "regression".
        settings: mapping from the keys of the run's config, such as "fit.epochs", to their values; empty if they are unknown.
        steps_per_epoch: int > 0, optimizer steps of an epoch; None if unknown.
        left_out: int >= 0, training examples that were left out because they are copies of held-out ones, byte for byte.
    """

    task: Task
    labels: Sequence[str]
    parts: Mapping[str, Part]
    history: Sequence[Mapping[str, object]] = ()
    class_counts: np.ndarray | None = None
    settings: Mapping[str, object] = dataclasses.field(default_factory=dict)
    steps_per_epoch: int | None = None
    left_out: int = 0


@dataclasses.dataclass(frozen=True)
class Change:
    """A setting to try next.

    Args:
        key: str, a key of the config, such as "fit.epochs".
        value: its new value, as `kerastrain train` takes it.
        why: str, a few words.
    """

    key: str
    value: object
    why: str


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run.

    Args:
        kind: str, a key of `verdict.KINDS`, such as "overfitting".
        sentence: str, plain English, with the most important numbers.
        evidence: mapping of str to numbers.
        confidence: float in [0, 1], the probability that what was measured exceeds the limit of its rule, by the sampling
            error of the examples; 1 for what is counted.
        part: str, the part or data set that it concerns.
        changes: tuple of Change, most promising first.
    """

    kind: str
    sentence: str
    evidence: Mapping[str, object]
    confidence: float
    part: str = "train"
    changes: tuple[Change, ...] = ()


def named(part: str) -> str:
    """A part in a sentence, such as "the test part", or "'field'" for other data.

    Args:
        part: str, the name of a part or data set.

    Returns:
        str.
    """
    return f"the {'training' if part == 'train' else part} part" if part in ("train", *HELD_OUT) else repr(part)


def opening(part: str) -> str:
    """`named` at the start of a sentence.

    Args:
        part: str, the name of a part or data set.

    Returns:
        str.
    """
    name = named(part)
    return name[0].upper() + name[1:]
