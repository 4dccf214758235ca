"""Batch size search: the largest batch that fits into memory, and the one with which a model trains fastest.

Takes a compiled model and some examples; returns time and memory of each size, and restores the model.
"""

import logging
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kerastrain import data, distribute
from kerastrain.errors import InputError
from kerastrain.finders import memory_use
from kerastrain.finders.restoring import restored
from kerastrain.system import figures

logger = logging.getLogger("kerastrain")


@dataclass(frozen=True)
class BatchTrial:
    """Time and memory of training steps with one batch size.

    Args:
        global_batch_size: int >= 1, examples of a step over all devices.
        step_seconds: float > 0, the median time of a step.
        peak_bytes: int > 0, the peak memory in use: of the fullest GPU, or of the process where there is no GPU.
    """

    global_batch_size: int
    step_seconds: float
    peak_bytes: int

    @property
    def examples_per_second(self) -> float:
        """Training speed, in examples per second."""
        return self.global_batch_size / self.step_seconds


@dataclass(frozen=True)
class BatchSizes:
    """The batch sizes that were tried and fit into memory.

    Args:
        trials: tuple of BatchTrial, each with twice the batch size of the one before.
        limit_bytes: int > 0, the memory limit; None for the memory of the GPU.
        stopped: str, a clause that says why no larger size was tried.
    """

    trials: tuple[BatchTrial, ...]
    limit_bytes: int | None
    stopped: str

    @property
    def largest(self) -> BatchTrial:
        """The trial with the largest batch size."""
        return self.trials[-1]

    @property
    def fastest(self) -> BatchTrial:
        """The trial with the most examples per second."""
        return max(self.trials, key=lambda trial: trial.examples_per_second)


def batch_size(
    model: keras.Model,
    dataset: tf.data.Dataset | data.Examples,
    *,
    smallest: int | None = None,
    largest: int = 4096,
    memory_limit_bytes: int | None = None,
    longest_step_seconds: float = 20.0,
    steps: int = 3,
) -> BatchSizes:
    """Trains for some steps with larger and larger batches, until they do not fit or take too long.

    The examples come from memory, so the measured time is only that of the model. On a GPU the sizes grow until TensorFlow
    runs out of memory. On a CPU the system would kill the whole process, so the memory of a size is extrapolated from
    smaller ones, and a size that would exceed the limit is not tried. The model is restored bit for bit.

    Args:
        model: keras.Model, built and compiled.
        dataset: tf.data.Dataset of batches as for `fit`, or Examples; the first batch is repeated to every size.
        smallest: int >= the number of devices, the first size; None for the number of devices.
        largest: int >= smallest, the upper bound of the sizes; each size is twice the one before.
        memory_limit_bytes: int > 0, the most memory that may be in use, in bytes; None for all memory of the GPU, or for
            90 % of the free memory of this machine.
        longest_step_seconds: float > 0; sizes with longer steps are not tried.
        steps: int >= 1, steps measured with each size, after one that is not measured.

    Returns:
        BatchSizes.

    Raises:
        InputError: a number is out of range, there are no examples, not even the smallest size fits, or the model has a
            fixed batch size, or is not built or compiled.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> sizes = batch_size(model, tf.data.Dataset.from_tensors((tf.ones((4, 8)), tf.ones((4, 1)))), largest=32)
        >>> [trial.global_batch_size for trial in sizes.trials], sizes.stopped
        ([1, 2, 4, 8, 16, 32], '32 is the largest requested size')
    """
    smallest = model.distribute_strategy.num_replicas_in_sync if smallest is None else smallest
    _check(model, smallest, largest, memory_limit_bytes, longest_step_seconds, steps)
    examples = first_batch(dataset)
    limit = memory_use.limit_bytes() if memory_limit_bytes is None else memory_limit_bytes
    _check_limit(limit)
    trials: list[BatchTrial] = []
    stopped = f"{largest} is the largest requested size"
    with restored(model, keep_optimizer=_has_built_optimizer(model)):
        for size in _doubled(smallest, largest):
            stop = _predicted_stop(trials, size, limit, longest_step_seconds)
            if stop is None:
                try:
                    trial = _trial(model, examples, size, steps)
                except (tf.errors.ResourceExhaustedError, MemoryError):
                    stop = f"{size} does not fit into memory"
                else:
                    stop = _over(f"{size} takes", trial.peak_bytes, limit)
            if stop is not None:
                stopped = stop
                break
            trials.append(trial)
            logger.info("batch size %d: %.1f ms a step", size, 1000 * trial.step_seconds)
    if not trials:
        raise InputError(
            f"not even a batch of {smallest} fits: {stopped}. Use a smaller model, `kerastrain.memory.remat`, or "
            "smaller images."
        )
    return BatchSizes(tuple(trials), limit, stopped)


def plot_batch_sizes(result: BatchSizes, path: str | os.PathLike) -> Path:
    """Plots speed and memory over the batch size.

    Args:
        result: BatchSizes.
        path: path of the figure; its suffix (.png, .svg, .pdf) selects the format.

    Returns:
        Path of the figure.
    """
    from matplotlib.figure import Figure

    sizes = [trial.global_batch_size for trial in result.trials]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    speed.plot(sizes, [trial.examples_per_second for trial in result.trials], marker="o")
    fastest = result.fastest
    speed.plot(fastest.global_batch_size, fastest.examples_per_second, "o", color="tab:red", label="fastest")
    speed.set(ylabel="examples per second")
    memory.plot(sizes, [trial.peak_bytes / 1e6 for trial in result.trials], marker="o")
    memory.set(ylabel="peak memory in MB")
    if result.limit_bytes is not None and result.limit_bytes < 4 * result.largest.peak_bytes:
        memory.axhline(result.limit_bytes / 1e6, color="tab:red", linestyle=":", label="limit")
    for axes in (speed, memory):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda size, position: f"{size:g}")
        axes.set(xlabel="global batch size", ylim=(0, None))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figures.write(figure, path)


