"""Where the time of a run goes: `profile.json`, and a trace of a few steps of each phase for TensorBoard.

Takes the config and the folder of a run; starts the stopwatch whose parts other modules name by `system.stopwatch.part`, and
returns callbacks for `fit`. Must not change what is trained: batches, their order and the steps are the same with and without it.
"""

import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import tensorflow as tf

from kerastrain import distribute
from kerastrain.config import Config
from kerastrain.data import waiting
from kerastrain.report.time_parts import FILE, FIRST_STEPS, STEPS, TRACE, VALIDATION, WAITING
from kerastrain.system import files, stopwatch

logger = logging.getLogger("kerastrain")

_TRACED_STEPS = 5
_WRITE_SECONDS = 10  # between two records while a phase trains, for a run that is killed


@contextlib.contextmanager
def measured(config: Config, directory: Path) -> Iterator[None]:
    """Context manager that measures a run and writes `profile.json`, if `runtime.profile` is set; of several workers the chief.

    A resumed run adds its times to those of the processes before it.

    Args:
        config: Config.
        directory: Path of the run.

    Yields:
        None.
    """
    if not (config.runtime.profile and distribute.is_chief()):
        yield
        return
    with stopwatch.started() as watch:
        try:
            yield
        finally:
            if watch.record:  # or else the folder was not opened, and may be another process's
                _write_last(directory)


