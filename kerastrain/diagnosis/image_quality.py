"""Pictures that are unlike the others of their set: blurred, dark, overexposed, nearly empty, of odd aspect, off topic.

Takes statistics, sizes and features; returns the indices with a score and a sentence. A picture is accused only if it is bad
in itself and also stands out from its set, so that a set of night photos or of white backgrounds accuses none.
"""

import numpy as np

from kerastrain.diagnosis.data_findings import Finding
from kerastrain.diagnosis.outliers import STANDS_OUT, above, below, neighbour_distances
from kerastrain.diagnosis.picture_statistics import PictureStatistics

_EMPTY_CONTRAST, _EMPTY_ENTROPY = 6.0, 1.0  # grey levels, bits
_DARK, _CLIPPED = 35.0, 0.5  # mean grey level; fraction of white pixels
_BLURRED_FACTOR = 10.0  # times less sharp than the median
_ASPECT_FACTOR = 1.8
_FAR_FACTOR, _USUAL_FRACTION = 2.0, 0.9
# The smallest spreads that are assumed of a set: of logarithms, of bits, of grey levels and of cosine distances.
_LEAST_LOG, _LEAST_ENTROPY, _LEAST_GREY, _LEAST_DISTANCE = 0.1, 0.1, 2.0, 0.002
_FEWEST = 30  # pictures to compare with


def image_quality(
    statistics: PictureStatistics, sizes: np.ndarray | None = None, features: np.ndarray | None = None
) -> list[Finding]:
    """Finds pictures that are bad and stand out from their set.

    | kind | in itself | in its set |
    |---|---|---|
    | empty | contrast below 6 grey levels, or entropy below 1 bit | contrast or entropy stands out |
    | dark | mean grey level below 35 of 255 | stands out |
    | overexposed | more than half of the pixels nearly white | that fraction and the brightness stand out |
    | blurred | | variance of the Laplacian below a tenth of the median, and stands out on a logarithmic scale |
    | odd_aspect | | width / height 1.8 times the median or less than 1 / 1.8, and stands out |
    | off_topic | | the mean cosine distance of its features to the 20 nearest others stands out, and is twice that of 9 in 10 |

    Sets of fewer than 30 pictures are too small to compare with, and give no findings.

    Args:
        statistics: PictureStatistics of n pictures.
        sizes: int (n, 2), width and height of the pictures before they were resized; None if unknown.
        features: float (n, d) of a pretrained network; None if there are none.

    Returns:
        list of Finding; the kinds in this order, the worst first.
    """
    if len(statistics) < _FEWEST:
        return []
    found = {
        kind: judge(statistics)
        for kind, judge in (("empty", _empty), ("dark", _dark), ("overexposed", _overexposed), ("blurred", _blurred))
    }
    empty = {finding.index for finding in found["empty"]}
    for kind in ("dark", "overexposed", "blurred"):  # An empty picture is all of them.
        found[kind] = [finding for finding in found[kind] if finding.index not in empty]
    found["odd_aspect"] = [] if sizes is None else _odd_aspect(sizes)
    found["off_topic"] = [] if features is None else _off_topic(features)
    return [finding for findings in found.values() for finding in findings]


def _sorted(kind: str, indices: np.ndarray, scores: np.ndarray, reason) -> list[Finding]:
    order = indices[np.argsort(-scores[indices], kind="stable")]
    return [Finding(int(index), kind, float(scores[index]), reason(index)) for index in order]


def _empty(statistics: PictureStatistics) -> list[Finding]:
    contrast, entropy = statistics.contrast, statistics.entropy
    scores = np.maximum(below(np.log1p(contrast), least_spread=_LEAST_LOG), below(entropy, least_spread=_LEAST_ENTROPY))
    is_empty = (contrast < _EMPTY_CONTRAST) | (entropy < _EMPTY_ENTROPY) & (contrast < 2 * _EMPTY_CONTRAST)
    reason = lambda index: (
        f"nearly empty: its grey levels vary by {contrast[index]:.1f} of 255, those of the median picture by "
        f"{np.median(contrast):.0f}"
    )
    return _sorted("empty", np.flatnonzero(is_empty & (scores > STANDS_OUT / 2)), scores, reason)


def _dark(statistics: PictureStatistics) -> list[Finding]:
    brightness = statistics.brightness
    scores = below(np.log1p(brightness), least_spread=_LEAST_LOG)
    reason = lambda index: (
        f"dark: its mean grey level is {brightness[index]:.0f} of 255, that of the median picture "
        f"{np.median(brightness):.0f}"
    )
    return _sorted("dark", np.flatnonzero((brightness < _DARK) & (scores > STANDS_OUT / 2)), scores, reason)


def _overexposed(statistics: PictureStatistics) -> list[Finding]:
    fraction = statistics.bright_fraction
    scores = above(statistics.brightness, least_spread=_LEAST_GREY)
    typical = np.median(fraction)
    is_over = (fraction > _CLIPPED) & (fraction > 3 * typical + 0.1) & (scores > STANDS_OUT / 2)
    reason = lambda index: (
        f"overexposed: {fraction[index]:.0%} of its pixels are nearly white, {typical:.0%} of the median picture's"
    )
    return _sorted("overexposed", np.flatnonzero(is_over), scores, reason)


def _blurred(statistics: PictureStatistics) -> list[Finding]:
    sharpness = statistics.sharpness
    typical = np.median(sharpness)
    scores = below(np.log(sharpness + 0.1), least_spread=_LEAST_LOG)
    reason = lambda index: (
        f"blurred: the variance of its Laplacian is {sharpness[index]:.3g}, that of the median picture {typical:.3g}"
    )
    is_blurred = (sharpness < typical / _BLURRED_FACTOR) & (scores > STANDS_OUT)
    return _sorted("blurred", np.flatnonzero(is_blurred), scores, reason)


def _odd_aspect(sizes: np.ndarray) -> list[Finding]:
    ratio = sizes[:, 0] / np.maximum(sizes[:, 1], 1)
    logs = np.log(ratio)
    typical = np.median(logs)
    distance = np.abs(logs - typical)
    spread = 1.4826 * np.median(distance)
    scores = distance / max(spread, 0.05)
    reason = lambda index: (
        f"odd aspect: {sizes[index, 0]} by {sizes[index, 1]} pixels, width / height {ratio[index]:.2f} where the median is "
        f"{np.exp(typical):.2f}"
    )
    return _sorted(
        "odd_aspect", np.flatnonzero((distance > np.log(_ASPECT_FACTOR)) & (scores > STANDS_OUT)), scores, reason
    )


def _off_topic(features: np.ndarray) -> list[Finding]:
    distances = neighbour_distances(features)
    scores = above(distances, least_spread=_LEAST_DISTANCE)
    typical = np.median(distances)
    reason = lambda index: (
        f"off topic: its distance to the nearest others by features is {distances[index]:.2f}, the median {typical:.2f}"
    )
    is_far = (scores > STANDS_OUT) & (distances > _FAR_FACTOR * np.quantile(distances, _USUAL_FRACTION))
    return _sorted("off_topic", np.flatnonzero(is_far), scores, reason)
