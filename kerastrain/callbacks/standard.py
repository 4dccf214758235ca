"""The callbacks that nearly every training wants, in the one right order.

Takes a run directory; gives a list for `fit(callbacks=...)`. Must not know of configs or models.
"""

import os
from pathlib import Path

import keras

from kerastrain import distribute
from kerastrain.callbacks.average_weights import AverageWeights
from kerastrain.callbacks.best_checkpoint import BestCheckpoint
from kerastrain.callbacks.history_file import HistoryFile
from kerastrain.callbacks.monitor import direction
from kerastrain.callbacks.progress import Progress
from kerastrain.callbacks.reduce_on_plateau import ReduceOnPlateau
from kerastrain.errors import InputError
from kerastrain.system import files


def standard(
    run_directory: str | os.PathLike,
    *,
    phase: str = "fit",
    monitor: str = "val_loss",
    mode: str | None = None,
    early_stopping_epochs: int | None = None,
    plateau_epochs: int | None = None,
    plateau_factor: float = 0.5,
    tensorboard: bool = True,
    progress: bool = True,
) -> list[keras.callbacks.Callback]:
    """History, best checkpoint, early stopping, TensorBoard and a progress display for one phase of a run.

    Make a new list for each phase; the history file goes on where the phase before left it. Written are
    `history.csv`, `checkpoints/best_<phase>.keras` and `tensorboard/<phase>/` in the run directory. When `fit` ends,
    the model holds the weights of the best epoch; if the optimizer keeps a moving average, that of the best epoch. Of
    several workers of a cluster the chief alone writes and speaks.

    Args:
        run_directory: path of the folder; made if it is missing.
        phase: str, the name of this phase of the run, such as "head" or "fine-tuning"; part of file names.
        monitor: str, the logged value by which epochs are judged. "val_loss" needs validation data in `fit`.
        mode: "min", "max", or None to tell it by the name of the value.
        early_stopping_epochs: int > 0, epochs without a better value after which the training stops; None for never.
        plateau_epochs: int > 0, epochs without a better value after which the learning rate drops; None for never.
        plateau_factor: float in (0, 1), the learning rate after such a drop over the one before it.
        tensorboard: bool, whether to write TensorBoard's event files.
        progress: bool, whether to show `Progress`; with False Keras's own bar comes unless `fit(verbose=0)`.

    Returns:
        list of keras.callbacks.Callback.

    Raises:
        InputError: a number outside its range, a mode that cannot be told, or a phase that is no file name; after the
            first epoch, also if `monitor` was not logged.
        WriteError: in `fit`: the disk is full or read-only.

    Example:
        >>> model.fit(train, validation_data=validation, epochs=10,
        ...           callbacks=standard("runs/flowers", early_stopping_epochs=3))  # doctest: +SKIP
    """
    if not phase or Path(phase).name != phase:
        raise InputError(f"`phase` must be usable in a file name. Received: phase={phase!r}.")
    mode = direction(monitor, mode)
    directory = Path(run_directory)
    # The average goes in before anything is saved; the line is printed when all else is done.
    callbacks = [
        AverageWeights(),
        HistoryFile(directory / "history.csv", phase=phase),
        BestCheckpoint(directory / "checkpoints" / f"best_{phase}.keras", monitor=monitor, mode=mode),
    ]
    if plateau_epochs is not None:
        callbacks.append(
            ReduceOnPlateau(monitor=monitor, mode=mode, patience_epochs=plateau_epochs, drop_factor=plateau_factor)
        )
    if early_stopping_epochs is not None:
        if early_stopping_epochs < 1:
            raise InputError(
                f"`early_stopping_epochs` must be at least 1. Received: early_stopping_epochs={early_stopping_epochs}."
            )
        callbacks.append(keras.callbacks.EarlyStopping(monitor, patience=early_stopping_epochs, mode=mode))
    if tensorboard and distribute.is_chief():
        callbacks.append(_TensorBoard(directory / "tensorboard" / phase, write_graph=False))
    if progress and distribute.is_chief():
        callbacks.append(Progress(phase="" if phase == "fit" else phase))
    return callbacks


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras's, which tells in one sentence what kept it from writing, at the moments at which it opens, writes and flushes."""

    def on_train_begin(self, logs=None):
        with files.surface_write_errors(self.log_dir):
            super().on_train_begin(logs)

    def on_test_begin(self, logs=None):
        with files.surface_write_errors(self.log_dir):
            super().on_test_begin(logs)

    def on_test_end(self, logs=None):
        with files.surface_write_errors(self.log_dir):
            super().on_test_end(logs)

    def on_epoch_end(self, epoch, logs=None):
        with files.surface_write_errors(self.log_dir):
            super().on_epoch_end(epoch, logs)

    def on_train_end(self, logs=None):
        with files.surface_write_errors(self.log_dir):
            super().on_train_end(logs)
