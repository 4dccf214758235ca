"""Ends a phase that makes a model worse than it was.

Takes one logged value and the value to reach; stops the training. Must not save or restore weights.
"""

import logging

import keras

from kerastrain import distribute
from kerastrain.callbacks.monitor import direction, monitored
from kerastrain.errors import counted

logger = logging.getLogger("kerastrain")


class EndWorsePhase(keras.callbacks.Callback):
    """Stops the training after `patience_epochs` epochs in a row that are worse than the result of an earlier phase.

    Keras's EarlyStopping with `baseline` also stops a training that has passed the baseline and then improves slowly.

    Args:
        baseline: float, the best value of the earlier phase; NaN compares with nothing and never stops.
        patience_epochs: int >= 1, epochs in a row that may be worse.
        phase: str, the name of the earlier phase, for the log.
        monitor: str, the logged value to compare.
        mode: "min", "max", or None to infer it from the name.

    Raises:
        InputError: the mode cannot be inferred; at the end of the first epoch, also if the value was not logged.
    """

    def __init__(
        self, baseline: float, *, patience_epochs: int, phase: str, monitor: str = "val_loss", mode: str | None = None
    ):
        super().__init__()
        self.baseline = baseline
        self.patience_epochs = patience_epochs
        self.phase = phase
        self.monitor = monitor
        self.mode = direction(monitor, mode)
        self._worse_epochs = 0

    def on_train_begin(self, logs=None):
        """Resets the count."""
        self._worse_epochs = 0

    def on_epoch_end(self, epoch, logs=None):
        """Counts the epoch if it is worse, NaN included, and stops the training when the patience is over."""
        value = monitored(self.monitor, logs)
        if self.baseline != self.baseline:
            return
        is_as_good = value >= self.baseline if self.mode == "max" else value <= self.baseline
        self._worse_epochs = 0 if is_as_good else self._worse_epochs + 1
        if self._worse_epochs >= self.patience_epochs:
            self.model.stop_training = True
            if distribute.is_chief():
                logger.info(
                    "ended after epoch %d: %s has been worse than in phase %s (%.4g) for %s",
                    *(epoch + 1, self.monitor, self.phase, self.baseline, counted(self._worse_epochs, "epochs")),
                )

    def saved_state(self) -> dict:
        """State for a checkpoint: the number of worse epochs in a row."""
        return {"worse_epochs": self._worse_epochs}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned.

        Args:
            state: dict of `saved_state`.
        """
        self._worse_epochs = state["worse_epochs"]
