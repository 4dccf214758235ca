"""Plots learning rates over the steps of a training.

Takes arrays of rates; writes an image file. Must not import TensorFlow: `kerastrain check --plot` runs without it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kerastrain.system import figures


def plot(
    rates: np.ndarray | Mapping[str, np.ndarray], path: str | os.PathLike, *, steps_per_epoch: int | None = None
) -> Path:
    """Plots the learning rate over the optimizer steps, phases side by side.

    Args:
        rates: float array (steps,) from `simulate`, or a mapping from the name of each phase of a training to its rates;
            the steps of a phase continue those of the phase before.
        path: path of the image file; its suffix (.png, .svg, .pdf) chooses the format.
        steps_per_epoch: int > 0; if set, a second axis counts the epochs of each phase.

    Returns:
        Path of the image file.

    Raises:
        InputError: Matplotlib does not support the suffix.
    """
    from matplotlib.figure import Figure

    phases = rates if isinstance(rates, Mapping) else {"": rates}
    figure = Figure(figsize=(7 if len(phases) == 1 else 5 * len(phases), 3.5), layout="constrained")
    first = 0
    for axes, (name, values) in zip(figure.subplots(1, len(phases), squeeze=False)[0], phases.items(), strict=True):
        last = first + len(values)
        # One more point makes the last step as wide as the others.
        axes.plot(np.arange(first, last + 1), np.append(values, values[-1:]), drawstyle="steps-post")
        axes.set(title=name, xlabel="optimizer step", ylabel="learning rate", xlim=(first, last), ylim=(0, None))
        axes.yaxis.set_major_formatter(lambda rate, position: f"{rate:.3g}")
        axes.grid(alpha=0.3)
        if steps_per_epoch:
            axes.secondary_xaxis("top", _epochs(first, steps_per_epoch)).set_xlabel("epoch")
        first = last
    return figures.write(figure, path)


def _epochs(first: int, steps_per_epoch: int):
    """The conversion from steps to epochs in a phase that begins at step `first`, and its inverse."""
    return (lambda step: (step - first) / steps_per_epoch, lambda epoch: epoch * steps_per_epoch + first)