class _StepTimes(keras.callbacks.Callback):
    """Records the time at which each step ends."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        """Records the time."""
        float(logs["loss"])  # Waits until a GPU, which runs asynchronously, has finished the step.
        self.ends.append(time.perf_counter())


def _trial(model: keras.Model, examples, size: int, steps: int) -> BatchTrial:
    times = _StepTimes()
    memory_use.reset_peak()
    model.fit(
        distribute.shard(repeated(examples, size, steps + 1), model.distribute_strategy),
        steps_per_epoch=steps + 1,
        shuffle=False,
        verbose=0,
        callbacks=[times],
    )
    return BatchTrial(size, float(np.median(np.diff(times.ends))), memory_use.peak_bytes())


def _predicted_stop(trials: list[BatchTrial], size: int, limit: int | None, longest_step_seconds: float) -> str | None:
    """Why `size`, twice the last size, should not be tried, or None."""
    if len(trials) < 2:
        return None
    last = trials[-1]
    # Extrapolates by the steeper of two lines, through the last trial and the first or the last but one, because
    # TensorFlow keeps memory that it has once allocated.
    slopes = [
        (last.peak_bytes - trial.peak_bytes) / (last.global_batch_size - trial.global_batch_size)
        for trial in (trials[0], trials[-2])
    ]
    seconds = 2 * last.step_seconds
    if seconds > longest_step_seconds:
        return f"a step with {size} would take {seconds:.1f} s"
    return _over(f"{size} would take", last.peak_bytes + last.global_batch_size * max(slopes), limit)


def _over(subject: str, used_bytes: float, limit: int | None) -> str | None:
    if limit is None or used_bytes <= limit:
        return None
    return f"{subject} {used_bytes / 1e6:,.0f} MB of {limit / 1e6:,.0f}"


def _doubled(smallest: int, largest: int) -> Iterator[int]:
    while smallest <= largest:
        yield smallest
        smallest *= 2


def first_batch(dataset: tf.data.Dataset | data.Examples):
    """The first batch of a dataset, or a batch of up to 64 of the examples.

    Args:
        dataset: tf.data.Dataset of batches as for `fit`, or Examples.

    Returns:
        The batch, a tensor or nest of tensors.

    Raises:
        InputError: the dataset is empty.
    """
    if isinstance(dataset, data.Examples):
        dataset = data.batches(dataset, min(len(dataset), 64))
    first = next(iter(dataset.take(1)), None)
    if first is None:
        raise InputError("`dataset` must contain at least one batch. Received: none.")
    return first


def repeated(examples, size: int, count: int) -> tf.data.Dataset:
    """A dataset that repeats one batch of `size` examples.

    The batch size is unknown in the dataset's element spec, so one traced step serves all sizes.

    Args:
        examples: tensor or nest of tensors (n, ...), n >= 1; examples are repeated or dropped to make `size`.
        size: int >= 1, examples of the batch.
        count: int >= 1, number of batches.

    Returns:
        tf.data.Dataset of `count` equal batches.
    """
    available = tf.shape(keras.tree.flatten(examples)[0])[0]
    batch = keras.tree.map_structure(lambda leaf: tf.gather(leaf, tf.range(size) % available), examples)
    every = tf.constant(size)

    def whole(*parts):
        parts = keras.tree.map_structure(lambda leaf: leaf[:every], parts)
        return parts if len(parts) > 1 else parts[0]

    return tf.data.Dataset.from_tensors(batch).map(whole).cache().repeat(count)


def _has_built_optimizer(model: keras.Model) -> bool:
    optimizer = getattr(model, "optimizer", None)
    return optimizer is not None and optimizer.built


def _check_limit(limit: int | None) -> None:
    memory_use.reset_peak()
    used = memory_use.peak_bytes()
    if limit is not None and used > limit:
        raise InputError(
            f"`memory_limit_bytes` must be above the memory already in use, {used:,} bytes. Received: {limit:,}. "
            "TensorFlow keeps memory it has allocated: start a new process, or raise the limit."
        )


def _check(model, smallest, largest, memory_limit_bytes, longest_step_seconds, steps) -> None:
    replicas = model.distribute_strategy.num_replicas_in_sync
    if not replicas <= smallest <= largest:
        raise InputError(
            f"`smallest` must be at least {replicas}, the number of devices, and `largest` at least `smallest`. Received: "
            f"smallest={smallest}, largest={largest}."
        )
    for name, number in (
        ("memory_limit_bytes", memory_limit_bytes),
        ("longest_step_seconds", longest_step_seconds),
        ("steps", steps),
    ):
        if number is not None and not number > 0:
            raise InputError(f"`{name}` must be above 0. Received: {name}={number}.")
    fixed = [tensor.shape[0] for tensor in getattr(model, "inputs", None) or () if tensor.shape[0] is not None]
    if fixed:
        raise InputError(
            f"the model must accept batches of any size. Received: a model with a fixed batch size of {fixed[0]}. Remove "
            "`batch_size` from its `keras.Input`."
        )
