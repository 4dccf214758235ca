"""The batch size by trial: the largest that fits into memory, and the one with which a model trains fastest.

Takes a compiled model and some examples; gives what each size took, and leaves the model as it was. Must not change the
model.
"""

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


@dataclass(frozen=True)
class BatchTrial:
    """What training steps with one batch size took.

    Args:
        global_batch_size: int > 0, examples of a step over all devices.
        step_seconds: float, the median time of a step.
        peak_bytes: int, the most memory in use: of the fullest GPU, or of the process where there is none.
    """

    global_batch_size: int
    step_seconds: float
    peak_bytes: int

    @property
    def examples_per_second(self) -> float:
        """Examples that a second of training goes through."""
        return self.global_batch_size / self.step_seconds


@dataclass(frozen=True)
class BatchSizes:
    """The batch sizes that were tried and fit.

    Args:
        trials: tuple of BatchTrial, each of twice the size before it.
        limit_bytes: int or None, the memory that could be used; None for that of the GPU.
        stopped: str, one clause that says why no larger size was tried.
    """

    trials: tuple[BatchTrial, ...]
    limit_bytes: int | None
    stopped: str

    @property
    def largest(self) -> BatchTrial:
        """The trial of the largest size."""
        return self.trials[-1]

    @property
    def fastest(self) -> BatchTrial:
        """The trial with the most examples per second."""
        return max(self.trials, key=lambda trial: trial.examples_per_second)


def batch_size(
    model: keras.Model,
    batches: tf.data.Dataset | data.Examples,
    *,
    smallest: int | None = None,
    largest: int = 4096,
    memory_limit_bytes: int | None = None,
    longest_step_seconds: float = 20.0,
    steps: int = 3,
) -> BatchSizes:
    """Trains for some steps with ever larger batches, until they do not fit or take too long.

    The examples come from memory, so the times are those of the model alone. A GPU is filled until it says that it is
    full. On a CPU the system would end the whole process, so the memory of a size is foretold from the two before it,
    and not tried where it passes the limit. The model comes back bit by bit.

    Args:
        model: keras.Model, built and compiled.
        batches: tf.data.Dataset of batches as for `fit`, or Examples; the first batch is repeated to every size.
        smallest: int > 0, the first size; None for the number of devices.
        largest: int >= smallest, the last size; each is twice the one before.
        memory_limit_bytes: int > 0, the most that may be in use; None for all that the GPU has, or for 90 % of what this
            machine has free.
        longest_step_seconds: float > 0, sizes with longer steps are not tried.
        steps: int > 0, steps timed with each size, after one that is not.

    Returns:
        BatchSizes.

    Raises:
        InputError: a number lies outside its range, there are no examples, not even the smallest size fits, or the
            model takes one batch size alone or is not built or compiled.

    Example:
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> found = batch_size(model, tf.data.Dataset.from_tensors((tf.ones((4, 8)), tf.ones((4, 1)))), largest=32)
        >>> [trial.global_batch_size for trial in found.trials], found.stopped
        ([1, 2, 4, 8, 16, 32], '32 is the largest that was asked for')
    """
    smallest = model.distribute_strategy.num_replicas_in_sync if smallest is None else smallest
    _check(model, smallest, largest, memory_limit_bytes, longest_step_seconds, steps)
    examples = first_batch(batches)
    limit = memory_use.limit_bytes() if memory_limit_bytes is None else memory_limit_bytes
    _check_limit(limit)
    trials: list[BatchTrial] = []
    stopped = f"{largest} is the largest that was asked for"
    with restored(model, keep_optimizer=_has_built_optimizer(model)):
        for size in _doubled(smallest, largest):
            stop = _foretold_stop(trials, size, limit, longest_step_seconds)
            if stop is None:
                try:
                    trial = _tried(model, examples, size, steps)
                except (tf.errors.ResourceExhaustedError, MemoryError):
                    stop = f"{size} does not fit into memory"
                else:
                    stop = _over(f"{size} takes", trial.peak_bytes, limit)
            if stop is not None:
                stopped = stop
                break
            trials.append(trial)
    if not trials:
        raise InputError(
            f"not even a batch of {smallest} fits: {stopped}. Take a smaller model, `kerastrain.memory.remat`, or "
            "smaller images."
        )
    return BatchSizes(tuple(trials), limit, stopped)


