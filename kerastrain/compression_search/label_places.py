"""Finds places for the labels of a plot that cover neither each other nor a point.

Takes and returns pixels. Must not import Matplotlib.
"""

from collections.abc import Sequence

import numpy as np

_GAP = 5  # pixels between a label and anything else
_DISTANCES = range(0, 400, 12)
_DIRECTIONS = ((1, 1), (-1, 1), (1, -1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))  # beside the interval first


def free_places(
    anchors: np.ndarray,
    sizes: Sequence[tuple[float, float]],
    points: np.ndarray,
    inside: tuple[float, float, float, float],
) -> list[tuple[float, float, bool]]:
    """Finds the nearest free place for each label, in their order.

    Args:
        anchors: float (labels, 2), the point of each label.
        sizes: sequence of (width, height) of each label.
        points: float (points, 2), which must not be covered.
        inside: (left, bottom, right, top), the area for the labels.

    Returns:
        list of (x, y, is_far): the offset of the label's center from its anchor, and whether it needs a line to it. A
        label for which no place is free lies at the first one.
    """
    taken = [(x - _GAP, y - _GAP, x + _GAP, y + _GAP) for x, y in points]
    places = []
    for (x, y), (width, height) in zip(anchors, sizes, strict=True):
        offsets = [
            (right * (width / 2 + _GAP + distance), up * (height / 2 + _GAP + distance), distance > 0)
            for distance in _DISTANCES
            for right, up in _DIRECTIONS
        ]

        def box(offset, x=x, y=y, width=width, height=height):
            center_x, center_y = x + offset[0], y + offset[1]
            return center_x - width / 2, center_y - height / 2, center_x + width / 2, center_y + height / 2

        free = (offset for offset in offsets if _is_within(box(offset), inside) and not _overlaps(box(offset), taken))
        place = next(free, offsets[0])
        taken.append(box(place))
        places.append(place)
    return places


def _is_within(box: tuple, area: tuple) -> bool:
    return box[0] >= area[0] and box[1] >= area[1] and box[2] <= area[2] and box[3] <= area[3]


def _overlaps(box: tuple, taken: Sequence[tuple]) -> bool:
    return any(box[0] < one[2] and one[0] < box[2] and box[1] < one[3] and one[1] < box[3] for one in taken)
