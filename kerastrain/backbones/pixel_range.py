"""Which pixel values a backbone expects: read from its graph, and measured by how much its features vary.

Takes a layer and images; returns a `PixelRange` that says how sure it is and why. A network that divides by 255 itself
returns nearly the same features for all images if it is fed [0, 1], and no head can learn from them. Must not know of
handles or labels.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from PIL import Image

from kerastrain.hub.graph_reading import Step

Range = tuple[float, float]

CANDIDATES: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
"""The ranges that published networks expect."""

# What networks feed to their first layer: the candidates, these with their middle at 0, and ImageNet's standardized RGB.
_CONVENTIONS = (*CANDIDATES, (-0.5, 0.5), (-127.5, 127.5), (-1.99, 2.44))
_TOLERANCE = 0.02  # of the width of a range; 256 for 255 is within it.
_DEAD = 1 / 20  # Features that vary this much less than under another range are nearly constant.
_SUSPICIOUS = 0.05  # A relative spread at which the other ranges are tried. Features of photos are at 0.3 to 1.
_CONSTANT = 1e-3
_PHOTOS = 8


@dataclasses.dataclass(frozen=True)
class PixelRange:
    """The pixel values that a backbone expects.

    Args:
        value_range: (low, high).
        certainty: "stated" by the user or the backbone's card, "certain", "likely", or "unknown" if it is a convention only.
        reason: str, the rest of a sentence about the backbone, such as "its graph divides by 255".
        spreads: dict from each candidate range to the relative spread of the features; empty where it was not measured.
    """

    value_range: Range
    certainty: Literal["stated", "certain", "likely", "unknown"]
    reason: str
    spreads: dict[Range, float] = dataclasses.field(default_factory=dict)


def find(
    steps: Sequence[Step],
    features: Callable[[np.ndarray], np.ndarray] | None,
    image_size: tuple[int, int],
    *,
    default: Range,
    measure: bool = False,
) -> PixelRange:
    """Finds out which pixel values a network expects.

    Args:
        steps: the arithmetic on its input, from `graph_reading.input_steps`.
        features: callable from float32 pixels (n, height, width, 3) in a range to features (n, …); None if it cannot run.
        image_size: (height, width) in pixels of the photos to try it on.
        default: (low, high), the range by convention where neither the graph nor the features decide.
        measure: bool, whether the features are computed even where the graph decides.

    Returns:
        PixelRange.
    """
    by_graph, is_exact = _range_of(steps)
    verb = f"its graph {_joined([step.name for step in steps])}" if steps else "its graph does not scale its input"
    if features is None or (by_graph is not None and is_exact and not measure):
        if by_graph is None:
            return PixelRange(default, "unknown", verb)
        return PixelRange(by_graph, "certain" if is_exact else "likely", verb)
    spreads, is_invariant = _spreads(features, sample_photos(image_size))
    best = max(spreads.values())
    alive = [candidate for candidate, spread in spreads.items() if spread > _DEAD * best]
    if is_invariant and by_graph is None:
        return PixelRange(default, "certain", "its features are the same under every range", spreads)
    if best < _CONSTANT:
        reason = f"{verb}, and its features hardly vary under any range"
        return PixelRange(by_graph or default, "unknown", reason, spreads)
    if by_graph in alive:
        reason = verb if len(alive) > 1 else f"{verb}, and {_comparison(by_graph, spreads)}"
        return PixelRange(by_graph, "certain" if is_exact or len(alive) == 1 else "likely", reason, spreads)
    if by_graph is not None:
        reason = f"{verb}, which suits {text(by_graph)}, but {_comparison(max(spreads, key=spreads.get), spreads)}"
        return PixelRange(max(spreads, key=spreads.get), "unknown", reason, spreads)
    if len(alive) == 1:
        return PixelRange(alive[0], "likely", _comparison(alive[0], spreads), spreads)
    choice = default if default in alive else max(alive, key=spreads.get)
    reason = f"{verb}, and its features vary under {_joined([text(candidate) for candidate in alive])}"
    return PixelRange(choice, "unknown", reason, spreads)


def hardly_vary(
    features: Callable[[np.ndarray], np.ndarray], images: np.ndarray, value_range: Range
) -> tuple[float, Range | None, float] | None:
    """Compares the features of images under the chosen range with the others, if they vary suspiciously little.

    Args:
        features: callable as for `find`.
        images: array (n, height, width, 3) in [0, 255] of at least two images that differ.
        value_range: (low, high), the chosen range.

    Returns:
        None if the features vary enough; else the relative spread, the range under which they vary much more, and how
        many times more. That range is None if there is none.
    """
    spread = _spread(features(_scaled(images, value_range)))
    if spread > _SUSPICIOUS:
        return None
    spreads = {other: _spread(features(_scaled(images, other))) for other in CANDIDATES if other != tuple(value_range)}
    best = max(spreads, key=spreads.get)
    if spread < _DEAD * spreads[best]:
        return spread, best, spreads[best] / max(spread, 1e-9)
    return (spread, None, 1.0) if spread < _CONSTANT else None


def text(value_range: Range) -> str:
    """A range in words.

    Args:
        value_range: (low, high).

    Returns:
        str.

    Example:
        >>> text((0.0, 255.0))
        '[0, 255]'
    """
    return f"[{value_range[0]:g}, {value_range[1]:g}]"


def rounded(times: float) -> str:
    """A ratio with two digits.

    Args:
        times: float > 0.

    Returns:
        str.

    Example:
        >>> rounded(437.2), rounded(3.14)
        ('440', '3.1')
    """
    return f"{float(f'{min(times, 1e6):.2g}'):,g}"


def sample_photos(image_size: tuple[int, int]) -> np.ndarray:
    """Cuts real pictures out of the two photos that scikit-learn ships, always the same ones.

    Args:
        image_size: (height, width) in pixels.

    Returns:
        uint8 array (8, height, width, 3).
    """
    from sklearn import datasets  # takes a second, and most backbones do not need it

    photos, random = datasets.load_sample_images().images, np.random.default_rng(0)
    crops = []
    for index in range(_PHOTOS):
        photo, side = photos[index % len(photos)], int(random.integers(100, 400))
        top, left = (int(random.integers(0, length - side)) for length in photo.shape[:2])
        crop = Image.fromarray(photo[top : top + side, left : left + side])
        crops.append(np.asarray(crop.resize(image_size[::-1], Image.Resampling.BILINEAR)))
    return np.stack(crops)


def _range_of(steps: Sequence[Step]) -> tuple[Range | None, bool]:
    """The candidate that the arithmetic turns into what first layers take, and whether there is no doubt about it."""
    exact = {candidate for candidate in CANDIDATES for step in steps if _is_conventional(step, candidate)}
    exact |= _clipped_to(steps)
    if len(exact) == 1:
        return exact.pop(), True
    if not steps:
        return None, False
    scores = {candidate: _oddness(steps[-1], candidate) for candidate in CANDIDATES}
    first, second = sorted(scores, key=scores.get)[:2]
    return (first, False) if scores[first] < 1 and scores[second] > scores[first] + 0.3 else (None, False)


def _ends(step: Step, candidate: Range) -> Range:
    low, high = sorted(step.scale * end + step.offset for end in candidate)
    return low, high


def _is_conventional(step: Step, candidate: Range) -> bool:
    low, high = _ends(step, candidate)
    width = high - low
    if _is_near((low, high), candidate):  # The step changes nothing that matters there.
        return False
    is_centred = abs(width - 255) < 5 and 0.35 < -low / width < 0.65  # a colour's mean was subtracted
    return is_centred or any(_is_near((low, high), convention) for convention in _CONVENTIONS)


def _is_near(ends: Range, others: Range) -> bool:
    return max(abs(end - other) for end, other in zip(ends, others, strict=True)) < _TOLERANCE * (others[1] - others[0])


def _clipped_to(steps: Sequence[Step]) -> set[Range]:
    lows = [(step, step.limits[0]) for step in steps if step.limits and step.limits[0] is not None]
    highs = [step.limits[1] for step in steps if step.limits and step.limits[1] is not None]
    if len(lows) != 1 or len(highs) != 1:
        return set()
    step, low = lows[0]
    return {candidate for candidate in CANDIDATES if _is_near(_ends(step, candidate), (low, highs[0]))}


def _oddness(step: Step, candidate: Range) -> float:
    """How unlike standardized photos the candidate becomes: width 4, and 0 in the middle."""
    low, high = _ends(step, candidate)
    width = max(high - low, 1e-12)
    return abs(np.log(width / 4)) / np.log(4) + 2 * abs(-low / width - 0.5)


def _spreads(features: Callable, images: np.ndarray) -> tuple[dict[Range, float], bool]:
    """The relative spread under each candidate, and whether the features are the same under all of them."""
    values = {candidate: features(_scaled(images, candidate)) for candidate in CANDIDATES}
    first, *others = values.values()
    size = np.abs(first).mean() + 1e-12
    is_invariant = all(np.abs(other - first).mean() < 0.02 * size for other in others)
    return {candidate: _spread(value) for candidate, value in values.items()}, is_invariant


def _spread(features: np.ndarray) -> float:
    """The standard deviation over the images, as a share of the root mean square of the features; 0 if they are not finite."""
    values = np.asarray(features, np.float64).reshape(len(features), -1)
    if not np.isfinite(values).all():
        return 0.0
    return float(np.sqrt(values.var(axis=0).mean() / (np.square(values).mean() + 1e-30)))


def _scaled(images: np.ndarray, value_range: Range) -> np.ndarray:
    low, high = value_range
    return np.asarray(images, np.float32) * np.float32((high - low) / 255) + np.float32(low)


def _comparison(best: Range, spreads: dict[Range, float]) -> str:
    second = max((candidate for candidate in spreads if candidate != best), key=spreads.get)
    times = spreads[best] / max(spreads[second], 1e-9)
    return f"its features vary {rounded(times)} times more under {text(best)} than under {text(second)}"


def _joined(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]]) if len(texts) > 1 else "".join(texts)
