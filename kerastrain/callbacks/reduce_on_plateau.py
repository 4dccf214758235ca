"""A lower learning rate when the training stops improving.

Takes one logged value to monitor and an optimizer of `kerastrain.optimizers`. Must not replace its schedule.
"""

import keras

from kerastrain.callbacks.monitor import direction, inner_optimizer, is_better, monitored
from kerastrain.errors import InputError


class ReduceOnPlateau(keras.callbacks.Callback):
    """Multiplies all learning rates by `drop_factor` after `patience_epochs` epochs without improvement.

    Keras's ReduceLROnPlateau rejects schedules. This callback lowers the optimizer's `rate_factor`, so it works on top
    of any schedule and warm-up, and the factor is saved with the optimizer.

    Args:
        monitor: str, the logged value to monitor.
        mode: "min", "max", or None to infer it from the name.
        drop_factor: float in (0, 1), the factor of each drop.
        patience_epochs: int >= 1, epochs without improvement before a drop.
        min_change: float >= 0; a change must be larger than this to count as an improvement.
        lowest_fraction: float in [0, 1), the lowest rate as a fraction of the schedule's rate.

    Raises:
        InputError: a number is out of range, or the mode cannot be inferred; at the start of a training, also if the
            optimizer has no `rate_factor`.
    """

    def __init__(
        self,
        *,
        monitor: str = "val_loss",
        mode: str | None = None,
        drop_factor: float = 0.5,
        patience_epochs: int = 5,
        min_change: float = 0.0,
        lowest_fraction: float = 0.0,
    ):
        super().__init__()
        if not 0 < drop_factor < 1:
            raise InputError(f"`drop_factor` must lie between 0 and 1. Received: drop_factor={drop_factor}.")
        if not patience_epochs >= 1:
            raise InputError(f"`patience_epochs` must be at least 1. Received: patience_epochs={patience_epochs}.")
        if not min_change >= 0:
            raise InputError(f"`min_change` must be at least 0. Received: min_change={min_change}.")
        if not 0 <= lowest_fraction < 1:
            raise InputError(f"`lowest_fraction` must lie in [0, 1). Received: lowest_fraction={lowest_fraction}.")
        self.monitor = monitor
        self.mode = direction(monitor, mode)
        self.drop_factor = drop_factor
        self.patience_epochs = patience_epochs
        self.min_change = min_change
        self.lowest_fraction = lowest_fraction

    def on_train_begin(self, logs=None):
        """Resets the patience; the optimizer keeps its factor."""
        self._best = None
        self._wait_epochs = 0
        if not hasattr(inner_optimizer(self.model), "rate_factor"):
            raise InputError(
                "`ReduceOnPlateau` needs an optimizer made by `kerastrain.optimizers.make`. "
                f"Received: {type(inner_optimizer(self.model)).__qualname__}."
            )

    def saved_state(self) -> dict:
        """State for a checkpoint: the best value and the epochs since; the factor is in the optimizer's state."""
        return {"best": self._best, "wait_epochs": self._wait_epochs}

    def restore_state(self, state: dict) -> None:
        """Restores the state that `saved_state` returned.

        Args:
            state: dict of `saved_state`.
        """
        self._best, self._wait_epochs = state["best"], state["wait_epochs"]

    def on_epoch_end(self, epoch, logs=None):
        """Counts the epochs without improvement, and lowers the rate when the patience is over."""
        value = monitored(self.monitor, logs)
        if is_better(value, self._best, self.mode, self.min_change):
            self._best = value
            self._wait_epochs = 0
            return
        self._wait_epochs += 1
        if self._wait_epochs >= self.patience_epochs:
            self._wait_epochs = 0
            factor = inner_optimizer(self.model).rate_factor
            factor.assign(max(float(factor.numpy()) * self.drop_factor, self.lowest_fraction))
