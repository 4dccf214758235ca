"""Ranks backbones by the outputs of their linear probes for the same held-out examples.

Takes outputs and targets; returns records. Must not load backbones or run a network.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kerastrain import evaluation
from kerastrain.data.examples import Examples
from kerastrain.evaluation import intervals


@dataclass(frozen=True, eq=False)
class BackboneProbe:
    """What a linear probe found out about a backbone.

    Args:
        handle: str, as in `model.backbone`.
        outputs: float array (n, labels), for the held-out examples logits, or numbers for "regression"; None if the
            backbone cannot be used.
        example_seconds: float > 0, the time of an example in the backbone; None if `outputs` is.
        parameters: int, the backbone's; None if `outputs` is.
        image_size: (height, width) in pixels; None for texts.
        reason: str, why it cannot be used; "" if it can.
    """

    handle: str
    outputs: np.ndarray | None = None
    example_seconds: float | None = None
    parameters: int | None = None
    image_size: tuple[int, int] | None = None
    reason: str = ""


@dataclass(frozen=True)
class RankedBackbone:
    """A backbone in a ranking.

    Args:
        probe: BackboneProbe.
        value: float, its score on the held-out examples, see `evaluation.score`.
        low: float, the lower limit of the score's 95 % confidence interval.
        high: float, the upper limit.
        behind_best: (float, float), the 95 % confidence interval of the best backbone's score minus this one's on the same
            resamples of the examples; (0, 0) for the best.
    """

    probe: BackboneProbe
    value: float
    low: float
    high: float
    behind_best: tuple[float, float]

    @property
    def within_noise(self) -> bool:
        """Whether the held-out examples are too few to tell it from the best."""
        return self.behind_best[0] <= 0


@dataclass(frozen=True)
class BackboneRanking:
    """Backbones by the score of their probes.

    Args:
        measure: str, the name of the score, such as "accuracy".
        baseline: float, the score of always giving the most frequent answer of the training examples.
        counts: (int, int), the training examples that the probes were fitted to, and the held-out ones.
        ranked: tuple of RankedBackbone, best first.
        unusable: tuple of BackboneProbe, those without outputs.
    """

    measure: str
    baseline: float
    counts: tuple[int, int]
    ranked: tuple[RankedBackbone, ...]
    unusable: tuple[BackboneProbe, ...] = ()

    @property
    def recommended(self) -> RankedBackbone | None:
        """The fastest of those that cannot be told from the best; None if no backbone could be used."""
        alike = [backbone for backbone in self.ranked if backbone.within_noise]
        return min(alike, key=lambda backbone: backbone.probe.example_seconds, default=None)


def rank_backbones(probes: Sequence[BackboneProbe], train: Examples, held_out: Examples) -> BackboneRanking:
    """Ranks backbones by their score on the held-out examples, with bootstrap intervals of scores and of differences.

    Args:
        probes: sequence of BackboneProbe of the same held-out examples.
        train: Examples that the probes were fitted to, for the baseline.
        held_out: Examples of the probes' outputs.

    Returns:
        BackboneRanking.
    """
    usable = [probe for probe in probes if probe.outputs is not None]
    usable.sort(key=lambda probe: -evaluation.score(probe.outputs, held_out.targets, held_out.task))
    constant = np.broadcast_to(_most_frequent(train), (len(held_out), len(held_out.labels)))
    return BackboneRanking(
        evaluation.MEASURES[held_out.task],
        evaluation.score(constant, held_out.targets, held_out.task),
        (len(train), len(held_out)),
        tuple(_ranked(probe, usable[0], held_out) for probe in usable),
        tuple(probe for probe in probes if probe.outputs is None),
    )


def _ranked(probe: BackboneProbe, best: BackboneProbe, held_out: Examples) -> RankedBackbone:
    def score(outputs: np.ndarray, rows: np.ndarray | slice = slice(None)) -> float:
        return evaluation.score(outputs[rows], held_out.targets[rows], held_out.task)

    count = len(held_out)
    low, high = intervals.bootstrap(lambda rows: score(probe.outputs, rows), count)
    behind = intervals.bootstrap(lambda rows: score(best.outputs, rows) - score(probe.outputs, rows), count)
    return RankedBackbone(probe, score(probe.outputs), low, high, behind)


def _most_frequent(train: Examples) -> np.ndarray:
    """Returns the outputs of the model that gives every example the same answer."""
    if train.task == "single_label":
        return train.class_counts.astype(float)
    return train.targets.mean(axis=0) - (0.5 if train.task == "multi_label" else 0.0)
