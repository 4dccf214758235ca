"""The state of a training, kept on disk so that a later process goes on from it bit for bit.

Takes a folder and how often; gives numbered checkpoints there, and the place where `fit` has to go on. Must not read
data, and must not know of phases or configs.

Keras's `fit` can begin at an epoch and not within one. Two of its promises make up for that. In the epoch that was
begun before, `model.stop_training` ends the loop over the batches when the rest of its steps is done; validation and
`on_epoch_end` follow as after any epoch, and since the mark is taken back there, so does the next epoch. And what
`fit` resets at the start of an epoch, the metrics, is put back before its first step.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import keras

from kerastrain import checkpoints, durations
from kerastrain.callbacks import callback_state, nonfinite_search
from kerastrain.callbacks.nonfinite_search import NonFiniteError
from kerastrain.checkpoints import Position
from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.system import signals

# A checkpoint that takes t seconds is followed by at least 50 t without one: 2 % of the time, whatever the disk.
_LEAST_SECONDS_PER_WRITE_SECOND = 50
_END_OF_EPOCH = "the rest of a resumed epoch is done"


class Checkpoints(keras.callbacks.Callback):
    """Saves the whole state of a training, and goes on from the last whole checkpoint.

    Weights, optimizer, learning rate, seeds, metrics, history and what the other callbacks remember come out bit-equal
    to those of a training that was never interrupted, in the middle of an epoch too, if the data at a step depend on
    the step alone, as those of `kerastrain.data.batches` do. (Of a `tf.data.Dataset` of one epoch without shuffling,
    `data.repeat(epochs).skip(start.step)` is such data.)

    Within `kerastrain.system.signals.graceful()` SIGTERM, SIGINT and SIGUSR1 save the state before the next step and end the
    process with exit code 75. One that comes in the validation waits for its end, where the next step is.

    Where several workers train together, they agree before each step whether to save and whether to stop, so that a signal
    to one stops all after the same step. The chief alone writes; all must see its folder, for all go on from it.

    Args:
        directory: path of the folder of the checkpoints. What is in it is gone on with.
        every: str, how often: "500 steps", "1 epochs", "10 minutes". By the clock, a checkpoint that takes long is
            made more seldom, so that all take at most 2 % of the time. One is always made at the start.
        keep: int > 0, checkpoints that stay; the oldest go.
        phase: str, the name of this stretch of training; checkpoints of another one are not gone on with.

    Raises:
        InputError: `every` or `keep` is out of range. In `fit`: it does not begin at `start`, its steps are not known
            or have changed, or model, optimizer or metrics are not those of the checkpoint.
        WriteError: a checkpoint cannot be written; those before it are whole.
        NonFiniteError: a weight is NaN or infinite; such a state is not saved.
        Stopped: a signal came; the state is saved.

    Example:
        >>> saving = Checkpoints("run/checkpoints", every="500 steps")  # doctest: +SKIP
        >>> model.fit(
        ...     kerastrain.data.batches(train, 32, shuffle=True, epochs=10, start_step=saving.start.step),
        ...     epochs=10, initial_epoch=saving.start.epoch, steps_per_epoch=steps, shuffle=False,
        ...     callbacks=saving.before([keras.callbacks.EarlyStopping(patience=3)]),
        ... )  # doctest: +SKIP
    """

    def __init__(self, directory: str | os.PathLike, *, every: str = "2 minutes", keep: int = 3, phase: str = "fit"):
        super().__init__()
        if not keep >= 1:
            raise InputError(f"`keep` must be at least 1. Received: keep={keep}.")
        self.directory = Path(directory)
        self.every = durations.parse_interval(every)
        self.keep = keep
        self.phase = phase
        self._others: list[keras.callbacks.Callback] = []
        self._stored, self.start = self._newest()

    def before(self, callbacks: Sequence[keras.callbacks.Callback]) -> list[keras.callbacks.Callback]:
        """The list for `fit`: this callback before `callbacks`, whose memories become part of the state.

        Args:
            callbacks: sequence of keras.callbacks.Callback. Those of kerastrain and Keras's EarlyStopping,
                ReduceLROnPlateau, ModelCheckpoint and SwapEMAWeights are remembered; see `callbacks.memories` for your
                own.

        Returns:
            list of keras.callbacks.Callback.
        """
        self._others = list(callbacks)
        return [self, *self._others]

    def on_train_begin(self, logs=None):
        """Looks for the place to go on from."""
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
        """Before the first epoch puts the state back; before any, saves it if it is time."""
        if not self._begun:
            self._begin(epoch)
        self._at(Position(self.phase, epoch, self._skipped, self._steps))

    def on_train_batch_begin(self, batch, logs=None):
        """Saves the state if it is time; before the first step of a resumed epoch, its metrics go on."""
        if self._metrics is not None:
            checkpoints.restore_metrics(self.model, self._metrics)
            self._metrics = None
        if batch:
            self._at(Position(self.phase, self._epoch, self._skipped + batch, self._steps))

    def on_train_batch_end(self, batch, logs=None):
        """Ends an epoch that was begun before when its steps are done."""
        if self._skipped and self._skipped + batch + 1 >= self._steps:
            self.model.stop_training = _END_OF_EPOCH

    def on_epoch_end(self, epoch, logs=None):
        """Lets the epochs after a resumed one come."""
        self._skipped = 0
        if self.model.stop_training == _END_OF_EPOCH:
            self.model.stop_training = False

    def on_train_end(self, logs=None):
        """Steps are over, and with them the moments at which a signal could save."""
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
                f"`fit` must go on where the checkpoint {self._stored.directory} stands, at {self.start}. Received: "
                f"initial_epoch={epoch}. Give it `initial_epoch=checkpoints.start.epoch` and data from "
                "`checkpoints.start.step` on, or choose another folder."
            )
        state = self._stored.read()
        checkpoints.restore(self.model, state["model"])
        callback_state.restore([*self._others, self.model.history], state["callbacks"])
        self._metrics = state["model"] if self._skipped else None
        self._stored = None
        self._saved_step = self.start.step

    def _at(self, position: Position) -> None:
        self._epoch = position.epoch
        strategy = self.model.distribute_strategy
        is_chief = collectives.worker_index(strategy) == 0
        asked, due = collectives.all_reduce_max(strategy, [signals.pending(), is_chief and self._is_due(position)])
        if position.step != self._saved_step and (asked or due):
            self._save(position, is_chief=is_chief)
        if asked:
            raise signals.Stopped(asked, str(position))

    def _is_due(self, position: Position) -> bool:
        if self._saved_step is None:
            return True
        seconds = self.every.seconds
        if seconds is None:
            steps = self.every.steps(self._steps)
            return position.step // steps > self._saved_step // steps
        waited = time.monotonic() - self._saved_seconds
        return waited >= max(seconds, _LEAST_SECONDS_PER_WRITE_SECOND * self._write_seconds)

    def _save(self, position: Position, *, is_chief: bool) -> None:
        began = time.monotonic()
        if weight := nonfinite_search.infinite_weight(self.model):
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
                "checkpoints need to know how many steps an epoch has. Received: data of unknown length. Give `fit` "
                "`steps_per_epoch`."
            )
        if self._steps % self.model.steps_per_execution:
            raise InputError(
                f"`steps_per_execution` must divide the steps of an epoch, or Keras reads into the next one. Received: "
                f"{self.model.steps_per_execution} for {self._steps} steps."
            )
        if self._stored is not None and self.start.steps_per_epoch != self._steps:
            raise InputError(
                f"a training goes on with the data that it was begun with. Received: {self._steps} steps per epoch, and "
                f"the checkpoint {self._stored.directory} was made with {self.start.steps_per_epoch}. Give `fit` the "
                "same data and batch size, and `steps_per_epoch`, or choose another folder."
            )