def plot_batch_sizes(found: BatchSizes, path: str | os.PathLike) -> Path:
    """Draws speed and memory over the batch size.

    Args:
        found: BatchSizes.
        path: where the picture goes; its suffix (.png, .svg, .pdf) chooses the format.

    Returns:
        Path of the written picture.
    """
    from matplotlib.figure import Figure

    sizes = [trial.global_batch_size for trial in found.trials]
    figure = Figure(figsize=(9, 3.5), layout="constrained")
    speed, memory = figure.subplots(1, 2)
    speed.plot(sizes, [trial.examples_per_second for trial in found.trials], marker="o")
    fastest = found.fastest
    speed.plot(fastest.global_batch_size, fastest.examples_per_second, "o", color="tab:red", label="fastest")
    speed.set(ylabel="examples per second")
    memory.plot(sizes, [trial.peak_bytes / 1e6 for trial in found.trials], marker="o")
    memory.set(ylabel="peak memory in MB")
    if found.limit_bytes is not None and found.limit_bytes < 4 * found.largest.peak_bytes:
        memory.axhline(found.limit_bytes / 1e6, color="tab:red", linestyle=":", label="limit")
    for axes in (speed, memory):
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda size, position: f"{size:g}")
        axes.set(xlabel="global batch size", ylim=(0, None))
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    return figures.write(figure, path)


class _StepTimes(keras.callbacks.Callback):
    """Notes when each step has ended."""

    def __init__(self):
        super().__init__()
        self.ends: list[float] = []

    def on_train_batch_end(self, batch, logs=None):
        """Notes the time."""
        float(logs["loss"])  # waits for a GPU that works behind
        self.ends.append(time.perf_counter())


def _tried(model: keras.Model, examples, size: int, steps: int) -> BatchTrial:
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


def _foretold_stop(trials: list[BatchTrial], size: int, limit: int | None, longest_step_seconds: float) -> str | None:
    """Why twice the last size should not be tried, or None."""
    if len(trials) < 2:
        return None
    last = trials[-1]
    # The steeper of the straight lines through the last and one before: what TensorFlow has taken once it keeps.
    slopes = [
        (last.peak_bytes - trial.peak_bytes) / (last.global_batch_size - trial.global_batch_size)
        for trial in (trials[0], trials[-2])
    ]
    seconds = 2 * last.step_seconds
    if seconds > longest_step_seconds:
        return f"a step with {size} would take {seconds:.1f} s"
    return _over(f"{size} would take", last.peak_bytes + last.global_batch_size * max(slopes), limit)


def _over(what: str, used_bytes: float, limit: int | None) -> str | None:
    if limit is None or used_bytes <= limit:
        return None
    return f"{what} {used_bytes / 1e6:,.0f} MB of {limit / 1e6:,.0f}"


def _doubled(smallest: int, largest: int) -> Iterator[int]:
    while smallest <= largest:
        yield smallest
        smallest *= 2


def first_batch(batches: tf.data.Dataset | data.Examples):
    """The first batch, or up to 64 of the examples; raises InputError where there are none."""
    if isinstance(batches, data.Examples):
        batches = data.batches(batches, min(len(batches), 64))
    first = next(iter(batches.take(1)), None)
    if first is None:
        raise InputError("`batches` must hold at least one batch. Received: none.")
    return first


def repeated(examples, size: int, count: int) -> tf.data.Dataset:
    """`count` times one batch of `size` examples, of unknown size in its type: one traced step serves all sizes."""
    given = tf.shape(keras.tree.flatten(examples)[0])[0]
    batch = keras.tree.map_structure(lambda leaf: tf.gather(leaf, tf.range(size) % given), examples)
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
            f"`memory_limit_bytes` must be above what is in use already, {used:,} bytes. Received: {limit:,}. "
            "TensorFlow keeps what it once took: start a new process, or raise the limit."
        )


def _check(model, smallest, largest, memory_limit_bytes, longest_step_seconds, steps) -> None:
    replicas = model.distribute_strategy.num_replicas_in_sync
    if not replicas <= smallest <= largest:
        raise InputError(
            f"`smallest` and `largest` must rise, and begin at {replicas}, the number of devices. Received: "
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
            f"the model must take batches of any size. Received: a model for batches of {fixed[0]} alone. Leave "
            "`batch_size` out of its `keras.Input`."
        )
