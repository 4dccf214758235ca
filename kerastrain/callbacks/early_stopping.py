"""Early stopping that an undefined value does not disturb.

Takes one logged value; stops the training. Must not save or restore weights of its own.
"""

import math

import keras

from kerastrain.callbacks.monitor import direction


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Keras's EarlyStopping, for which NaN is worse than every number.

    Keras takes the value of the first epoch for the best, also NaN, which no later value improves on: a measure that is
    undefined at first, such as the precision of a class that is never predicted, would end the training while it gets better.

    Args:
        monitor: str, the logged value to compare epochs by.
        mode: "min", "max", or None to infer it from the name.
        **options: as for `keras.callbacks.EarlyStopping`.

    Raises:
        InputError: the mode cannot be inferred from the name.
    """

    def __init__(self, monitor: str = "val_loss", *, mode: str | None = None, **options: object):
        mode = direction(monitor, mode)
        super().__init__(monitor, mode=mode, **options)
        self._worst = math.inf if mode == "min" else -math.inf

    def get_monitor_value(self, logs: dict | None) -> float | None:
        """Returns the monitored value, the worst possible one for NaN.

        Args:
            logs: dict from names to floats, or None.

        Returns:
            float, or None if the value was not logged.
        """
        value = super().get_monitor_value(logs)
        return self._worst if value is not None and value != value else value
