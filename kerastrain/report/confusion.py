"""A confusion matrix as a page shows it: sorted, as a table of counts or, for many classes, as a picture.

Takes counts and names; returns rows or markup. Must not read files.
"""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

LARGEST_TABLE = 25
LARGEST_PICTURE = 120
_SORTED_FROM = 13  # fewer classes are found at once in the order of the data, such as that of digits
_CELL, _FONT, _NAMES, _LONGEST = 9, 8, 132, 26


def view(matrix: Sequence[Sequence[int]], labels: Sequence[str]) -> dict:
    """Prepares a confusion matrix.

    Args:
        matrix: sequence (classes, classes) of int >= 0, a row for each true class.
        labels: sequence of str (classes,).

    Returns:
        dict of "labels" (list of str, in the order shown), "rows" (for each a list of (count, share of the true class)) or
        None, "picture" (Markup) or None, "sorted" (bool, whether classes that are confused are next to each other),
        "left_out" (int, classes that are not shown because they have the fewest mistakes) and "mistakes" (list of (count,
        true label, predicted label, share of the true class), the most frequent first).
    """
    counts = np.asarray(matrix, "int64")
    shown = _most_confused(counts)
    is_sorted = len(shown) >= _SORTED_FROM
    if is_sorted:
        shown = shown[_neighbours(counts[np.ix_(shown, shown)])]
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    cut, cut_shares, names = counts[np.ix_(shown, shown)], shares[np.ix_(shown, shown)], [labels[i] for i in shown]
    as_table = len(counts) <= LARGEST_TABLE
    pairs = (zip(row.tolist(), of.tolist(), strict=True) for row, of in zip(cut, cut_shares, strict=True))
    return {
        "labels": names,
        "rows": [list(row) for row in pairs] if as_table else None,
        "picture": None if as_table else picture(cut, cut_shares, names),
        "sorted": is_sorted,
        "left_out": len(counts) - len(shown),
        "mistakes": mistakes(counts, labels),
    }


def mistakes(matrix: Sequence[Sequence[int]], labels: Sequence[str], most: int = 10) -> list[tuple]:
    """The most frequent pairs of a true and another, predicted class.

    Args:
        matrix: sequence (classes, classes) of int >= 0, a row for each true class.
        labels: sequence of str (classes,).
        most: int >= 0.

    Returns:
        list of (count, true label, predicted label, share of the true class), the most frequent first.
    """
    counts = np.asarray(matrix, "int64")
    supports, wrong = counts.sum(axis=1), counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [(int(place) // len(counts), int(place) % len(counts)) for place in order]
    return [
        (int(wrong[row, column]), labels[row], labels[column], wrong[row, column] / supports[row])
        for row, column in places
        if wrong[row, column]
    ]


def picture(counts: np.ndarray, shares: np.ndarray, labels: Sequence[str]) -> Markup:
    """Draws a confusion matrix with the names of the classes along its sides.

    Args:
        counts: int (classes, classes), a row for each true class.
        shares: float (classes, classes), `counts` as shares of the true class.
        labels: sequence of str (classes,).

    Returns:
        Markup, an SVG whose cells say their count when pointed at.
    """
    side = len(labels) * _CELL
    parts = []
    for number, label in enumerate(labels):
        place = _NAMES + (number + 0.5) * _CELL
        name, title = _short(label), Markup("<title>{}</title>").format(label)
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="end" dy=".33em">{}{}</text>').format(
                _NAMES - 4, place, name, title
            )
        )
        parts.append(
            Markup('<text transform="translate({} {}) rotate(-90)" dy=".33em">{}{}</text>').format(
                place, _NAMES - 4, name, title
            )
        )
    for line in range(0, len(labels) + 1, 5):
        at = _NAMES + line * _CELL
        parts.append(Markup('<path d="M{0} {1}V{2}M{1} {0}H{2}" class="grid"/>').format(at, _NAMES, _NAMES + side))
    for row, column in np.argwhere(counts):
        share = shares[row, column]
        parts.append(
            Markup(
                '<rect x="{}" y="{}" width="{}" height="{}" class="{}" opacity="{:.2f}"><title>{}</title></rect>'
            ).format(
                *(_NAMES + column * _CELL + 0.5, _NAMES + row * _CELL + 0.5, _CELL - 1, _CELL - 1),
                "f-c0" if row == column else "f-bad",
                0.2 + 0.8 * share,
                f"{labels[row]} predicted as {labels[column]}: {counts[row, column]} ({share:.0%})",
            )
        )
    return Markup(
        '<svg class="chart matrix" style="width:{0}px;max-width:none;font-size:{1}px" viewBox="0 0 {0} {0}" role="img" '
        'aria-label="Confusion matrix">{2}</svg>'
    ).format(_NAMES + side, _FONT, Markup("").join(parts))


def _most_confused(counts: np.ndarray) -> np.ndarray:
    """The numbers of the classes with the most mistakes, in the order of the data."""
    if len(counts) <= LARGEST_PICTURE:
        return np.arange(len(counts))
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")
    return np.sort(order[:LARGEST_PICTURE])


def _neighbours(counts: np.ndarray) -> np.ndarray:
    """An order in which classes that are confused with each other are close."""
    from scipy.cluster import hierarchy  # not needed for few classes
    from scipy.spatial.distance import squareform

    wrong = (counts + counts.T).astype("float64")
    np.fill_diagonal(wrong, 0)
    if not wrong.any():
        return np.arange(len(counts))
    distances = 1 / (1 + wrong)
    np.fill_diagonal(distances, 0)
    tree = hierarchy.linkage(squareform(distances, checks=False), "average", optimal_ordering=True)
    return hierarchy.leaves_list(tree)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"
