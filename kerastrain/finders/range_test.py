"""The learning-rate range test: which rates teach a model, found in some hundred steps and not in whole trainings.

Takes a compiled model and batches; gives the loss over the rates and a suggestion, and leaves the model as it was.
Must not change the model.
"""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import scipy.ndimage
import tensorflow as tf

from kerastrain import data, distribute
from kerastrain.errors import InputError, is_whole_number
from kerastrain.finders.restoring import restored
from kerastrain.system import figures

_SMOOTHING_FRACTION = 0.03
_MEAN_STEPS = 10


@dataclass(frozen=True, eq=False)
class RangeTest:
    """The losses of one training whose learning rate rose in every step by the same factor.

    Args:
        learning_rates: float array (n,), the rate of each step.
        losses: float array (n,), the loss of each step's batch before its update, cut off where it runs away.
        smoothed_losses: float array (n,), the same smoothed by a Gaussian with a deviation of 3 % of the whole range.
        suggestion: float or None, a tenth of the rate at which the smoothed loss is lowest; None where no rate made
            the loss fall by more than its noise.
        steepest: float or None, the rate at which the smoothed loss falls fastest; None as above.
        diverged: bool, whether the loss ran away, so that the highest rates were not tried.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed_losses: np.ndarray
    suggestion: float | None
    steepest: float | None
    diverged: bool


def learning_rate(
    model: keras.Model,
    batches: tf.data.Dataset | data.Examples,
    *,
    global_batch_size: int = 32,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    divergence: float = 4.0,
) -> RangeTest:
    """Trains for some steps with a rising learning rate, and tells from the losses which rate to train with.

        rate(t) = lowest * (highest / lowest) ** (t / (steps - 1))

    Too low a rate changes nothing, a good one makes the loss fall, too high a one makes it rise: the test ends there. A
    tenth of the rate of the lowest loss is near the fastest fall and has room below the edge, and is meant as the peak
    of a schedule with a warm-up. The model begins where it stands, with a fresh optimizer of its own kind, and comes
    back bit by bit.

    Args:
        model: keras.Model, built and compiled.
        batches: tf.data.Dataset of batches as for `fit`, begun again where it is too short; or Examples, which are
            shuffled.
        global_batch_size: int > 0, for Examples alone; the batch that the training will have, for the best rate depends
            on it.
        lowest: float > 0, the first rate.
        highest: float > lowest, the last rate.
        steps: int >= 20, optimizer steps.
        divergence: float > 1; the test ends when the loss of the last ten steps is that many times that of the first.

    Returns:
        RangeTest.

    Raises:
        InputError: a number lies outside its range, there are no batches, the loss is no number from the start, or the
            model is not built, compiled or of one optimizer.

    Example:
        >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="zeros")])
        >>> model.compile("sgd", "mse")
        >>> points = tf.data.Dataset.from_tensor_slices(([[[1.0]], [[1.0]]], [[[1.5]], [[2.5]]]))
        >>> test = learning_rate(model, points)
        >>> test.diverged, 1e-3 < test.suggestion < 0.1, model.get_weights()[0].item()
        (True, True, 0.0)

    Reference: Smith 2017, https://arxiv.org/abs/1506.01186, section 3.3; the suggestion is the rule "minimum" of fastai,
    https://docs.fast.ai/callback.schedule.html#lrfinder.
    """
    _check(lowest, highest, steps, divergence)
    if isinstance(batches, data.Examples):
        epochs = math.ceil(steps / data.steps_per_epoch(batches, global_batch_size))
        batches = data.batches(batches, global_batch_size, shuffle=True, epochs=epochs)
    rising = keras.optimizers.schedules.ExponentialDecay(lowest, steps - 1, highest / lowest)
    losses = _Losses(divergence)
    with restored(model, learning_rate=rising):
        model.fit(
            distribute.shard(_repeated(batches, steps), model.distribute_strategy),
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[losses],
        )
    seen = np.array(losses.seen)
    if not np.isfinite(seen[:_MEAN_STEPS]).all():
        raise InputError(
            f"the loss must be a number at the lowest rates. Received: {', '.join(f'{loss:g}' for loss in seen[:4])}, ... "
            "Lower `lowest`, or check the data and the loss."
        )
    rates = lowest * (highest / lowest) ** (np.arange(len(seen)) / (steps - 1))
    return _read(seen, rates, steps=steps, divergence=divergence, diverged=losses.diverged)


def _repeated(batches: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    if int(batches.cardinality()) == 0:
        raise InputError("`batches` must hold at least one batch. Received: none.")
    return batches.repeat().take(steps).apply(tf.data.experimental.assert_cardinality(steps))


def plot_rates(test: RangeTest, path: str | os.PathLike) -> Path:
    """Draws the losses of a range test over the rates, and where the suggestion lies.

    Args:
        test: RangeTest.
        path: where the picture goes; its suffix (.png, .svg, .pdf) chooses the format.

    Returns:
        Path of the written picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(test.learning_rates, test.losses, color="0.75", linewidth=1, label="loss of each batch")
    axes.plot(test.learning_rates, test.smoothed_losses, linewidth=2, label="smoothed")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss")
    if test.suggestion is not None:
        for rate, style, name in ((test.suggestion, "-", "suggestion"), (test.steepest, ":", "steepest fall")):
            axes.axvline(rate, color="tab:red", linestyle=style, label=f"{name} {rate:.2g}")
    axes.legend()
    axes.grid(alpha=0.3)
    return figures.write(figure, path)


