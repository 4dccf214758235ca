"""Checkpoints of the whole training state, from which a later process resumes bit for bit.

Takes a folder and an interval; writes numbered checkpoints there and reports where `fit` has to resume. Must not read
data, and must not know of phases or configs.

Keras's `fit` can start at an epoch but not within one. This callback relies on two properties of `fit` to resume in the
middle of an epoch. When the remaining steps of the resumed epoch are done, it sets `model.stop_training`, which ends the
loop over the batches; validation and `on_epoch_end` follow as after any epoch, and since the flag is reset there, so does
the next epoch. And the metrics, which `fit` resets at the start of an epoch, are restored before its first step.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import checkpoints, durations
from kerastrain.callbacks import callback_state, nonfinite_search
from kerastrain.callbacks.epoch_report import EpochReport, Paused
from kerastrain.callbacks.nonfinite_search import NonFiniteError
from kerastrain.checkpoints import Position
from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.system import signals, stopwatch

# A checkpoint that takes t seconds is followed by at least 50 t without one: 2 % of the time, whatever the disk.
_MIN_SECONDS_PER_WRITE_SECOND = 50
_END_OF_EPOCH = "the rest of a resumed epoch is done"


class Checkpoints(keras.callbacks.Callback):
    """Saves the whole state of a training, and resumes from the newest complete checkpoint.

    Weights, optimizer, learning rate, seeds, metrics, history and the state of the other callbacks end bit-equal to those
    of a training that was never interrupted, even from the middle of an epoch, if the data of a step depends only on the
    number of the step, as with `kerastrain.data.batches`. (For a `tf.data.Dataset` of one epoch without shuffling,
    `dataset.repeat(epochs).skip(start.step)` is such data.)

    Within `kerastrain.system.signals.graceful()`, SIGTERM, SIGINT and SIGUSR1 save the state before the next step and end
    the process with exit code 75. A signal during validation takes effect when the validation is over, before the next
    step.

    Several workers that train together agree before each step whether to save and whether to stop, so a signal to one of
    them stops all after the same step. Only the chief writes; all workers must see the folder, because all resume from it.

    Args:
        directory: path of the folder of checkpoints. Training resumes from the newest checkpoint in it.
        every: str, the interval: "500 steps", "1 epochs", "10 minutes". An interval in time grows where a checkpoint takes
            long to write, so that checkpoints take at most 2 % of the time. One is always written at the start.
        keep: int >= 1, the number of checkpoints to keep; older ones are deleted.
        phase: str, the name of this stretch of training; checkpoints of another phase are ignored.
        report: EpochReport that may pause the training after an epoch, or None.

    Raises:
        InputError: `every` or `keep` is out of range. In `fit`: it does not start at `start`, the number of steps is
            unknown or has changed, or model, optimizer or metrics differ from those of the checkpoint.
        WriteError: a checkpoint cannot be written; earlier checkpoints remain complete.
        NonFiniteError: a weight is NaN or infinite; such a state is not saved.
        Stopped: a signal arrived; the state is saved.
        Paused: `report` says to pause after this epoch; the state is saved.

    Example:
        >>> saving = Checkpoints("run/checkpoints", every="500 steps")  # doctest: +SKIP
        >>> model.fit(
        ...     kerastrain.data.batches(train, 32, shuffle=True, epochs=10, start_step=saving.start.step),
        ...     epochs=10, initial_epoch=saving.start.epoch, steps_per_epoch=steps, shuffle=False,
        ...     callbacks=saving.before([keras.callbacks.EarlyStopping(patience=3)]),
        ... )  # doctest: +SKIP
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        *,
        every: str = "2 minutes",
        keep: int = 3,
        phase: str = "fit",
        report: EpochReport | None = None,
    ):
        super().__init__()
        if not keep >= 1:
            raise InputError(f"`keep` must be at least 1. Received: keep={keep}.")
        self.directory = Path(directory)
        self.every = durations.parse_interval(every)
        self.keep = keep
        self.phase = phase
        self.report = report
        self._others: list[keras.callbacks.Callback] = []
        self._stored, self.start = self._newest()

    def before(self, callbacks: Sequence[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """The list for `fit`: this callback, then `callbacks`, whose state becomes part of the checkpoints.

        Args:
            callbacks: sequence of keras.callbacks.Callback. The state of kerastrain's callbacks and of Keras's
                EarlyStopping, ReduceLROnPlateau, ModelCheckpoint and SwapEMAWeights is saved; see
                `callbacks.callback_state` for your own callbacks.

        Returns:
            list of keras.callbacks.Callback; `report` comes last, when all others have run.
        """
        self._others = list(callbacks)
        return [self, *self._others, *([] if self.report is None else [self.report])]

    def on_train_begin(self, logs=None):
        """Finds the position to resume from."""
        self._stored, self.start = self._newest()
        self._roll_backs = 0 if self._stored is None else self._stored.outline["roll_backs"]
        self._steps = self.params.get("steps")
        self._check_steps()
        self._begun = False
        self._metrics = None
        self._skipped = self.start.epoch_step
        self._write_seconds = 0.0
        signals.hold()

    def on_epoch_begin(self, epoch, logs=None):
        """Restores the state before the first epoch; saves a checkpoint if one is due."""
        if not self._begun:
            self._begin(epoch)
        self._before_step(Position(self.phase, epoch, self._skipped, self._steps))

    def on_train_batch_begin(self, batch, logs=None):
        """Restores the metrics before the first step of a resumed epoch; saves a checkpoint if one is due."""
        if self._metrics is not None:
            checkpoints.restore_metrics(self.model, self._metrics)
            self._metrics = None
        if batch:
            self._before_step(Position(self.phase, self._epoch, self._skipped + batch, self._steps))

    def on_train_batch_end(self, batch, logs=None):
        """Ends a resumed epoch when its remaining steps are done."""
        if self._skipped and self._skipped + batch + 1 >= self._steps:
            self.model.stop_training = _END_OF_EPOCH

    def on_epoch_end(self, epoch, logs=None):
        """Lets training continue with the epoch after a resumed one."""
        self._skipped = 0
        if self.model.stop_training == _END_OF_EPOCH:
            self.model.stop_training = False

    def on_train_end(self, logs=None):
        """Stops holding signals back: no further step could save the state."""
        signals.release()

    def _newest(self) -> tuple[checkpoints.Stored | None, Position]:
        stored = checkpoints.latest(self.directory)
        position = Position(self.phase) if stored is None else Position(**stored.outline["position"])
        return (stored, position) if position.phase == self.phase else (None, Position(self.phase))

    def _begin(self, epoch: int) -> None:
        self._begun = True
        self._epoch = epoch
        self._saved_step, self._saved_seconds = None, time.monotonic()
        if self._stored is None:
            return
        if epoch != self.start.epoch:
            raise InputError(
                f"`fit` must resume at {self.start}, the position of the checkpoint {self._stored.directory}. Received: "
                f"initial_epoch={epoch}. Pass `initial_epoch=checkpoints.start.epoch` and data from "
                "`checkpoints.start.step` on, or choose another folder."
            )
        state = self._stored.read()
        checkpoints.restore(self.model, state["model"])
        callback_state.restore([*self._others, self.model.history], state["callbacks"])
        self._metrics = state["model"] if self._skipped else None
        self._stored = None
        self._saved_step = self.start.step

    def _before_step(self, position: Position) -> None:
        self._epoch = position.epoch
        strategy = self.model.distribute_strategy
        is_chief = collectives.worker_index(strategy) == 0
        stop_signal, due = collectives.all_reduce_max(
            strategy, [signals.pending(), is_chief and self._is_due(position)]
        )
        pause_epoch = self.report and self.report.pause_epoch  # the same in all workers
        if position.step != self._saved_step and (stop_signal or due or pause_epoch):
            self._save(position, is_chief=is_chief)
        if stop_signal:
            raise signals.Stopped(stop_signal, str(position))
        if pause_epoch:
            self.report.pause_epoch = None
            signals.release()
            raise Paused(pause_epoch, is_saved=True)

    def _is_due(self, position: Position) -> bool:
        if self._saved_step is None:
            return True
        seconds = self.every.seconds
        if seconds is None:
            steps = self.every.steps(self._steps)
            return position.step // steps > self._saved_step // steps
        waited = time.monotonic() - self._saved_seconds
        return waited >= max(seconds, _MIN_SECONDS_PER_WRITE_SECOND * self._write_seconds)

    @stopwatch.timed("checkpoints")
    def _save(self, position: Position, *, is_chief: bool) -> None:
        began = time.monotonic()
        if weight := nonfinite_search.nonfinite_weight(self.model):
            message = f"the weight {weight!r} is not finite before {position}."
            raise NonFiniteError(position.step - 1, message, weight=weight)
        state = {
            "position": vars(position),
            "roll_backs": self._roll_backs,
            "model": checkpoints.capture(self.model),
            "callbacks": callback_state.saved([*self._others, self.model.history]),
        }
        if is_chief:
            checkpoints.write(self.directory, state, keep=self.keep)
        collectives.barrier(self.model.distribute_strategy)
        self._saved_step, self._saved_seconds = position.step, time.monotonic()
        self._write_seconds = self._saved_seconds - began

    def _check_steps(self) -> None:
        if not self._steps:
            raise InputError(
                "checkpoints need to know the number of steps in an epoch. Received: data of unknown length. Pass "
                "`steps_per_epoch` to `fit`."
            )
        if self._steps % self.model.steps_per_execution:
            raise InputError(
                f"`steps_per_execution` must divide the steps of an epoch, or Keras reads into the next one. Received: "
                f"{self.model.steps_per_execution} for {self._steps} steps."
            )
        if self._stored is not None and self.start.steps_per_epoch != self._steps:
            raise InputError(
                f"a training must resume with the data it started with. Received: {self._steps} steps per epoch; the "
                f"checkpoint {self._stored.directory} was written with {self.start.steps_per_epoch}. Pass the same data, "
                "batch size and `steps_per_epoch` to `fit`, or choose another folder."
            )
