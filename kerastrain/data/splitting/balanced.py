"""Things that hold several kinds at once, shared out so that every part gets its share of each kind.

Takes counts, gives the number of a part for each thing. It is what division needs where a class cannot simply be cut at
a place: examples with many labels, and groups that must not be parted. Must not know of examples or files.
"""

from collections.abc import Sequence

import numpy as np


def balanced(counts: np.ndarray, shares: Sequence[float], ranks: np.ndarray) -> np.ndarray:
    """The part of each thing, chosen greedily so that each part comes near its share of every kind and of the whole.

    The things that weigh most, by the sum over kinds of count² / total, choose first, while every part has room; rare
    kinds weigh more than common ones. Each goes where it raises least, or lowers most,

        sum over parts p and kinds k of (held[p, k] - share[p] · total[k])² / (share[p] · total[k])

    A part that would get nothing, because every kind is rare, gets the thing that costs least.

    Args:
        counts: float array (n, kinds) >= 0, how much each thing holds of each kind: a row of 0 and 1 for an example
            with many labels, the class counts of its examples for a group; and best a column of how many examples it is.
        shares: p floats > 0 that sum to 1, the share of each part.
        ranks: int array (n,), a permutation that decides where things are equal.

    Returns:
        int64 array (n,) in [0, p).

    Example:
        >>> balanced(np.array([[3, 0, 3], [0, 3, 3], [1, 0, 1], [0, 1, 1]]), [0.75, 0.25], np.arange(4))
        array([0, 0, 1, 1])

    Reference: Sechidis et al. 2011, https://doi.org/10.1007/978-3-642-23808-6_10, for examples with many labels, there
        one kind at a time.
    """
    counts = counts[:, counts.sum(axis=0) > 0].astype(np.float64)
    totals = counts.sum(axis=0)
    wanted = np.outer(shares, totals)
    held = np.zeros_like(wanted)
    chosen = np.zeros(len(counts), np.int64)
    for index in np.lexsort((ranks, -(counts**2 / totals).sum(axis=1))):
        costs = counts[index] * (2 * (held - wanted) + counts[index]) / wanted
        chosen[index] = costs.sum(axis=1).argmin()
        held[chosen[index]] += counts[index]
    for part in range(len(wanted)):
        if part not in chosen:
            _fill(part, chosen, counts, held, wanted)
    return chosen


def _fill(part: int, chosen: np.ndarray, counts: np.ndarray, held: np.ndarray, wanted: np.ndarray) -> None:
    """Moves to an empty part the thing that costs least there, from a part that keeps another."""
    free = np.flatnonzero(np.bincount(chosen, minlength=len(wanted))[chosen] > 1)
    if len(free):
        moved, giver = counts[free], chosen[free]
        costs = moved * (moved - 2 * wanted[part]) / wanted[part]
        costs += moved * (moved - 2 * (held - wanted)[giver]) / wanted[giver]
        index = free[costs.sum(axis=1).argmin()]
        held[chosen[index]] -= counts[index]
        held[part] += counts[index]
        chosen[index] = part
