"""Learning-rate range test: finds good learning rates in a few hundred steps instead of whole trainings.

Takes a compiled model and a dataset; returns the loss at each rate and a suggestion, and restores the model.
"""

import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import scipy
import tensorflow as tf

from kerastrain import data, distribute
from kerastrain.errors import InputError, is_whole_number
from kerastrain.finders.restoring import restored
from kerastrain.system import figures

_SMOOTHING_FRACTION = 0.03
_MEAN_STEPS = 10


@dataclass(frozen=True, eq=False)
class RangeTest:
    """Losses of a training whose learning rate rises by the same factor in every step.

    Args:
        learning_rates: float64 array (n,), the rate of each step.
        losses: float64 array (n,), the loss of each step's batch before its update, clipped where it diverges.
        smoothed_losses: float64 array (n,), `losses` smoothed by a Gaussian with a standard deviation of 3 % of the
            planned steps.
        suggestion: float > 0, a tenth of the rate at which the smoothed loss is lowest; None if no rate lowered the loss
            by more than its noise.
        steepest: float > 0, the rate at which the smoothed loss falls fastest; None as for `suggestion`.
        diverged: bool, whether the loss diverged, so that the highest rates were not tried.
    """

    learning_rates: np.ndarray
    losses: np.ndarray
    smoothed_losses: np.ndarray
    suggestion: float | None
    steepest: float | None
    diverged: bool


def learning_rate(
    model: keras.Model,
    dataset: tf.data.Dataset | data.Examples,
    *,
    global_batch_size: int = 32,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 200,
    divergence: float = 4.0,
) -> RangeTest:
    """Trains for some steps with a rising learning rate, and suggests a rate from the losses.

        rate(t) = lowest * (highest / lowest) ** (t / (steps - 1))

    At too low a rate the loss stays the same, at a good rate it falls, and at too high a rate it rises, which ends the
    test. A tenth of the rate with the lowest loss is close to the steepest fall and keeps a margin to divergence; use it
    as the peak of a schedule with warm-up. The test starts from the model's current weights with a new optimizer of the
    same settings, and restores the model bit for bit.

    Args:
        model: keras.Model, built and compiled.
        dataset: tf.data.Dataset of batches as for `fit`, repeated if it is too short; or Examples, which are shuffled.
        global_batch_size: int >= 1, for Examples only; set it to the batch size of the training, because the best rate
            depends on it.
        lowest: float > 0, the first rate.
        highest: float > lowest, the last rate.
        steps: int >= 20, optimizer steps.
        divergence: float > 1; the test ends when the mean loss of the last ten steps reaches this multiple of the mean of
            the first ten.

    Returns:
        RangeTest.

    Raises:
        InputError: a number is out of range, there are no batches, the loss is NaN or infinite from the start, or the
            model is not built, not compiled, or has several optimizers.

    Warns:
        UserWarning: the loss still falls at the highest rate.

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
    if isinstance(dataset, data.Examples):
        epochs = math.ceil(steps / data.steps_per_epoch(dataset, global_batch_size))
        dataset = data.batches(dataset, global_batch_size, shuffle=True, epochs=epochs)
    rising = keras.optimizers.schedules.ExponentialDecay(lowest, steps - 1, highest / lowest)
    losses = _Losses(divergence)
    with restored(model, learning_rate=rising):
        model.fit(
            distribute.shard(_repeated(dataset, steps), model.distribute_strategy),
            steps_per_epoch=steps,
            shuffle=False,
            verbose=0,
            callbacks=[losses],
        )
    step_losses = np.array(losses.values)
    if not np.isfinite(step_losses[:_MEAN_STEPS]).all():
        raise InputError(
            f"the loss must be finite at the lowest rates. Received: "
            f"{', '.join(f'{loss:g}' for loss in step_losses[:4])}, ... Lower `lowest`, or check the data and the loss."
        )
    rates = lowest * (highest / lowest) ** (np.arange(len(step_losses)) / (steps - 1))
    return _evaluate(step_losses, rates, steps=steps, divergence=divergence, diverged=losses.diverged)


def _repeated(dataset: tf.data.Dataset, steps: int) -> tf.data.Dataset:
    if int(dataset.cardinality()) == 0:
        raise InputError("`dataset` must contain at least one batch. Received: none.")
    return dataset.repeat().take(steps).apply(tf.data.experimental.assert_cardinality(steps))


def plot_rates(test: RangeTest, path: str | os.PathLike) -> Path:
    """Plots the losses of a range test over the learning rates, and marks the suggestion.

    Args:
        test: RangeTest.
        path: path of the figure; its suffix (.png, .svg, .pdf) selects the format.

    Returns:
        Path of the figure.
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
    """Records the loss of each batch, and ends the training when it diverges."""

    def __init__(self, divergence: float):
        super().__init__()
        self.values: list[float] = []
        self.diverged = False
        self._divergence = divergence

    def on_train_batch_begin(self, batch, logs=None):
        """Resets the running mean, so that Keras logs the loss of this batch only."""
        self.model.reset_metrics()

    def on_train_batch_end(self, batch, logs=None):
        """Records the loss."""
        self.values.append(float(logs["loss"]))
        recent = np.mean(self.values[-_MEAN_STEPS:])
        if not recent <= _ceiling(self.values, self._divergence):
            self.diverged = self.model.stop_training = True