class _Losses(keras.callbacks.Callback):
    """Keeps the loss of each batch, and ends the training once it has run away."""

    def __init__(self, divergence: float):
        super().__init__()
        self.seen: list[float] = []
        self.diverged = False
        self._divergence = divergence

    def on_train_batch_begin(self, batch, logs=None):
        """Lets the mean that Keras logs be that of this batch alone."""
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        """Notes the loss."""
        self.seen.append(float(logs["loss"]))
        recent = np.mean(self.seen[-_MEAN_STEPS:])
        if not recent <= ceiling(self.seen, self._divergence):
            self.diverged = self.model.stop_training = True


def ceiling(losses: Sequence[float], divergence: float) -> float:
    """The loss that counts as run away: `divergence` times the mean of the first ten."""
    first = float(np.mean(losses[:_MEAN_STEPS]))
    return first + (divergence - 1) * abs(first)


def _read(losses: np.ndarray, rates: np.ndarray, *, steps: int, divergence: float, diverged: bool) -> RangeTest:
    """What the losses of a test of `steps` planned steps say."""
    # One loss of a million in the last steps must not be smeared over those before it.
    losses = np.minimum(np.nan_to_num(losses, nan=np.inf), ceiling(losses, divergence))
    deviation = _SMOOTHING_FRACTION * steps
    smoothed = scipy.ndimage.gaussian_filter1d(losses, deviation, mode="nearest")
    lowest = int(smoothed.argmin())
    # The deviation of a batch by the median, which the last steps do not move, and a mean under a Gaussian of deviation
    # s has the noise of one over 2 sqrt(pi) s values.
    noise = 1.48 * np.median(np.abs(losses - smoothed)) / math.sqrt(2 * math.sqrt(math.pi) * deviation)
    first = losses[:_MEAN_STEPS].mean()
    found = first - smoothed[lowest] > max(4 * noise, 1e-3 * abs(first))
    if found and not diverged and lowest >= len(losses) - 2:
        warnings.warn(
            f"the loss still falls at the highest rate. Received: highest={rates[-1]:g}. Raise `highest`.", stacklevel=3
        )
    slopes = np.gradient(smoothed, np.log(rates))
    return RangeTest(
        learning_rates=rates,
        losses=losses,
        smoothed_losses=smoothed,
        suggestion=float(rates[lowest] / 10) if found else None,
        steepest=float(rates[slopes[: lowest + 1].argmin()]) if found else None,
        diverged=diverged,
    )


def _check(lowest: float, highest: float, steps: int, divergence: float) -> None:
    if not 0 < lowest < highest < math.inf:
        raise InputError(
            f"`lowest` and `highest` must be rates above 0 that rise. Received: lowest={lowest}, highest={highest}."
        )
    if not is_whole_number(steps) or steps < 2 * _MEAN_STEPS:
        raise InputError(f"`steps` must be a whole number of at least {2 * _MEAN_STEPS}. Received: steps={steps!r}.")
    if not divergence > 1:
        raise InputError(f"`divergence` must be above 1. Received: divergence={divergence}.")
