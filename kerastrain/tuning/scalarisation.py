"""One loss from several objectives, so that algorithms for one objective search a Pareto set.

Takes points with their results; returns a loss for each point. Must not choose points.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from kerastrain.tuning.search_state import Point
from kerastrain.tuning.settings import Objective

_SHARE_OF_SUM = 0.05  # of the augmented Chebyshev function in the paper


def losses(objectives: Sequence[Objective], points: Sequence[Point], *, seed: int, number: int) -> Mapping[int, float]:
    """The loss of each point for one proposal.

    One objective is the loss itself, with the sign with which lower is better. Several are scaled to [0, 1] over the points and
    combined by weights that are drawn for each proposal, uniformly from those that sum to 1:

        loss = max_i(weight_i * f_i) + 0.05 * sum_i(weight_i * f_i)

    Args:
        objectives: sequence of Objective.
        points: sequence of Point; those that lack an objective are left out.
        seed: int >= 0, the seed of the search.
        number: int >= 0, how many points were proposed before.

    Returns:
        mapping from the number of a point to its loss.

    Reference: Knowles 2006, ParEGO, https://doi.org/10.1109/TEVC.2005.851274, equations 1 and 2.
    """
    rated = [point for point in points if all(objective.name in point.result() for objective in objectives)]
    table = np.array(
        [[objective.loss(point.result()[objective.name]) for objective in objectives] for point in rated], dtype=float
    )
    if len(objectives) == 1 or not rated:
        return {point.number: float(row[0]) for point, row in zip(rated, table, strict=True)}
    low, span = table.min(axis=0), np.ptp(table, axis=0)
    scaled = (table - low) / np.where(span > 0, span, 1.0)
    weights = np.random.default_rng([seed, number, 1]).dirichlet(np.ones(len(objectives)))
    weighted = scaled * weights
    combined = weighted.max(axis=1) + _SHARE_OF_SUM * weighted.sum(axis=1)
    return {point.number: float(loss) for point, loss in zip(rated, combined, strict=True)}
