"""The best model of a training: saved whenever it improves, restored at the end.

Takes one logged value to compare epochs by; writes a file that is complete at every moment. Must not stop the training.
"""

import os
from pathlib import Path

import keras

from kerastrain import distribute, saving
from kerastrain.callbacks.monitor import direction, is_better, monitored
from kerastrain.distribute import collectives
from kerastrain.errors import InputError
from kerastrain.system import files, stopwatch


class BestCheckpoint(keras.callbacks.Callback):
    """Saves the model after each epoch that is the best so far, and restores the best weights when the training ends.

    Keras's ModelCheckpoint overwrites the good file in place: a process killed while it writes loses it. This callback
    writes a new file and then renames it. NaN never counts as the best value; if every epoch logs NaN, nothing is
    saved or restored. With several workers the chief writes and all read.

    Args:
        path: path ending in ".keras" (the whole model with its optimizer) or ".weights.h5" (weights only).
        monitor: str, the logged value to compare epochs by.
        mode: "min", "max", or None to infer it from the name.
        restore: bool, whether the model gets the best weights back when the training ends.

    Raises:
        InputError: the path has another suffix, or the mode cannot be inferred; at the end of the first epoch, also if
            the monitored value was not logged.
    """

    def __init__(
        self, path: str | os.PathLike, *, monitor: str = "val_loss", mode: str | None = None, restore: bool = True
    ):
        super().__init__()
        self.path = Path(path)
        if not self.path.name.endswith((".keras", ".weights.h5")):
            raise InputError(f"the path of a checkpoint must end in '.keras' or '.weights.h5'. Received: {path}.")
        self.monitor = monitor
        self.mode = direction(monitor, mode)
        self.restore = restore
        self.best: float | None = None
        self.best_epoch: int | None = None

    def on_train_begin(self, logs=None):
        """Resets the best value."""
        self.best = None
        self.best_epoch = None

    @stopwatch.timed("checkpoints")
    def on_epoch_end(self, epoch, logs=None):
        """Saves the model if this epoch is the best so far."""
        value = monitored(self.monitor, logs)
        if not is_better(value, self.best, self.mode):
            return
        if distribute.is_chief():
            with files.atomic(self.path) as temporary:
                if self.path.name.endswith(".keras"):
                    self.model.save(temporary)
                else:
                    self.model.save_weights(temporary)
        self.best = value
        self.best_epoch = epoch

    def saved_state(self) -> dict:
        """State for a checkpoint: the best value, its epoch and its file."""
        file = self.path if self.best is not None else None
        return {"best": self.best, "best_epoch": self.best_epoch, "file": file}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned; a file that a later epoch wrote is replaced.

        Args:
            state: dict of `saved_state`, its `file` a Path inside the checkpoint.
        """
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        if (
            distribute.is_chief()
            and self.best is not None
            and not (self.path.exists() and self.path.samefile(state["file"]))
        ):
            with files.atomic(self.path) as temporary:
                files.link(state["file"], temporary)

    def on_train_end(self, logs=None):
        """Restores the best weights."""
        if self.restore and self.best is not None:
            collectives.barrier(self.model.distribute_strategy)  # The chief may still be writing the file.
            saving.load_weights(self.model, self.path)