def read(directory: Path) -> dict | None:
    """Reads where the time of a run went.

    Args:
        directory: Path of the run.

    Returns:
        dict with "seconds" (float), their sum, "parts" (dict from names to seconds), "processes" (int), how many trained the
        run, and "waits" (bool), whether waiting for data was told apart from the steps; None if the run was not measured, or if
        the file is damaged.
    """
    try:
        record = json.loads((directory / FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        record = None
    if not isinstance(record, dict) or not {"seconds", "parts", "processes", "waits"} <= set(record):
        logger.warning("%s is damaged, so that the times of the processes before are lost", directory / FILE)
        return None
    return record


def write(directory: Path) -> None:
    """Writes where the time went so far, if it is measured.

    Args:
        directory: Path of the run, which this process has opened.
    """
    watch = stopwatch.running()
    if watch is None:
        return
    _continue(watch, directory)
    parts = {name: round(seconds, 3) for name, seconds in watch.seconds().items()}
    files.write_json(directory / FILE, {**watch.record, "seconds": round(sum(parts.values()), 3), "parts": parts})


def _write_last(directory: Path) -> None:
    """Writes the times in the end, where the run's own result or error counts for more than they do."""
    try:
        write(directory)
    except files.WriteError as error:
        logger.warning("the times of the run are not complete: %s", error)


def watched(
    dataset: tf.data.Dataset, strategy: tf.distribute.Strategy, directory: Path, phase: str
) -> tuple[tf.data.Dataset, list[keras.callbacks.Callback]]:
    """Measures the steps of a phase, if a stopwatch runs.

    Args:
        dataset: tf.data.Dataset of the training batches, or what `distribute.shard` returns for several devices.
        strategy: tf.distribute.Strategy of the model.
        directory: Path of the run.
        phase: str, the name of the phase.

    Returns:
        (tf.data.Dataset with the same batches, list of keras.callbacks.Callback that must run after all others).
    """
    watch, waits = stopwatch.running(), deque()
    if watch is None:
        return dataset, []
    _continue(watch, directory)
    if strategy.num_replicas_in_sync == 1:
        dataset, waits = waiting.timed(dataset)
    else:
        watch.record["waits"] = False
    return dataset, [_StepTimes(watch, waits, directory), _Trace(directory / "tensorboard" / phase)]


def _continue(watch: stopwatch.Stopwatch, directory: Path) -> None:
    """Adds the times of the processes that trained the run before, once."""
    if not watch.record:
        record = read(directory) or {"processes": 0, "parts": {}, "waits": True}
        for name, seconds in record["parts"].items():
            watch.add(name, seconds)
        watch.record = {**record, "processes": record["processes"] + 1}


class _StepTimes(keras.callbacks.Callback):
    """Tells the stopwatch when `fit` waits, steps and validates."""

    def __init__(self, watch: stopwatch.Stopwatch, waits: deque[float], directory: Path):
        super().__init__()
        self._watch, self._waits, self._directory = watch, waits, directory
        self._timed = self._untimed = None
        self._written_seconds = time.monotonic()

    def on_epoch_begin(self, epoch, logs=None):
        """Times the function of the step, which a callback may have replaced, and the start of the data set."""
        if self.model.train_function is not self._timed:
            # After an error in `fit`, the model still has the function that the attempt before has timed.
            self._untimed = getattr(self.model.train_function, "untimed", self.model.train_function)
            self._timed = self.model.train_function = self._function(self._untimed)
        self._watch.begin(WAITING)

    def on_train_batch_begin(self, batch, logs=None):
        """Ends the start of the data set."""
        self._watch.end(WAITING)

    def on_test_begin(self, logs=None):
        """Begins the validation."""
        self._watch.begin(VALIDATION)

    def on_test_end(self, logs=None):
        """Ends the validation."""
        self._watch.end(VALIDATION)

    def on_epoch_end(self, epoch, logs=None):
        """Writes the times, in case that the run is killed."""
        if time.monotonic() - self._written_seconds > _WRITE_SECONDS:
            write(self._directory)
            self._written_seconds = time.monotonic()

    def on_train_end(self, logs=None):
        """Gives the model its own function again."""
        if self.model.train_function is self._timed:
            self.model.train_function = self._untimed

    def _function(self, function: Callable) -> Callable:
        part = FIRST_STEPS

        def timed(iterator):
            nonlocal part
            with self._watch.part(part):
                logs = function(iterator)
                for value in keras.tree.flatten(logs)[:1]:
                    keras.ops.convert_to_numpy(value)  # which waits for a GPU
            self._watch.move(WAITING, sum(self._waits), source=part)
            self._waits.clear()
            part = STEPS
            return logs

        timed.untimed = function
        return timed


class _Trace(keras.callbacks.Callback):
    """Traces a few steps in the middle of the first epoch, for TensorBoard."""

    def __init__(self, folder: Path):
        super().__init__()
        self._folder = folder
        self._is_done = (folder / "plugins" / "profile").is_dir()  # by the process before it
        self._steps = 0
        self._began = self._step = None

    def on_train_batch_begin(self, batch, logs=None):
        """Starts the trace; the first step is not in it, because it is traced by TensorFlow."""
        middle = (self.params.get("steps") or 0) // (2 * self.model.steps_per_execution)
        if not self._is_done and self._began is None and self._steps >= max(1, middle):
            with stopwatch.part(TRACE), files.surface_write_errors(self._folder):
                _start(self._folder)
            self._began = self._steps
        if self._began is not None:
            self._step = tf.profiler.experimental.Trace("train", step_num=self._steps, _r=1)
            self._step.__enter__()

    def on_train_batch_end(self, batch, logs=None):
        """Ends the trace after a few steps."""
        self._steps += 1
        if self._began is not None:
            self._step.__exit__(None, None, None)
            if self._steps - self._began == _TRACED_STEPS:
                self._end()

    def on_test_begin(self, logs=None):
        """Ends the trace, which has no validation."""
        self._end()

    def on_epoch_end(self, epoch, logs=None):
        """Ends the trace, which has steps of one epoch."""
        self._end()

    def _end(self) -> None:
        if self._began is not None:
            with stopwatch.part(TRACE), files.surface_write_errors(self._folder):
                tf.profiler.experimental.stop()
            self._began, self._is_done = None, True


def _start(folder: Path) -> None:
    """Starts the profiler; one that an interrupted training has left running is stopped."""
    with contextlib.suppress(tf.errors.UnavailableError):
        tf.profiler.experimental.stop(save=False)
    tf.profiler.experimental.start(str(folder))
