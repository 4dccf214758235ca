"""Images drawn by formulas, labelled by the formula and the parameters that drew them.

Takes a number of classes and a seed; returns grey images and labels. A class is one draw of a family's parameters. Its
instances differ by a jitter of these parameters and by a small affine placement, never by a mirror image or a large
rotation, so that features keep direction. pretrain.py adds colour during training. Must not import TensorFlow.

References: Kataoka et al. 2020, Pre-training without Natural Images, https://arxiv.org/abs/2101.08515 (fractals);
Kataoka et al. 2022, https://arxiv.org/abs/2206.09132 (contours).
"""

from typing import NamedTuple

import numpy as np

# Standard deviation of a parameter's jitter among the instances of a class, as a fraction of the parameter's scale.
JITTER = 0.1


class Drawings(NamedTuple):
    """Grey images with their labels.

    Attributes:
        images: uint8 (count, size, size), 0 for the background and 255 for the figure.
        labels: int32 (count,), in [0, number of families times classes per family).
    """

    images: np.ndarray
    labels: np.ndarray


def draw(classes_per_family: int, instances: int, size_pixels: int, seed: int) -> Drawings:
    """Draws the classes of all families in the order of their labels.

    Args:
        classes_per_family: int > 0, number of parameter sets of each family.
        instances: int > 0, images of each class.
        size_pixels: int > 0, height and width.
        seed: int; the same seed gives the same bytes.

    Returns:
        Drawings with len(FAMILIES) * classes_per_family * instances images.
    """
    images = []
    for number, family in enumerate(FAMILIES.values()):
        generator = np.random.default_rng([seed, number])
        for _ in range(classes_per_family):
            grey = family(instances, size_pixels, generator)
            images.append(np.rint(255 * np.clip(grey, 0, 1)).astype(np.uint8))
    labels = np.arange(len(images), dtype=np.int32).repeat(instances)
    return Drawings(np.concatenate(images), labels)


