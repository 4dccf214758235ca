"""Distributes units over parts so that each part gets its share of every class.

Takes counts, returns a part number for each unit. It is for what cannot be split class by class: examples with several
labels, and groups of examples that must stay together. Must not know examples or files.
"""

from collections.abc import Sequence

import numpy as np


def balanced(counts: np.ndarray, shares: Sequence[float], ranks: np.ndarray) -> np.ndarray:
    """Assigns units to parts greedily so that each part comes close to its share of every class and of the whole.

    Units are assigned in descending order of the sum over classes of count² / total, so that large units and rare
    classes come first, while every part has room. Each unit goes to the part where it increases least, or decreases
    most,

        sum over parts p and classes k of (held[p, k] - share[p] · total[k])² / (share[p] · total[k])

    A part that would stay empty because every class is rare gets the unit that costs least.

    Args:
        counts: float array (n, classes) >= 0, how much of each class is in each unit: a row of 0 and 1 for an example
            with several labels, the class counts of its examples for a group. A column with the number of examples in
            each unit balances the sizes of the parts.
        shares: p floats > 0 that sum to 1, the share of each part.
        ranks: int array (n,), a permutation that breaks ties.

    Returns:
        int64 array (n,) in [0, p).

    Example:
        >>> balanced(np.array([[3, 0, 3], [0, 3, 3], [1, 0, 1], [0, 1, 1]]), [0.75, 0.25], np.arange(4))
        array([0, 0, 1, 1])

    Reference: Sechidis et al. 2011, https://doi.org/10.1007/978-3-642-23808-6_10, for examples with several labels; it
        handles one class at a time.
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
    """Moves the unit that costs least to an empty part, from a part that has more than one."""
    movable = np.flatnonzero(np.bincount(chosen, minlength=len(wanted))[chosen] > 1)
    if len(movable):
        moved, donor = counts[movable], chosen[movable]
        costs = moved * (moved - 2 * wanted[part]) / wanted[part]
        costs += moved * (moved - 2 * (held - wanted)[donor]) / wanted[donor]
        index = movable[costs.sum(axis=1).argmin()]
        held[chosen[index]] -= counts[index]
        held[part] += counts[index]
        chosen[index] = part
