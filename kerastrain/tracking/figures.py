"""The measures of a part of the data as one Matplotlib figure, for TensorBoard, which shows bitmaps.

Takes measures as in `metrics.json`; returns figures. Must not draw the names of classes, whose writing system a font may lack:
they are numbered.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_QUIET, _STRONG, _SECOND = "#c9cfd8", "#1f5fbf", "#bf4a1f"
_MOST_CLASSES = 10  # with a curve of their own


def measures(part: Mapping) -> Figure | None:
    """Draws what `metrics.json` has of a part: ROC and precision-recall curves, calibration, confusion, or the predictions
    of a regression over the truth.

    Args:
        part: mapping, the measures of a part.

    Returns:
        matplotlib.figure.Figure, or None if there is nothing to draw.
    """
    curves = part.get("curves") or {}
    panels = [
        (_roc, curves.get("roc")),
        (_precision_recall, curves.get("precision_recall")),
        (_calibration, (part.get("calibration") or {}).get("bins")),
        (_confusion, part.get("confusion")),
        (_scatter, (part.get("scatter") or [None])[0]),  # of the first output
    ]
    panels = [(draw, values) for draw, values in panels if values]
    if not panels:
        return None
    across = min(2, len(panels))
    figure = Figure(figsize=(4.6 * across, 4 * -(-len(panels) // across)), layout="constrained")
    axes = figure.subplots(-(-len(panels) // across), across, squeeze=False).ravel()
    for place, (draw, values) in zip(axes, panels, strict=False):
        draw(place, values)
        place.spines[["top", "right"]].set_visible(False)
        place.tick_params(labelsize=8)
    for place in axes[len(panels) :]:
        place.set_visible(False)
    return figure


def _roc(axes: Axes, curves: Mapping) -> None:
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle="--", linewidth=1)
    _curves(axes, curves, "fpr", "tpr")
    axes.set(xlabel="false positive rate", ylabel="true positive rate", title="ROC", xlim=(0, 1), ylim=(0, 1.02))


def _precision_recall(axes: Axes, curves: Mapping) -> None:
    _curves(axes, curves, "recall", "precision")
    axes.set(xlabel="recall", ylabel="precision", title="precision and recall", xlim=(0, 1), ylim=(0, 1.02))


def _curves(axes: Axes, curves: Mapping, x: str, y: str) -> None:
    for number, curve in enumerate(curves.get("classes", ())[:_MOST_CLASSES], start=1):
        if curve.get(x) and curve.get(y):
            axes.plot(curve[x], curve[y], linewidth=1, alpha=0.6, label=f"class {number}")
    for name, colour in (("macro", _STRONG), ("micro", _SECOND)):
        curve = curves.get(name)
        if curve and curve.get(x) and curve.get(y):
            axes.plot(curve[x], curve[y], color=colour, linewidth=2, label=name)
    axes.legend(frameon=False, fontsize=7)


def _calibration(axes: Axes, bins: Sequence[Mapping]) -> None:
    filled = [entry for entry in bins if entry["count"]]
    axes.plot([0, 1], [0, 1], color=_QUIET, linestyle="--", linewidth=1)
    axes.plot([e["confidence"] for e in filled], [e["accuracy"] for e in filled], color=_STRONG, marker="o")
    axes.set(xlabel="confidence", ylabel="accuracy", title="calibration", xlim=(0, 1), ylim=(0, 1.02))


def _confusion(axes: Axes, matrix: Sequence[Sequence[int]]) -> None:
    counts = np.asarray(matrix, "float64")
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    ends = (0.5, len(counts) + 0.5)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, interpolation="nearest", extent=(*ends, *ends[::-1]))
    axes.set(xlabel="predicted class", ylabel="true class", title="confusion")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.yaxis.get_major_locator().set_params(integer=True)
    axes.figure.colorbar(drawn, ax=axes, label="fraction of the true class", shrink=0.8)


def _scatter(axes: Axes, pairs: Sequence[Sequence[float]]) -> None:
    truth, predictions = np.asarray(pairs, "float64").T
    ends = [min(truth.min(), predictions.min()), max(truth.max(), predictions.max())]
    axes.plot(ends, ends, color=_QUIET, linestyle="--", linewidth=1)
    axes.scatter(truth, predictions, s=12, alpha=0.5, color=_STRONG, linewidths=0)
    axes.set(xlabel="true", ylabel="predicted", title="predictions")