def fractal(instances: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """Attractor of two to four contracting affine maps, drawn by the chaos game.

        x <- A_i x + b_i,    i chosen with probability proportional to |det A_i|

    Returns:
        float (instances, size, size), roughly in [0, 1], as all families return.
    """
    maps = generator.integers(2, 5)
    turn, tilt = generator.uniform(-np.pi, np.pi, (2, maps))
    wide = generator.uniform(0.45, 0.85, maps)
    narrow = wide * generator.uniform(0.25, 1.0, maps)
    flip = generator.choice([-1.0, 1.0], maps)
    stretch = np.zeros((maps, 2, 2))
    stretch[:, 0, 0], stretch[:, 1, 1] = wide, narrow * flip
    matrices = _rotations(turn) @ stretch @ _rotations(tilt)
    offsets = generator.uniform(-1, 1, (maps, 2))
    matrices = matrices * generator.normal(1, JITTER / 3, (instances, maps, 2, 2))
    offsets = offsets + generator.normal(0, JITTER, (instances, maps, 2))
    probabilities = wide * narrow / np.sum(wide * narrow)

    walkers, settle, steps = 48, 12, 60
    points = np.zeros((instances, walkers, 2))
    rows = np.arange(instances)[:, None]
    visited = []
    for step in range(settle + steps):
        chosen = generator.choice(maps, (instances, walkers), p=probabilities)
        points = np.einsum("nwij,nwj->nwi", matrices[rows, chosen], points) + offsets[rows, chosen]
        if step >= settle:
            visited.append(points)
    visited = np.concatenate(visited, axis=1)
    visited = visited - visited.mean(axis=1, keepdims=True)
    visited = 0.45 * visited / (visited.std(axis=(1, 2), keepdims=True) + 1e-6)
    pixels = np.floor((_place(visited, generator) + 1) / 2 * size).astype(np.int64)
    inside = np.all((pixels >= 0) & (pixels < size), axis=-1)
    flat = (rows * size + pixels[..., 1]) * size + pixels[..., 0]
    hits = np.bincount(flat[inside], minlength=instances * size * size).reshape(instances, size, size)
    return 1 - np.exp(-0.8 * hits)


def curve(instances: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """A smooth open stroke: a cosine series in each coordinate, p(t) = sum_k c_k cos(pi k t), 0 <= t <= 1."""
    harmonics = np.arange(1, 6)
    series = generator.normal(size=(5, 2)) / harmonics[:, None]
    series = series + generator.normal(0, JITTER, (instances, 5, 2)) / harmonics[:, None]
    waves = np.cos(np.pi * np.linspace(0, 1, 96)[:, None] * harmonics)
    return _stroke(waves @ series, size, generator)


def polyline(instances: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """A stroke with corners: straight lines through three to six points."""
    corners = generator.integers(3, 7)
    nodes = generator.uniform(-1, 1, (corners, 2)) + generator.normal(0, JITTER, (instances, corners, 2))
    position = np.linspace(0, corners - 1, 96)
    hats = np.maximum(0, 1 - np.abs(position[:, None] - np.arange(corners)))
    return _stroke(hats @ nodes, size, generator)


def limbs(instances: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """A solid disc with two to six tapering limbs, each with its own direction and length."""
    count = generator.integers(2, 7)
    angles = generator.uniform(-np.pi, np.pi, count) + generator.normal(0, JITTER, (instances, count))
    lengths = generator.uniform(0.3, 1.1, count) * generator.normal(1, JITTER, (instances, count))
    widths = generator.uniform(0.09, 0.16, count)
    along = np.linspace(0, 1, 24)
    reach = 0.25 + along * lengths[..., None]
    direction = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    limb_points = (reach[..., None] * direction[:, :, None]).reshape(instances, -1, 2)
    limb_widths = (widths[:, None] * (1 - 0.3 * along)).ravel()
    points = np.concatenate([np.zeros((instances, 1, 2)), limb_points], axis=1)
    widths = np.concatenate([[generator.uniform(0.3, 0.45)], limb_widths])
    points = 0.9 * points - 0.9 * points.mean(axis=1, keepdims=True)
    mass = _splat(_place(points, generator), 0.7 * np.broadcast_to(widths, points.shape[:2]), size)
    return 1 / (1 + np.exp(-6 * (mass - 0.7)))


def contour(instances: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """A filled shape whose radius is a cosine series of the angle, shaded towards its middle."""
    harmonics = np.arange(1, 9)
    cosine, sine = generator.normal(size=(2, 8)) / (1 + harmonics**0.7)
    cosine, sine = (part + generator.normal(0, 0.3 * JITTER, (instances, 8)) for part in (cosine, sine))
    grid = _place(np.broadcast_to(_grid(size).reshape(1, -1, 2), (instances, size * size, 2)), generator)
    radius = np.hypot(grid[..., 0], grid[..., 1])
    angle = np.arctan2(grid[..., 1], grid[..., 0])
    wave = np.exp(1j * angle[..., None] * harmonics)
    rim = 0.55 * np.exp(0.4 * np.einsum("npk,nk->np", wave, cosine - 1j * sine).real)
    shade = 1 - generator.uniform(0, 0.7) * np.clip(radius / rim, 0, 1) ** 2
    inside = 1 / (1 + np.exp(-0.4 * size * (rim - radius)))
    return (inside * shade).reshape(instances, size, size)


def texture(instances: int, size: int, generator: np.random.Generator) -> np.ndarray:
    """A sum of two to five plane waves with random phases, passed through a soft or hard step."""
    waves = generator.integers(2, 6)
    direction = generator.uniform(-np.pi, np.pi, waves)
    cycles = np.exp(generator.uniform(np.log(1.5), np.log(8), waves))
    frequency = np.pi * cycles[:, None] * np.stack([np.cos(direction), np.sin(direction)], axis=-1)
    weight = generator.uniform(0.4, 1.0, waves)
    phase = generator.uniform(-np.pi, np.pi, (instances, 1, waves))
    grid = _place(np.broadcast_to(_grid(size).reshape(1, -1, 2), (instances, size * size, 2)), generator)
    height = np.cos(grid @ frequency.T + phase) @ weight
    step = np.exp(generator.uniform(0, np.log(8)))
    return (1 / (1 + np.exp(-step * (height + generator.normal(0, 0.3))))).reshape(instances, size, size)


FAMILIES = {
    "fractal": fractal,
    "curve": curve,
    "polyline": polyline,
    "limbs": limbs,
    "contour": contour,
    "texture": texture,
}


def _stroke(points: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    """Lines through points (instances, points, 2), centred and scaled to the image, each drawn with its own pen width."""
    low, high = points.min(axis=1, keepdims=True), points.max(axis=1, keepdims=True)
    points = 1.4 * (points - (low + high) / 2) / (high - low).max(axis=2, keepdims=True)
    pen = np.exp(generator.uniform(np.log(0.03), np.log(0.1), (len(points), 1)))
    mass = _splat(_place(points, generator), np.broadcast_to(pen, points.shape[:2]), size)
    return 1 - np.exp(-1.5 * mass)


def _splat(points: np.ndarray, widths: np.ndarray, size: int) -> np.ndarray:
    """Sum of Gaussians with standard deviations `widths` at `points` in [-1, 1]: float (instances, size, size)."""
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    spread = -0.5 / np.asarray(widths, np.float32)[..., None] ** 2
    across, down = (np.exp(spread * (axis - points[..., i, None].astype(np.float32)) ** 2) for i in (0, 1))
    return np.swapaxes(down, 1, 2) @ across


def _place(points: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rotates, stretches, shears and shifts each instance a little; points (instances, count, 2)."""
    instances = len(points)
    matrix = _rotations(generator.normal(0, 0.15, instances)) * generator.uniform(0.75, 1.1, (instances, 1, 1))
    matrix = matrix @ (np.eye(2) + generator.normal(0, JITTER, (instances, 2, 2)))
    return points @ matrix + generator.normal(0, 0.08, (instances, 1, 2))


def _rotations(angles: np.ndarray) -> np.ndarray:
    cosine, sine = np.cos(angles), np.sin(angles)
    return np.stack([np.stack([cosine, -sine], axis=-1), np.stack([sine, cosine], axis=-1)], axis=-2)


def _grid(size: int) -> np.ndarray:
    axis = np.linspace(-1, 1, size)
    return np.stack(np.meshgrid(axis, axis), axis=-1)
