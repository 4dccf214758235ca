"""How well the scores of all classes rank their examples: areas, curves, and the areas in resamples.

Takes which examples have which class, and their scores. Looks at one class after the other, so that only a few points and numbers
of each stay in memory. Must not import TensorFlow.
"""

from collections.abc import Sequence

import numpy as np

from kerastrain.evaluation import counting, curves, resampling

AREAS = ("average_precision", "roc_auc")
_MOST_POOLED = 5_000_000  # decisions, above which there are no curves of all of them together


class Ranked:
    """The rankings of all classes.

    Args:
        positive: bool (n, classes), whether each example has each class.
        scores: float (n, classes).
        labels: sequence of str (classes,).
        is_ranked: bool; False ranks nothing, and leaves all undefined.

    Attributes:
        average_precision: list of float or None, of each class.
        roc_auc: list of float or None, of each class.
        micro: dict from each of `AREAS` to that of all decisions together, None if undefined or not computed.
        curves: dict, as from `curves.Curves`; None if nothing is ranked.
        rounds: int, the number of resamples for `resampled`; 0 if there are too many scores, or none is defined.
    """

    def __init__(self, positive: np.ndarray, scores: np.ndarray, labels: Sequence[str], *, is_ranked: bool = True):
        self._resampled = []
        if not is_ranked:
            self.average_precision = self.roc_auc = [None] * len(labels)
            self.micro, self.curves, self.rounds = dict.fromkeys(AREAS), None, 0
            return
        self.average_precision, self.roc_auc = [], []
        rounds, drawn = resampling.rounds(scores.size), curves.Curves(len(labels))
        for label, has_class, column in zip(labels, positive.T, scores.T, strict=True):
            ranking = curves.ranking(has_class, column)
            drawn.add(label, ranking)
            self.average_precision.append(ranking.average_precision)
            self.roc_auc.append(ranking.roc_auc)
            if rounds and ranking.is_defined:
                self._resampled.append(resampling.RankedResamples(ranking, has_class))
        pooled = curves.ranking(positive.ravel(), scores.ravel()) if scores.size <= _MOST_POOLED else None
        self.micro = {name: None if pooled is None else getattr(pooled, name) for name in AREAS}
        self.curves = drawn.result(pooled)
        self.rounds = rounds if self._resampled else 0

    def resampled(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """The average areas in resamples.

        Args:
            weights: float32 (n, r), how often each example is drawn.

        Returns:
            dict from "macro.roc_auc", "weighted.roc_auc" and the like to float (r,), NaN where undefined.
        """
        found = np.array([ranked.areas(weights) for ranked in self._resampled])  # (classes, 3, r)
        support = found[:, -1].T
        return {
            f"{average}.{name}": counting.averaged(found[:, index].T, weighing, skips_undefined=True)
            for index, name in enumerate(AREAS)
            for average, weighing in (("macro", (support > 0).astype(np.float64)), ("weighted", support))
        }
