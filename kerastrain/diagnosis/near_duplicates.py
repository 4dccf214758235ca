"""Pictures that show the same in other bytes: another size, quality or format, mirrored or rotated.

Takes statistics of pictures, returns pairs; decides which of the copies of something stay. Must not open files.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy

from kerastrain.diagnosis.picture_statistics import PictureStatistics, perceptual_hashes

# The difference of two pictures is 1 - the correlation of their thumbs. On sign_digits, cats_dogs and scikit-learn's digits, the
# nearest two of different pictures are 0.025, 0.17 and 0.004 apart, and copies saved again at most 0.004, 0.001 and 0.003.
_SMALL, _LARGE = 0.003, 0.015
_FRACTION_OF_NEAREST = 0.1
_STRICTER_IF_TURNED = 0.5
_MOST_BITS = 12  # of 63 that may differ in the hashes of a pair
_LEAST_CONTRAST = 4.0  # grey levels; the thumbs of emptier pictures are noise
_ROWS, _PAIRS_AT_ONCE, _SAMPLE, _MOST_PAIRS_OF_ONE = 512, 20_000, 400, 20


@dataclass(frozen=True, eq=False)
class Pairs:
    """Pairs of near-duplicates.

    Args:
        first: int64 (m,), indices.
        second: int64 (m,), the indices of their copies, `first` < `second`.
        difference: float64 (m,) >= 0, how much the two differ; 0 for none.
        turned: bool (m,), whether one is mirrored or rotated.
    """

    first: np.ndarray
    second: np.ndarray
    difference: np.ndarray
    turned: np.ndarray

    def __len__(self) -> int:
        return len(self.first)


def near_duplicates(statistics: PictureStatistics) -> Pairs:
    """Finds pictures that show the same.

    A pair is proposed by the perceptual hash, in all eight mirrored and rotated positions, and confirmed by the correlation of
    the small pictures. How similar two pictures must be depends on how similar the pictures of this set are to their nearest
    neighbours. Nearly empty pictures are left out. Memory grows with the number of pictures, not with its square.

    Args:
        statistics: PictureStatistics of n pictures.

    Returns:
        Pairs, the most similar first; at most 20 for a picture.
    """
    used = (
        np.flatnonzero(statistics.thumbs.reshape(len(statistics), -1).std(axis=1) >= _LEAST_CONTRAST)
        if len(statistics)
        else []
    )
    if len(used) < 2:
        return _pairs([])
    frequencies, thumbs = statistics.frequencies[used], statistics.thumbs[used]
    limit = _limit(thumbs)
    signs = _signs(frequencies)
    found = {}
    for turn in itertools.product((False, True), repeat=3):
        turned = any(turn)
        allowed = limit * (_STRICTER_IF_TURNED if turned else 1)
        for first, second in _candidates(signs, _signs(_turned(frequencies, *turn, frequencies=True))):
            difference = 1 - (_standardized(thumbs[first]) * _standardized(_turned(thumbs[second], *turn))).sum(axis=1)
            for row in np.flatnonzero(difference <= allowed):
                pair = int(used[first[row]]), int(used[second[row]])
                value = (max(float(difference[row]), 0.0), turned)
                found[pair] = min(found.get(pair, value), value)
    return _pairs([(*pair, *value) for pair, value in found.items()])


def kept_of_copies(pairs: Pairs, order: Sequence[int] | np.ndarray) -> dict[int, int]:
    """Decides which copies could be left out, so that no pair is left.

    An example stays unless it is a copy of one that stays and comes before it. Copies of copies that differ from the one that
    stays are no copies of it.

    Args:
        pairs: Pairs.
        order: int (n,), a rank for each example; the lowest of a pair stays.

    Returns:
        dict from the index of each copy to the index of the example that it copies and that stays.
    """
    near = {}
    for row, (first, second) in enumerate(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)):
        near.setdefault(first, []).append((pairs.difference[row], second))
        near.setdefault(second, []).append((pairs.difference[row], first))
    copies = {}
    for index in sorted(near, key=lambda index: (order[index], index)):
        staying = [(difference, other) for difference, other in near[index] if _before(other, index, order)]
        staying = [(difference, other) for difference, other in staying if other not in copies]
        if staying:
            copies[index] = min(staying)[1]
    return copies


def clusters(count: int, pairs: Pairs, names: np.ndarray | None = None) -> np.ndarray:
    """Numbers the groups of examples that are joined by pairs or by a name.

    Args:
        count: int, the number of examples n.
        pairs: Pairs.
        names: array (n,), equal for examples that belong together; None if there are none.

    Returns:
        int array (n,), equal for the examples of a group.
    """
    first, second = pairs.first, pairs.second
    if names is not None:
        _, leaders, numbers = np.unique(names, return_index=True, return_inverse=True)
        first, second = np.concatenate([first, leaders[numbers]]), np.concatenate([second, np.arange(count)])
    graph = scipy.sparse.coo_matrix((np.ones(len(first)), (first, second)), (count, count))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1]


def _before(other: int, index: int, order) -> bool:
    return (order[other], other) < (order[index], index)


def _pairs(rows: list[tuple[int, int, float, bool]]) -> Pairs:
    rows.sort(key=lambda row: (row[2], row[:2]))
    count, kept = {}, []
    for row in rows:
        if max(count.get(row[0], 0), count.get(row[1], 0)) < _MOST_PAIRS_OF_ONE:
            count[row[0]], count[row[1]] = count.get(row[0], 0) + 1, count.get(row[1], 0) + 1
            kept.append(row)
    first, second, difference, turned = zip(*kept, strict=True) if kept else ((), (), (), ())
    return Pairs(
        np.array(first, np.int64), np.array(second, np.int64), np.array(difference, np.float64), np.array(turned, bool)
    )


def _signs(frequencies: np.ndarray) -> np.ndarray:
    """The bits of the hashes as -1 and 1, whose dot product is 63 - 2 times the number of different bits."""
    return perceptual_hashes(frequencies).astype(np.float32) * 2 - 1


def _candidates(signs: np.ndarray, others: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of rows (first < second) whose hashes are similar, in portions."""
    least = signs.shape[1] - 2 * _MOST_BITS
    for start in range(0, len(signs), _ROWS):
        first, second = np.nonzero(signs[start : start + _ROWS] @ others[start:].T >= least)
        later = second > first
        first, second = first[later] + start, second[later] + start
        for part in range(0, len(first), _PAIRS_AT_ONCE):
            yield first[part : part + _PAIRS_AT_ONCE], second[part : part + _PAIRS_AT_ONCE]