def _ceiling(losses: Sequence[float], divergence: float) -> float:
    """Highest loss that does not count as diverged: `divergence` times the mean of the first ten."""
    first = float(np.mean(losses[:_MEAN_STEPS]))
    return first + (divergence - 1) * abs(first)


def _evaluate(losses: np.ndarray, rates: np.ndarray, *, steps: int, divergence: float, diverged: bool) -> RangeTest:
    """The result of a test of `steps` planned steps."""
    # Clipped, because smoothing would spread one loss of a million in the last steps over those before it.
    losses = np.minimum(np.nan_to_num(losses, nan=np.inf), _ceiling(losses, divergence))
    stddev = _SMOOTHING_FRACTION * steps
    smoothed = scipy.ndimage.gaussian_filter1d(losses, stddev, mode="nearest")
    lowest = int(smoothed.argmin())
    # The standard deviation of one loss comes from the median deviation, which the last steps do not affect; smoothing by a
    # Gaussian with standard deviation s averages out noise like a mean over 2 sqrt(pi) s values.
    noise = 1.48 * np.median(np.abs(losses - smoothed)) / math.sqrt(2 * math.sqrt(math.pi) * stddev)
    first = losses[:_MEAN_STEPS].mean()
    improves = first - smoothed[lowest] > max(4 * noise, 1e-3 * abs(first))
    if improves and not diverged and lowest >= len(losses) - 2:
        warnings.warn(
            f"the loss still falls at the highest rate. Received: highest={rates[-1]:g}. Raise `highest`.", stacklevel=3
        )
    slopes = np.gradient(smoothed, np.log(rates))
    return RangeTest(
        learning_rates=rates,
        losses=losses,
        smoothed_losses=smoothed,
        suggestion=float(rates[lowest] / 10) if improves else None,
        steepest=float(rates[slopes[: lowest + 1].argmin()]) if improves else None,
        diverged=diverged,
    )


def _check(lowest: float, highest: float, steps: int, divergence: float) -> None:
    if not 0 < lowest < highest < math.inf:
        raise InputError(
            f"`lowest` must be above 0 and `highest` above `lowest`. Received: lowest={lowest}, highest={highest}."
        )
    if not is_whole_number(steps) or steps < 2 * _MEAN_STEPS:
        raise InputError(f"`steps` must be a whole number of at least {2 * _MEAN_STEPS}. Received: steps={steps!r}.")
    if not divergence > 1:
        raise InputError(f"`divergence` must be above 1. Received: divergence={divergence}.")
