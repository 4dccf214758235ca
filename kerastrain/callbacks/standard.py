"""The callbacks that most trainings need, in the order that works.

Takes a run directory; returns a list for `fit(callbacks=...)`. Must not know of configs or models.
"""

import os
from pathlib import Path

import keras

from kerastrain import distribute
from kerastrain.callbacks.average_weights import AverageWeights
from kerastrain.callbacks.best_checkpoint import BestCheckpoint
from kerastrain.callbacks.early_stopping import EarlyStopping
from kerastrain.callbacks.epoch_measures import EpochMeasures
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
    monitor: str | None = "val_loss",
    mode: str | None = None,
    measures: EpochMeasures | None = None,
    early_stopping_epochs: int | None = None,
    plateau_epochs: int | None = None,
    plateau_factor: float = 0.5,
    tensorboard: bool = True,
    progress: bool = True,
) -> list[keras.callbacks.Callback]:
    """History, best checkpoint, early stopping, TensorBoard and a progress display for one phase of a run.

    Make a new list for each phase; the history file continues the history of the earlier phases. The callbacks write
    `history.csv`, `checkpoints/best_<phase>.keras` and `tensorboard/<phase>/` in the run directory. When `fit` ends, the
    model has the weights of the best epoch; if the optimizer keeps a moving average, the average of the best epoch. In a
    cluster of several workers only the chief writes and prints.

    Args:
        run_directory: path of the folder; created if it does not exist.
        phase: str, the name of this phase of the run, such as "head" or "fine-tuning"; part of file names.
        monitor: str, the logged value to compare epochs by. "val_loss" needs validation data in `fit`. None compares none: the
            model ends with the weights of the last epoch, and nothing is written to `checkpoints/`.
        mode: "min", "max", or None to infer it from the name of the value.
        measures: EpochMeasures that logs what Keras does not compute, such as for `monitor`; None for none.
        early_stopping_epochs: int >= 1, epochs without improvement before the training stops; None for never.
        plateau_epochs: int >= 1, epochs without improvement before the learning rate drops; None for never.
        plateau_factor: float in (0, 1), the factor of each drop of the learning rate.
        tensorboard: bool, whether to write TensorBoard's event files.
        progress: bool, whether to show `Progress`; with False, Keras shows its own bar unless `fit(verbose=0)`.

    Returns:
        list of keras.callbacks.Callback.

    Raises:
        InputError: a number is out of range, the mode cannot be inferred, or the phase is not usable in a file name;
            after the first epoch, also if `monitor` was not logged.
        WriteError: in `fit`: the disk is full or read-only.

    Example:
        >>> model.fit(train, validation_data=validation, epochs=10,
        ...           callbacks=standard("runs/flowers", early_stopping_epochs=3))  # doctest: +SKIP
    """
    if not phase or Path(phase).name != phase:
        raise InputError(f"`phase` must be usable in a file name. Received: phase={phase!r}.")
    if monitor is None and (early_stopping_epochs or plateau_epochs):
        raise InputError(
            "`early_stopping_epochs` and `plateau_epochs` need a `monitor` that epochs are compared by. Received: None."
        )
    directory = Path(run_directory)
    # `AverageWeights` comes before everything that saves the model; `Progress` prints when all others are done.
    callbacks = [AverageWeights(), *([] if measures is None else [measures])]
    callbacks.append(HistoryFile(directory / "history.csv", phase=phase))
    if monitor is not None:
        mode = direction(monitor, mode)
        path = directory / "checkpoints" / f"best_{phase}.keras"
        callbacks.append(BestCheckpoint(path, monitor=monitor, mode=mode))
    if plateau_epochs is not None:
        callbacks.append(
            ReduceOnPlateau(monitor=monitor, mode=mode, patience_epochs=plateau_epochs, drop_factor=plateau_factor)
        )
    if early_stopping_epochs is not None:
        if early_stopping_epochs < 1:
            raise InputError(
                f"`early_stopping_epochs` must be at least 1. Received: early_stopping_epochs={early_stopping_epochs}."
            )
        callbacks.append(EarlyStopping(monitor, patience=early_stopping_epochs, mode=mode))
    if tensorboard and distribute.is_chief():
        callbacks.append(_TensorBoard(directory / "tensorboard" / phase, write_graph=False))
    if progress and distribute.is_chief():
        callbacks.append(Progress(phase="" if phase == "fit" else phase))
    return callbacks


class _TensorBoard(keras.callbacks.TensorBoard):
    """Keras's TensorBoard, with a one-sentence WriteError when opening, writing or flushing its files fails."""

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