def _turned(pictures: np.ndarray, transposed: bool, upside_down: bool, mirrored: bool, *, frequencies: bool = False):
    """Pictures (n, height, width, …) mirrored or rotated; of frequencies, mirroring changes the sign of the odd ones."""
    if transposed:
        pictures = pictures.swapaxes(1, 2)
    if frequencies:
        alternate = (-1.0) ** np.arange(pictures.shape[1], dtype=np.float32)
        pictures = pictures * alternate[:, None] if upside_down else pictures
        return pictures * alternate if mirrored else pictures
    pictures = pictures[:, ::-1] if upside_down else pictures
    return pictures[:, :, ::-1] if mirrored else pictures


def _standardized(thumbs: np.ndarray) -> np.ndarray:
    """Rows without their mean and of unit length, so that the product of two is their correlation."""
    rows = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _limit(thumbs: np.ndarray) -> float:
    """The largest difference of two near-duplicates, by the differences of a sample from its nearest neighbours."""
    sample = np.unique(np.linspace(0, len(thumbs) - 1, _SAMPLE).astype(int))
    rows, nearest = _standardized(thumbs[sample]), np.full(len(sample), -1.0, np.float32)
    for start in range(0, len(thumbs), _ROWS):
        part = rows @ _standardized(thumbs[start : start + _ROWS]).T
        part[sample[:, None] == np.arange(start, start + part.shape[1])] = -1
        nearest = np.maximum(nearest, part.max(axis=1))
    return float(np.clip(_FRACTION_OF_NEAREST * np.median(1 - nearest), _SMALL, _LARGE))
