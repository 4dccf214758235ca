"""The learning rate lowered when the training no longer gets better.

Takes one logged value to judge by and an optimizer of `kerastrain.optimizers`. Must not replace its schedule.
"""

import keras

from kerastrain.callbacks.monitor import direction, inner_optimizer, is_better, monitored
from kerastrain.errors import InputError


class ReduceOnPlateau(keras.callbacks.Callback):
    """Multiplies all learning rates by `drop_factor` after `patience_epochs` epochs without a better value.

    Keras's ReduceLROnPlateau refuses a schedule. This one turns the optimizer's `rate_factor`, so it works on top of
    any schedule and warm-up, and the factor is saved with the optimizer.

    Args:
        monitor: str, the logged value to judge by.
        mode: "min", "max", or None to tell it by the name.
        drop_factor: float in (0, 1), the rate after a drop over the rate before it.
        patience_epochs: int > 0, epochs without a better value before a drop.
        min_change: float >= 0, the least change that counts as better.
        lowest_fraction: float in [0, 1), the share of the schedule's rate below which it does not drop.

    Raises:
        InputError: a number lies outside its range, or the mode cannot be told; at the start of a training also if
            the optimizer has no `rate_factor`.
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
        """Starts to wait anew; the optimizer keeps the factor it has."""
        self._best = None
        self._wait_epochs = 0
        if not hasattr(inner_optimizer(self.model), "rate_factor"):
            raise InputError(
                "`ReduceOnPlateau` needs an optimizer made by `kerastrain.optimizers.make`. "
                f"Received: {type(inner_optimizer(self.model)).__qualname__}."
            )

    def saved_state(self) -> dict:
        """What a resumed training needs; the factor itself is in the optimizer."""
        return {"best": self._best, "wait_epochs": self._wait_epochs}

    def restore_state(self, state: dict) -> None:
        """Takes back what `saved_state` gave."""
        self._best, self._wait_epochs = state["best"], state["wait_epochs"]

    def on_epoch_end(self, epoch, logs=None):
        """Counts the epochs without a better value and lowers the rate after the last one."""
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
